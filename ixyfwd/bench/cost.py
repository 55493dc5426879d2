"""The cost of a driver alone: rx, program and tx with a device turned by hand in the same thread.

No process waits, and unless `cache` says otherwise all lines are in this core's caches
(`bench.cachestate`): the figures compare drivers in one state and do not predict a
throughput. `ns_per_packet` is the time between the descriptors' being finished and
their being queued again; the time to finish them by hand is not counted. A run's figure
is the median of its turns, each of which empties most of a ring: the scheduler disturbs
only a few of them. `mpps` is its inverse: the rate of one core if the device cost
nothing.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

from ixyfwd.bench.cachestate import Cache, cache_state, check
from ixyfwd.bench.callgrind import add_counts, run_callgrind
from ixyfwd.bench.result import Row, spread
from ixyfwd.bench.turntable import FRAME_BYTES, open_turntable
from ixyfwd.config.schema import EngineName, Loop
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.memory.layout import CRC_BYTES
from ixyfwd.programs.registry import fusible, programs

KEY = "instructions_per_packet"
RUN_TURNS = {"native": 400, "vector": 60, "naive": 12}  # per run: some milliseconds at batch 32
MOST_TURNS = {"warm": 400, "cold": 100, "memory": 20, "other-core": 100}  # states that take time to make
COUNTED_TURNS = 8


@dataclass(frozen=True)
class Case:
    """A case: the driver and the state that one row measures. `batch`: frames per burst. `ring`: descriptors."""

    engine: EngineName
    loop: Loop
    program: str
    batch: int
    ring: int
    cache: Cache = "warm"

    def __str__(self) -> str:
        cache = "" if self.cache == "warm" else f", {self.cache}"
        return f"{self.engine} ({self.loop}), {self.program}, batch {self.batch}, ring {self.ring}{cache}"


def has_loop(engine: EngineName, program: str, loop: Loop) -> bool:
    """Whether an engine has this loop for a program."""
    return loop == "python" or (engine == "native" and fusible((programs()[program](),)))


def cases(  # noqa: PLR0917 - one for each part of a case
    engines: Sequence[EngineName],
    loops: Sequence[Loop],
    names: Sequence[str],
    batches: Sequence[int],
    rings: Sequence[int],
    caches: Sequence[Cache] = ("warm",),
) -> list[Case]:
    """The combinations that exist, the fused loop first.

    Raises UsageError if a batch fits none of the rings or a state of the caches cannot
    be made here.
    """
    check(caches)
    for batch in batches:
        if all(batch > ring // 2 for ring in rings):
            raise UsageError(f"batch {batch} does not fit a ring of {max(rings)}: at most half of it; use --ring")
    return [
        Case(engine, loop, program, batch, ring, cache)
        for cache in caches
        for engine in engines
        for loop, program, ring, batch in product(loops, names, rings, batches)
        if batch <= ring // 2 and has_loop(engine, program, loop)
    ]


def measure(wanted: Sequence[Case], runs: int, progress: Callable[[str], None]) -> tuple[dict[Case, Row], list[str]]:
    """Measure each case `runs` times, interleaved; returns the rows, and sentences about runs without a figure.

    An interruption by Ctrl-C is such a sentence.
    """
    found: dict[Case, list[float]] = {case: [] for case in wanted}
    problems: list[str] = []
    try:
        for number in range(1, runs + 1):
            for case in wanted:
                progress(f"run {number}/{runs}: {case}")
                try:
                    found[case].append(_run(case))
                except IxyfwdError as error:
                    problems.append(f"run {number}: {case}: {error}")
    except KeyboardInterrupt:
        problems.append(f"run {number}: {case}: interrupted")
    return {case: row(case, costs) for case, costs in found.items() if costs}, problems


def _run(case: Case) -> float:
    with (
        open_turntable(case.engine, case.batch, ring=case.ring, program=case.program, loop=case.loop) as table,
        cache_state(case.cache, table),
    ):
        table.warm_up()
        turns = min(RUN_TURNS[case.engine], MOST_TURNS[case.cache])
        return median(table.turn() for _ in range(turns)) / table.frames


def row(case: Case, costs: Sequence[float]) -> Row:
    """The row of a case; `costs`: ns per packet of each run."""
    return {
        "engine": case.engine,
        "loop": case.loop,
        "program": case.program,
        "batch": case.batch,
        "ring": case.ring,
        "frame_bytes": FRAME_BYTES + CRC_BYTES,
        "workers": 1,
        "device": "model",
        "device_note": "by hand",
        "cache": case.cache,
        "runs": len(costs),
        "ns_per_packet": spread(costs),
        "mpps": spread([1000 / cost for cost in costs]),
    }


def count_instructions(case: Case) -> float:
    """Instructions per packet of the C functions, by callgrind: a figure that does not depend on time.

    Raises IxyfwdError if valgrind is not installed or the engine is not in C.
    """
    instructions, frames = count_total(case)
    return round(instructions / frames, 2)


def count_total(
    case: Case,
    functions: Sequence[str] | None = None,
    python: str = sys.executable,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[int, int]:
    """Instructions of the C functions and the frames that went through them; every run of a build gives the same two.

    They are those of the ixyfwd that `python` imports in `folder` with the environment
    `env`, where the functions may have other names. Raises IxyfwdError as
    `count_instructions` does.
    """
    if case.engine != "native":
        raise IxyfwdError(f"{case}: instructions are counted in C functions only; the {case.engine} engine has none")
    toggles = [f"--toggle-collect={name}" for name in functions or _functions(case)]
    found = run_callgrind(case, toggles, python=python, folder=folder, env=env)
    return sum(found.instructions.values()), found.frames


def add_instructions(rows: Mapping[Case, Row], progress: Callable[[str], None]) -> list[str]:
    """Put `instructions_per_packet` into the rows; returns sentences about cases that could not be counted."""
    return add_counts(rows, KEY, count_instructions, lambda case: case.engine == "native", progress)


def _functions(case: Case) -> list[str]:
    is_op = programs()[case.program].frame_op
    if case.loop == "fused":
        return [f"{case.program}_forward" if is_op else "forward"]
    return ["rx_burst", "tx_burst", *([f"{case.program}_burst"] if is_op else [])]
