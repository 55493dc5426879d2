"""Verdicts carried out entry by entry in plain Python, for the `naive` engine."""

from collections.abc import Callable, Sequence

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.verdict import ACTION_SHIFT, PASS, RESERVED_MASK, TARGET_MASK, Action
from ixyfwd.telemetry.counters import DROP_CAUSES, ProgramWord


def settle(batch: Batch, count: Callable[[int], None], free: Callable[[int], None], ports: int) -> int:
    """Settle the verdicts on a batch; see `engine.contract.Engine.bind_settle`.

    `count(word)` adds one to a word of the program's block; `free(id)` frees a buffer.
    """
    kept = 0
    for i in range(batch.count):
        word = word_of(batch.verdicts[i], ports)
        count(ProgramWord.IN)
        count(word)
        if word in {ProgramWord.PASSED, ProgramWord.OUT}:
            move(batch, kept, batch, i)
            kept += 1
        else:
            free(batch.ids[i])
    batch.count = kept
    return kept


def word_of(verdict: int, ports: int) -> int:
    """The index of the word, in the program's block, that counts a verdict."""
    action, target = verdict >> ACTION_SHIFT, verdict & TARGET_MASK
    if verdict & RESERVED_MASK:
        return ProgramWord.INVALID
    if verdict == PASS:
        return ProgramWord.PASSED
    if action == Action.OUT and target < ports:
        return ProgramWord.OUT
    if action == Action.DROP and target < DROP_CAUSES:
        return ProgramWord.DROPS + target
    return ProgramWord.INVALID


def dispatch(batch: Batch, passed_to: int, parts: Sequence[Batch], send: Sequence[Callable[[], int]]) -> int:
    """Dispatch a batch; see `engine.contract.Engine.bind_dispatch`. `send[p]` queues the frames of `parts[p]`."""
    for part in parts:
        part.count = 0
    for i in range(batch.count):
        verdict = batch.verdicts[i]
        part = parts[verdict & TARGET_MASK if verdict >> ACTION_SHIFT == Action.OUT else passed_to]
        move(part, part.count, batch, i)
        part.count += 1
    batch.count = 0
    return sum(burst() for part, burst in zip(parts, send, strict=True) if part.count)


def move(to: Batch, at: int, source: Batch, i: int) -> None:
    """Copy entry `i` of one batch to entry `at` of another, or of the same."""
    for name in ("ids", "lengths", "hashes", "status", "verdicts"):
        getattr(to, name)[at] = getattr(source, name)[i]
