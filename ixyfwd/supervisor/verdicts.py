"""The account of programs: for each, in = passed + out + invalid + dropped by cause (+ in the worker's hands)."""

from collections.abc import Sequence

from ixyfwd.programs.contract import ProgramOptions
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.counters import ProgramWord, Scope
from ixyfwd.telemetry.plain import Rows
from ixyfwd.telemetry.snapshot import ProgramRow


def program_rows(programs: Sequence[ProgramOptions], workers: Sequence[Worker]) -> list[ProgramRow]:
    """A row per program, all workers together, in the order in which bursts go through them.

    A program that gives no verdicts is not counted by itself: what came to it went on.
    """
    rows: list[ProgramRow] = []
    arrived = sum(worker.totals().taken for worker in workers)
    for index, program in enumerate(programs):

        def total(word: int, index: int = index) -> int:
            return sum(worker.program_word(index, word) for worker in workers)

        words = {row: total(row) for row in Rows(Scope.PROGRAM).rows if isinstance(row, ProgramWord)}
        if not program.decides:
            words |= {ProgramWord.IN: arrived, ProgramWord.PASSED: arrived}
        row = ProgramRow(
            name=program.name,
            words=words,
            drops={cause.name: total(ProgramWord.DROPS + n) for n, cause in enumerate(program.drop_causes)},
            counters={one.name: total(ProgramWord.COUNTERS + n) for n, one in enumerate(program.counters)},
        )
        rows.append(row)
        arrived = words[ProgramWord.PASSED] + words[ProgramWord.OUT]
    return rows


def program_drops(rows: Sequence[ProgramRow]) -> dict[str, int]:
    """What programs dropped, by "PROGRAM.CAUSE"; "PROGRAM.invalid" if there was a verdict without a meaning."""
    drops: dict[str, int] = {}
    for row in rows:
        drops |= {f"{row.name}.{cause}": count for cause, count in row.drops.items()}
        if row.words[ProgramWord.INVALID]:
            drops[f"{row.name}.invalid"] = row.words[ProgramWord.INVALID]
    return drops
