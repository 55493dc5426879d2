"""Verdicts carried out in numpy. A frame's verdict is that of its first entry."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ixyfwd.engine.batch import BATCH_EOP
from ixyfwd.engine.vector_views import BatchViews, Closable, Dwords, Index, PoolViews
from ixyfwd.engine.verdict import ACTION_SHIFT, PASS, RESERVED_MASK, TARGET_MASK, Action
from ixyfwd.telemetry.counters import DROP_CAUSES, PROGRAM_BLOCK_WORDS, ProgramWord


def frame_starts(status: Dwords) -> NDArray[np.bool_]:
    """A mask, bool[n], of the entries that are the first of their frame. `status`: uint32[n], the batch's column."""
    starts = np.ones(status.size, np.bool_)
    starts[1:] = (status[:-1] & np.uint32(BATCH_EOP)) != 0
    return starts


def first_entries(starts: NDArray[np.bool_]) -> Index:
    """The index, int64[n], of the first entry of each entry's frame. `starts`: bool[n], as `frame_starts` gives it."""
    return np.maximum.accumulate(np.where(starts, np.arange(starts.size), 0))


def words_of(verdicts: Dwords, ports: int) -> Index:
    """The index, int64[n], of the word in the program's block that counts each verdict. `verdicts`: uint32[n]."""
    actions = (verdicts >> np.uint32(ACTION_SHIFT)).astype(np.int64)
    targets = (verdicts & np.uint32(TARGET_MASK)).astype(np.int64)
    words: Index = np.full(verdicts.size, int(ProgramWord.INVALID), np.int64)
    words[verdicts == PASS] = ProgramWord.PASSED
    words[(actions == Action.OUT) & (targets < ports)] = ProgramWord.OUT
    dropped = (actions == Action.DROP) & (targets < DROP_CAUSES)
    words[dropped] = ProgramWord.DROPS + targets[dropped]
    words[(verdicts & np.uint32(RESERVED_MASK)) != 0] = ProgramWord.INVALID
    return words


class PassAll(Closable):
    """The reset of verdicts: `run` gives every frame of a batch the verdict PASS."""

    def __init__(self, batch: BatchViews) -> None:
        self._batch = batch

    def run(self) -> int:
        """Write the verdicts; returns the number of entries in the batch."""
        n = self._batch.words[0]
        self._batch.cells[4, :n] = 0
        return n


class Settle(Closable):
    """The settlement of verdicts: `run` counts those of a program on a batch and frees the dropped frames."""

    def __init__(self, batch: BatchViews, pool: PoolViews, block: memoryview, ports: int) -> None:
        """Bind to a batch. `block`: uint64[32], the program's block of the counters page."""
        self._batch = batch
        self._pool = pool
        self._block = block
        self._ports = ports

    def run(self) -> int:
        """Settle the batch; see `engine.contract.Engine.bind_settle`."""
        n = self._batch.words[0]
        if n == 0:
            return 0
        cells = self._batch.cells[:, :n]
        starts = frame_starts(cells[3])
        words = words_of(cells[4], self._ports)
        counts = np.bincount(words[starts], minlength=PROGRAM_BLOCK_WORDS)
        for word in np.flatnonzero(counts).tolist():
            self._block[word] += int(counts[word])
        self._block[ProgramWord.IN] += int(np.count_nonzero(starts))
        of_frames = words[first_entries(starts)]
        kept: NDArray[np.bool_] = (of_frames == ProgramWord.PASSED) | (of_frames == ProgramWord.OUT)
        if kept.all():
            return n
        self._pool.push_all(cells[0, ~kept])
        left = int(np.count_nonzero(kept))
        cells[:, :left] = cells[:, kept]
        self._batch.words[0] = left
        return left


class Dispatch(Closable):
    """The dispatch of frames: `run` queues each frame of a batch for the port that its verdict names."""

    def __init__(
        self,
        batch: BatchViews,
        passed_to: int,
        whole: Sequence[Callable[[], int]],
        parts: Sequence[tuple[BatchViews, Callable[[], int]]],
    ) -> None:
        """Bind to a batch.

        `whole[p]` sends the batch by port p; `parts[p]` is a batch of its own for port
        p, with the callable that sends it.
        """
        self._batch = batch
        self._passed_to = passed_to
        self._whole = tuple(whole)
        self._parts = tuple(parts)

    def run(self) -> int:
        """Dispatch the batch; see `engine.contract.Engine.bind_dispatch`."""
        n = self._batch.words[0]
        if n == 0:
            return 0
        cells = self._batch.cells[:, :n]
        verdicts = cells[4]
        is_out = (verdicts >> np.uint32(ACTION_SHIFT)) == Action.OUT
        ports = np.where(is_out, verdicts & np.uint32(TARGET_MASK), np.uint32(self._passed_to))
        ports = ports[first_entries(frame_starts(cells[3]))]
        if (ports == ports[0]).all():
            return self._whole[int(ports[0])]()
        taken = 0
        for port, (part, send) in enumerate(self._parts):
            mine = cells[:, ports == port]
            if mine.shape[1]:
                part.cells[:, : mine.shape[1]] = mine
                part.words[0] = mine.shape[1]
                taken += send()
        self._batch.words[0] = 0
        return taken
