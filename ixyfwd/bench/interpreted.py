"""Instructions of the whole Python loop, the interpreter's own among them, by callgrind.

They depend on how the interpreter was compiled, so they compare two loops on one machine and nothing else.
"""

import os
from collections.abc import Callable, Mapping
from statistics import median

from ixyfwd.bench.callgrind import add_counts, run_callgrind
from ixyfwd.bench.cost import COUNTED_TURNS, Case
from ixyfwd.bench.result import Row
from ixyfwd.errors import IxyfwdError
from ixyfwd.worker.rounds import Turn

KEY = "loop_instructions_per_packet"

# Two functions of libc that no other code calls mark a turn for callgrind, which writes a file for each.
BEGIN, END = os.getppid, os.getpgrp
MARKS = ("--zero-before=getppid", "--dump-before=getpgrp")


def marked(turn: Turn) -> Turn:
    """A callable for `turn` between the two marks."""

    def run(empty: Callable[[int], bool]) -> tuple[int, int]:
        BEGIN()
        result = turn(empty)
        END()
        return result

    return run


def count_loop_instructions(case: Case) -> float:
    """Instructions per packet between the marks, of the median turn: the first ones still specialise the bytecode.

    Raises IxyfwdError as `callgrind.run_callgrind`.
    """
    found = run_callgrind(case, MARKS, ["marked"], env={**os.environ, "PYTHONHASHSEED": "0"})
    turns = [
        count for name, count in found.instructions.items() if name != "out"
    ]  # which holds the code after the last
    if len(turns) != COUNTED_TURNS:
        raise IxyfwdError(f"{case}: expected {COUNTED_TURNS} counts of callgrind, found {len(turns)}")
    return round(median(turns) * COUNTED_TURNS / found.frames, 2)


def add_loop_instructions(rows: Mapping[Case, Row], progress: Callable[[str], None]) -> list[str]:
    """Put `loop_instructions_per_packet` into the rows of the native engine's Python loop.

    Returns sentences about cases that could not be counted.
    """
    return add_counts(
        rows, KEY, count_loop_instructions, lambda case: (case.engine, case.loop) == ("native", "python"), progress
    )
