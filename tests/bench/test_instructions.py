"""The gate of the hot path: not one instruction per packet more than before, in loops of known length.

Counts are exact (`bench.counts`), and both sides of a comparison are built here by one compiler. Two bases:

- the commit before: the first parent (of a merge, the main line), or HEAD while the working tree has changes;
- the recorded counts (`instructions.json`), which no series of commits can creep past: by the numbers where this
  machine would have recorded the same for the same code, elsewhere by building the commit that recorded them.

A change that is worth more instructions records the new counts, and its message says why; then so many more are allowed
from that commit on. Fewer are recorded too, or the next change could take them back. To record, after the change:

    python -m tests.bench.test_instructions
"""

import json
import os
import platform
import shutil
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.bench.builds import compiler
from ixyfwd.bench.checkout import Checkout
from ixyfwd.bench.cost import Case, count_instructions, count_total
from ixyfwd.bench.counts import Counts, count_sides
from ixyfwd.bench.interpreted import count_loop_instructions
from ixyfwd.bench.sides import open_sides
from ixyfwd.config.schema import Loop
from ixyfwd.errors import UsageError
from tests.testing.bench_cases import git
from tests.testing.support import ROOT, run

RECORD = Path("tests", "bench", "instructions.json")
HOW = "python -m tests.bench.test_instructions"
EXACT = 1e-4  # of an instruction per packet: a case has some thousand packets, so one instruction is more
SHAPES: tuple[tuple[Loop, str, int], ...] = (
    ("fused", "touch", 1),
    ("fused", "touch", 32),
    ("fused", "touch", 256),
    ("fused", "xconnect", 32),
    ("python", "touch", 1),
    ("python", "touch", 32),
    ("python", "xconnect", 256),
)
CASES = [Case("native", loop, program, batch, 512) for loop, program, batch in SHAPES]


def name_of(case: Case) -> str:
    return f"{case.engine} ({case.loop}), {case.program}, batch {case.batch}, ring {case.ring}"


def compiled_by() -> str:
    """Whatever makes other counts of the same code."""
    flags = f"{sysconfig.get_config_var('CFLAGS') or ''} {os.environ.get('CFLAGS', '')}".split()
    return f"{compiler()}, {' '.join(flags)}, {' '.join(platform.libc_ver())}"


def say(text: str) -> None:
    print(text)


def counted(a: str, b: str, cases: Sequence[Case] = CASES, root: Path = ROOT) -> list[Counts]:
    """Instructions of cases on both sides; a case that cannot be counted fails."""
    with ExitStack() as stack:
        counts, interrupted = count_sides(cases, open_sides((a, b), stack, say, root), say)
    assert not interrupted
    assert not [one.problem for one in counts if one.problem]
    return counts


def recorded_in(commit: str, root: Path = ROOT) -> dict[str, float]:
    """The counts that a commit has recorded; the working tree's for "."."""
    if commit == ".":
        text = (root / RECORD).read_text(encoding="utf-8")
    else:
        shown = run("git", "-C", str(root), "show", f"{commit}:{RECORD}")
        text = shown.stdout if shown.returncode == 0 else "{}"
    found: dict[str, float] = json.loads(text).get("instructions_per_packet", {})
    return found


def grown(counts: list[Counts], before: dict[str, float], now: dict[str, float]) -> list[str]:
    """A sentence for each case that takes more instructions on side B, beyond what its record allows since A's."""
    found = []
    for one in counts:
        name = name_of(one.case)
        recorded = now.get(name, 0.0) - before[name] if name in before else 0.0
        assert one.more is not None
        if one.more > max(0.0, recorded) + EXACT:
            found.append(
                f"{name}: {one.more:.4f} instructions a packet more than the {one.a:.4f} before; "
                f"if that is worth it, record it by `{HOW}` and say why"
            )
    return found


def commit_that_recorded(root: Path = ROOT) -> str:
    """The last one, seen from the main line, that changed the record; "." if the working tree has changed it."""
    if run("git", "-C", str(root), "diff", "--quiet", "HEAD", "--", str(RECORD)).returncode:
        return "."
    return run("git", "-C", str(root), "log", "-1", "--first-parent", "--format=%H", "--", str(RECORD)).stdout.strip()


@pytest.fixture
def base(builds: Path) -> str:
    """The commit before."""
    if shutil.which("valgrind") is None:
        pytest.skip("there is no valgrind on this machine")
    try:
        checkout = Checkout(ROOT)
        name = "HEAD" if checkout.working_tree().changed else "HEAD~1"
        return checkout.commit(name).commit
    except UsageError as error:
        pytest.skip(f"there is no commit before to compare with: {error}")


@pytest.mark.slow
def test_a_packet_takes_not_one_instruction_more_than_before(base: str) -> None:
    counts = counted(base, ".")
    assert not grown(counts, recorded_in(base), recorded_in("."))
    record: dict[str, Any] = json.loads((ROOT / RECORD).read_text(encoding="utf-8"))
    if record["compiled_by"] == compiled_by():
        now = {name_of(one.case): round(one.b, 4) for one in counts if one.b is not None}
        assert now == record["instructions_per_packet"], f"the counts are others than recorded; `{HOW}` records them"
        return
    recorder = commit_that_recorded()
    if recorder and recorder != ".":
        counts = counted(recorder, ".")
        assert not grown(counts, {}, {}), f"more than when {recorder[:12]} recorded the counts"


@pytest.mark.slow
def test_one_instruction_more_per_packet_is_noticed(base: str, tmp_path: Path) -> None:
    """A commit with a `nop` in the fused loop's move of a frame, in a clone: the gate names the loop, and a record
    allows what it says and no more."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--shared", str(ROOT), str(clone))
    line = "tx[i].q0 = addresses[id];\n"
    (source,) = (path for path in clone.glob("ixyfwd/**/_c/forward.[ch]") if line in path.read_text(encoding="utf-8"))
    code = source.read_text(encoding="utf-8")
    assert code.count(line) == 1
    source.write_text(code.replace(line, line + '__asm__ volatile("nop");\n'), encoding="utf-8")
    git(clone, "commit", "--quiet", "--all", "--message", "Wait a little")
    case = Case("native", "fused", "touch", 32, 512)
    counts = counted("HEAD~1", "HEAD", [case], clone)
    (one,) = counts
    assert one.a is not None and one.b is not None
    assert 1 <= one.b - one.a < 1.5  # the compiler arranges the rest of the loop anew
    (found,) = grown(counts, {}, {})
    assert found.startswith(f"{name_of(case)}: 1.")
    before = {name_of(case): one.a}
    assert not grown(counts, before, {name_of(case): one.b})
    assert grown(counts, before, {name_of(case): one.b - 0.5}) == [found]


@pytest.mark.slow
def test_the_python_loop_costs_no_more_than_a_few_times_its_bursts() -> None:
    """How many the interpreter takes depends on how it was compiled, so there is no baseline. With calls through cffi
    it is nine times the bursts at batch 1."""
    if shutil.which("valgrind") is None:
        pytest.skip("there is no valgrind on this machine")
    small, large = (Case("native", "python", "touch", batch, 512) for batch in (1, 32))
    with ThreadPoolExecutor(2) as pool:
        bursts = pool.submit(count_instructions, small)
        whole, whole_large = pool.map(count_loop_instructions, (small, large))
    assert bursts.result() < whole < 4 * bursts.result()
    assert whole_large < whole / 4, "the price of a call is one of bursts, not of frames"


def record_counts() -> None:
    """Write what the working tree takes."""
    with ExitStack() as stack:
        side, _ = open_sides((".", "."), stack, say)
        with ThreadPoolExecutor(2) as pool:
            totals = list(pool.map(lambda case: count_total(case, None, side.python, side.folder, side.env), CASES))
    now = {name_of(case): round(total / frames, 4) for case, (total, frames) in zip(CASES, totals, strict=True)}
    text = json.dumps({"compiled_by": compiled_by(), "instructions_per_packet": now}, indent=4)
    (ROOT / RECORD).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    record_counts()
