"""What a driver costs by itself: rx, program and tx with a device turned by hand in the same thread.

No other core takes part, so nothing waits and no cache line travels: the figures compare drivers and do not predict a
throughput. `ns_per_packet` is the time between the descriptors' being finished and their being queued again; what the
hand does to finish them is not counted. A run's figure is the median of its turns, each of which empties most of a
ring: what the scheduler takes away hits a few of them. `mpps` is its inverse: what one core could do if the device cost
nothing.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

from ixyfwd.bench.result import Row, spread
from ixyfwd.bench.turn import FRAME_BYTES, turning
from ixyfwd.config.schema import EngineName, Loop, ProgramName
from ixyfwd.errors import IxyfwdError, UsageError

CRC_BYTES = 4
RUN_TURNS = {"native": 400, "vector": 60, "naive": 4}  # per run: some 20 ms at batch 32
COUNTED_TURNS = 8


@dataclass(frozen=True)
class Case:
    """One row."""

    engine: EngineName
    loop: Loop
    program: ProgramName
    batch: int
    ring: int

    def __str__(self) -> str:
        return f"{self.engine} ({self.loop}), {self.program}, batch {self.batch}, ring {self.ring}"


def loops_of(engine: EngineName, wanted: Sequence[Loop]) -> list[Loop]:
    """Which of the wanted loops an engine has."""
    return [loop for loop in wanted if loop == "python" or engine == "native"]


def cases(
    engines: Sequence[EngineName],
    loops: Sequence[Loop],
    programs: Sequence[ProgramName],
    batches: Sequence[int],
    rings: Sequence[int],
) -> list[Case]:
    """Every combination that exists, the fused loop first. Raises UsageError if a batch fits none of the rings."""
    for batch in batches:
        if all(batch > ring // 2 for ring in rings):
            raise UsageError(f"batch {batch} does not fit a ring of {max(rings)}: at most half of it; use --ring")
    return [
        Case(engine, loop, program, batch, ring)
        for engine in engines
        for loop, program, ring, batch in product(loops_of(engine, loops), programs, rings, batches)
        if batch <= ring // 2
    ]


def measure(wanted: Sequence[Case], runs: int, progress: Callable[[str], None]) -> tuple[dict[Case, Row], list[str]]:
    """Each case `runs` times, interleaved; the rows, and sentences about runs that gave no figure. Ctrl-C is one."""
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
    return {case: _row(case, costs) for case, costs in found.items() if costs}, problems


def _run(case: Case) -> float:
    with turning(case.engine, case.batch, ring=case.ring, touch=case.program == "touch", loop=case.loop) as table:
        table.warm_up()
        return median(table.turn() for _ in range(RUN_TURNS[case.engine])) / table.frames


def _row(case: Case, costs: Sequence[float]) -> Row:
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
        "runs": len(costs),
        "ns_per_packet": spread(costs),
        "mpps": spread([1000 / cost for cost in costs]),
    }


def count_instructions(case: Case) -> float:
    """Instructions per packet of the C functions, by callgrind; a figure that does not depend on time.

    Raises IxyfwdError if valgrind is not there or the engine is not in C.
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

    Of the ixyfwd that `python` imports in `folder` with the environment `env`, where the functions may have other
    names. Raises as `count_instructions`.
    """
    if case.engine != "native":
        raise IxyfwdError(f"{case}: instructions are counted in C functions only; the {case.engine} engine has none")
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise IxyfwdError("instructions cannot be counted: there is no valgrind on this machine")
    with tempfile.TemporaryDirectory(prefix="ixyfwd-callgrind-") as name:
        out = Path(name) / "out"
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--toggle-collect={name}" for name in functions or _functions(case)]
        command += [python, "-m", "ixyfwd.bench.counted", *_words(case)]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)  # noqa: S603
        frames = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("frames ")]
        totals = [int(line.split()[1]) for line in _lines(out) if line.startswith(("totals:", "summary:"))]
    if done.returncode or not frames or not totals or not totals[0]:
        raise IxyfwdError(f"{case}: callgrind failed with exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return totals[0], frames[0]


def add_instructions(rows: Mapping[Case, Row], progress: Callable[[str], None]) -> list[str]:
    """Put `instructions_per_packet` into the rows where it can be counted; returns why it could not elsewhere."""
    problems: list[str] = []
    for row in rows.values():
        row["instructions_per_packet"] = None
    try:
        for case, row in rows.items():
            if case.engine == "native":
                progress(f"callgrind: {case}")
                try:
                    row["instructions_per_packet"] = count_instructions(case)
                except IxyfwdError as error:
                    problems.append(str(error))
    except KeyboardInterrupt:
        problems.append(f"callgrind: {case}: interrupted")
    return list(dict.fromkeys(problems))


def _functions(case: Case) -> list[str]:
    if case.loop == "fused":
        return ["forward"]
    return ["rx_burst", "tx_burst", *(["touch_burst"] if case.program == "touch" else [])]


def _words(case: Case) -> list[str]:
    return [case.loop, case.program, str(case.batch), str(case.ring)]


def _lines(path: Path) -> Iterator[str]:
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
