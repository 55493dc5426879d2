"""The account of programs: for each, in = passed + out + invalid + dropped by cause (+ in the worker's hands)."""

from collections.abc import Sequence

from ixyfwd.programs.contract import ProgramOptions
from ixyfwd.supervisor.observer import Status
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.counters import ProgramWord


def program_rows(programs: Sequence[ProgramOptions], workers: Sequence[Worker]) -> list[Status]:
    """A row per program, all workers together, in the order in which bursts go through them.

    A program that gives no verdicts is not counted by itself: what came to it went on.
    """
    rows: list[Status] = []
    arrived = sum(worker.totals().taken for worker in workers)
    for index, program in enumerate(programs):

        def total(word: int, index: int = index) -> int:
            return sum(worker.program_word(index, word) for worker in workers)

        drops = {cause.name: total(ProgramWord.DROPS + n) for n, cause in enumerate(program.drop_causes)}
        row: Status = {"name": program.name, "in": arrived, "passed": arrived, "out": 0, "invalid": 0, "drops": drops}
        if program.decides:
            words = ((key, ProgramWord[key.upper()]) for key in ("in", "passed", "out", "invalid"))
            row |= {key: total(word) for key, word in words}
        row["counters"] = {one.name: total(ProgramWord.COUNTERS + n) for n, one in enumerate(program.counters)}
        rows.append(row)
        arrived = row["passed"] + row["out"]
    return rows


def program_drops(programs: Sequence[ProgramOptions], workers: Sequence[Worker]) -> dict[str, int]:
    """What programs dropped, by "PROGRAM.CAUSE"; "PROGRAM.invalid" if there was a verdict without a meaning."""
    drops: dict[str, int] = {}
    for row in program_rows(programs, workers):
        drops |= {f"{row['name']}.{cause}": count for cause, count in row["drops"].items()}
        if row["invalid"]:
            drops[f"{row['name']}.invalid"] = row["invalid"]
    return drops
