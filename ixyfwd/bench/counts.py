"""Instructions of both sides of a comparison: exact figures, so that one more in a thousand packets shows.

The counted functions are C loops whose length is known: the device is turned by hand,
so a fixed number of frames goes through a fixed number of bursts, without waits. A
build's count is then the same in each run, to the instruction; it does not depend on
the machine, its load, the directory's path or the environment. Both sides are built by
the same compiler, so a difference is one of the code.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ixyfwd.bench.cost import Case, count_total
from ixyfwd.bench.result import Row
from ixyfwd.bench.sides import Side
from ixyfwd.errors import IxyfwdError

AT_A_TIME = 2  # nothing here depends on time


@dataclass(frozen=True)
class Counts:
    """Instructions per packet of one case; where a side's are None, `problem` says why."""

    case: Case
    a: float | None
    b: float | None
    problem: str | None = None

    @property
    def more(self) -> float | None:
        """How many more per packet B takes; exact, so that 0 means none."""
        return None if self.a is None or self.b is None else self.b - self.a

    def cells(self) -> Row:
        """The keys for a row of the result."""
        return {
            "a_instructions_per_packet": None if self.a is None else round(self.a, 4),
            "b_instructions_per_packet": None if self.b is None else round(self.b, 4),
            "instructions_more": None if self.more is None else round(self.more, 4),
        }


def count_sides(
    cases: Sequence[Case], sides: tuple[Side, Side], progress: Callable[[str], None]
) -> tuple[list[Counts], bool]:
    """Count each case on each side; returns the counts, and whether Ctrl-C ended it before all were counted.

    A side that cannot be counted is a problem of that case.
    """
    names = [_functions(side, cases) for side in sides]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        waiting = [pool.submit(_count, case, sides, both, progress) for case, *both in zip(cases, *names, strict=True)]
        try:
            return [one.result() for one in waiting], False
        except KeyboardInterrupt:
            for one in waiting:
                one.cancel()
            return [one.result() for one in waiting if one.done() and not one.cancelled()], True


def _functions(side: Side, cases: Sequence[Case]) -> Sequence[list[str] | IxyfwdError]:
    try:
        return side.functions(cases)
    except IxyfwdError as error:
        return [error] * len(cases)


def _count(
    case: Case,
    sides: tuple[Side, Side],
    functions: Sequence[list[str] | IxyfwdError],
    progress: Callable[[str], None],
) -> Counts:
    found: list[float | None] = []
    problems = []
    for side, names in zip(sides, functions, strict=True):
        progress(f"callgrind, {side}: {case}")
        try:
            if isinstance(names, IxyfwdError):
                raise names
            instructions, frames = count_total(case, names, side.python, side.folder, side.env)
            found.append(instructions / frames)
        except IxyfwdError as error:
            found.append(None)
            problems.append(f"{side}: {error}")
    return Counts(case, found[0], found[1], "; ".join(problems) or None)
