"""Callgrind over a table that is turned by hand: its counts, and rows with them."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ixyfwd.bench.result import Row
from ixyfwd.errors import IxyfwdError

if TYPE_CHECKING:
    from ixyfwd.bench.cost import Case

TIMEOUT_S: Final = 600.0  # a count takes some seconds


@dataclass(frozen=True)
class InstructionCounts:
    """The counts of one process: frames that it moved, and the instructions in each file that callgrind wrote."""

    frames: int
    instructions: Mapping[str, int]


def run_callgrind(
    case: "Case",
    options: Sequence[str],
    mode: Sequence[str] = (),
    *,
    python: str = sys.executable,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> InstructionCounts:
    """Run `bench.counted` with a case's arguments and those of `mode` under callgrind with `options`.

    It is the ixyfwd that `python` imports in `folder` with the environment `env`.
    Raises IxyfwdError if valgrind is not installed, fails, counts nothing or does not
    end within TIMEOUT_S.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise IxyfwdError("instructions cannot be counted: there is no valgrind on this machine")
    words = [case.loop, case.program, str(case.batch), str(case.ring), *mode]
    with tempfile.TemporaryDirectory(prefix="ixyfwd-callgrind-") as name:
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={name}/out", *options]
        command += [python, "-m", "ixyfwd.bench.counted", *words]
        try:
            done = subprocess.run(  # noqa: S603
                command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise IxyfwdError(f"{case}: callgrind did not end within {TIMEOUT_S:g} s") from None
        found = {path.name: _summary(path) for path in Path(name).iterdir()}
    frames = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("frames ")]
    if done.returncode or not frames or not any(found.values()):
        raise IxyfwdError(f"{case}: callgrind failed with exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return InstructionCounts(frames[0], found)


def _summary(path: Path) -> int:
    """The instructions in a file. Not its "totals": those include functions' work before the count began."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("summary:")), 0)


def add_counts(
    rows: "Mapping[Case, Row]",
    key: str,
    count: "Callable[[Case], float]",
    is_counted: "Callable[[Case], bool]",
    progress: Callable[[str], None],
) -> list[str]:
    """Put `key` into the rows, None where a case is not counted; returns sentences about those that could not be.

    An interruption by Ctrl-C is such a sentence.
    """
    problems: list[str] = []
    for row in rows.values():
        row[key] = None
    try:
        for case, row in rows.items():
            if is_counted(case):
                progress(f"callgrind, {key}: {case}")
                try:
                    row[key] = count(case)
                except IxyfwdError as error:
                    problems.append(str(error))
    except KeyboardInterrupt:
        problems.append(f"callgrind, {key}: {case}: interrupted")
    return list(dict.fromkeys(problems))
