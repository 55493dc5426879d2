"""Instructions of the whole Python loop, the interpreter's own among them, by callgrind.

They depend on how the interpreter was compiled, so they compare two loops on one machine and nothing else.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from ixyfwd.bench.cost import COUNTED_TURNS, Case
from ixyfwd.bench.result import Row
from ixyfwd.errors import IxyfwdError
from ixyfwd.worker.rounds import Turn

KEY = "loop_instructions_per_packet"

# What surrounds a turn for callgrind: two functions of libc that nothing else calls. Each turn is a file of its own.
BEGIN, END = os.getppid, os.getpgrp
MARKS = ("--zero-before=getppid", "--dump-before=getpgrp")


def marked(turn: Turn) -> Turn:
    """`turn` between the two marks."""

    def run(empty: Callable[[int], bool]) -> tuple[int, int]:
        BEGIN()
        result = turn(empty)
        END()
        return result

    return run


def count_loop_instructions(case: Case) -> float:
    """Instructions per packet between the marks, of the median turn: the first ones still specialise the bytecode.

    Raises IxyfwdError if valgrind is not there.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise IxyfwdError("instructions cannot be counted: there is no valgrind on this machine")
    words = [case.loop, case.program, str(case.batch), str(case.ring), "marked"]
    with tempfile.TemporaryDirectory(prefix="ixyfwd-callgrind-") as folder:
        out = Path(folder) / "out"
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={out}", *MARKS]
        command += [sys.executable, "-m", "ixyfwd.bench.counted", *words]
        env = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)  # noqa: S603
        turns = [_summary(path) for path in out.parent.glob("out.*")]
    frames = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("frames ")]
    if done.returncode or not frames or len(turns) != COUNTED_TURNS:
        raise IxyfwdError(f"{case}: callgrind failed with exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return round(median(turns) * COUNTED_TURNS / frames[0], 2)


def add_loop_instructions(rows: Mapping[Case, Row], progress: Callable[[str], None]) -> list[str]:
    """Put `loop_instructions_per_packet` into the rows of the native engine's Python loop; returns why it could not."""
    problems: list[str] = []
    for row in rows.values():
        row[KEY] = None
    try:
        for case, row in rows.items():
            if (case.engine, case.loop) == ("native", "python"):
                progress(f"callgrind, with the interpreter: {case}")
                try:
                    row[KEY] = count_loop_instructions(case)
                except IxyfwdError as error:
                    problems.append(str(error))
    except KeyboardInterrupt:
        problems.append(f"callgrind, with the interpreter: {case}: interrupted")
    return list(dict.fromkeys(problems))


def _summary(path: Path) -> int:
    """What a file counts. Not its "totals": those include what functions did before the count began."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("summary:")), 0)
