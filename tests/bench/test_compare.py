"""`ixyfwd bench compare`: what it takes for a side, which pairs count, what it says and leaves behind."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from ixyfwd.bench import builds as build_cache
from ixyfwd.bench import compare, counts
from ixyfwd.bench.checkout import Checkout, Revision
from ixyfwd.bench.compare import ComparisonPlan, slower
from ixyfwd.bench.cost import Case
from ixyfwd.bench.result import SCHEMA
from ixyfwd.bench.sides import Side, open_sides
from ixyfwd.errors import IxyfwdError, UsageError
from tests.testing.bench_cases import git, quiet
from tests.testing.support import IXYFWD, ROOT, descendants, run

CASE = Case("native", "fused", "touch", 32, 512)
SHORT = ("--engine", "native", "--loop", "fused", "--batch", "32")
IN_CHECKOUT = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="these files are no git checkout")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two commits of a package that says which it is, whose build writes a file; a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "small"
    (root / "ixyfwd").mkdir(parents=True)
    (root / "scripts").mkdir()
    (root / "scripts" / "build_inplace.py").write_text("open('ixyfwd/built.so', 'w').close()\n")
    (root / ".gitignore").write_text("*.so\n")
    git(tmp_path, "init", "--quiet", str(root))
    for version in ("1", "2"):
        (root / "ixyfwd" / "__init__.py").write_text(f"__version__ = '{version}'\n")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", version)
    return root


@pytest.fixture
def fake_sides() -> tuple[Side, Side]:
    """Two sides for functions that are given what their runs print."""
    first, second = (Side(name, sys.executable, ROOT, os.environ, {}) for name in "ab")
    return first, second


def row(ns: float, **more: Any) -> dict[str, Any]:
    figures = {"ns_per_packet": {"median": ns}, "mpps": {"median": 1000 / ns}}
    return {"engine": "native", "program": "touch", "batch": 32, "device_note": "by hand", **figures, **more}


def printed(*rows: dict[str, Any], code: int = 0) -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess((), code, json.dumps({"rows": rows, "problems": []}), "")


# What a side is


def test_commits_and_the_working_tree_are_built_elsewhere_and_nothing_changes_here(small: Path) -> None:
    (small / "ixyfwd" / "__init__.py").write_text("__version__ = '3'\n")
    (small / "new.txt").write_text("new")
    state = git(small, "status", "--porcelain"), sorted(small.rglob("*")), (small / ".git" / "index").stat().st_mtime_ns
    for names, versions in ((("HEAD~1", "HEAD"), ("1", "2")), (("HEAD", "."), ("2", "3"))):
        with ExitStack() as stack:
            sides = open_sides(names, stack, quiet, small)
            assert tuple(side.facts["ixyfwd"] for side in sides) == versions
            assert all((side.folder / "ixyfwd" / "built.so").exists() for side in sides)
    assert (sides[1].folder / "new.txt").exists()
    assert str(sides[1].facts["commit"]).endswith("+")
    assert state[:2] == (git(small, "status", "--porcelain"), sorted(small.rglob("*")))
    assert git(small, "worktree", "list").count("\n") == 0
    assert stat.S_IMODE(build_cache.cache_folder().stat().st_mode) == 0o700


def test_a_build_is_made_once(small: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        with ExitStack() as stack:
            open_sides(("HEAD", "HEAD~1"), stack, said.append, small)
    assert len([text for text in said if text.startswith("building")]) == 2


def test_old_builds_go_and_those_in_use_stay(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_cache, "KEPT", 1)
    with ExitStack() as stack:
        sides = open_sides(("HEAD~1", "HEAD"), stack, quiet, small)
        assert all((side.folder / "ixyfwd").exists() for side in sides)
    with ExitStack() as stack:
        (side, _) = open_sides(("HEAD", "HEAD"), stack, quiet, small)
        assert [path for path in build_cache.cache_folder().iterdir() if path.is_dir()] == [side.folder]


def test_two_at_once_may_build_the_same(small: Path) -> None:
    checkout = Checkout(small)
    source = checkout.commit("HEAD")
    with build_cache.built(checkout, source, quiet) as first:
        build_cache._build(checkout, source, first)
        with build_cache.built(checkout, source, quiet) as second:
            assert first == second
    assert not [path for path in build_cache.cache_folder().iterdir() if path.name.startswith(".new-")]


def test_an_environment_is_the_path_of_an_interpreter_or_of_its_directory(builds: Path) -> None:
    names = (sys.executable, sys.prefix)
    with ExitStack() as stack:
        sides = open_sides(names, stack, quiet)
    assert all(side.facts["commit"] is None and side.facts["ixyfwd"] for side in sides)
    assert "PYTHONPATH" not in sides[0].env


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-such-commit", "'no-such-commit' is not a commit of"),
        ("feature/none", "'feature/none' is not a commit of"),
        ("--all", "'--all' is not a commit of"),
        ("", "'' is not a commit of"),
        ("./none", "./none is neither a Python interpreter nor a virtual environment"),
        ("/tmp", "/tmp is neither a Python interpreter nor a virtual environment: /tmp/bin/python cannot be run"),
        ("/bin/true", "/bin/true is not a Python interpreter with ixyfwd installed"),
        ("/bin/false", "/bin/false cannot import ixyfwd"),
    ],
)
def test_a_name_that_means_nothing(name: str, words: str, small: Path) -> None:
    with ExitStack() as stack, pytest.raises(UsageError) as raised:
        open_sides(("HEAD", name), stack, quiet, small)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_tree_that_does_not_build(small: Path) -> None:
    script = small / "scripts" / "build_inplace.py"
    script.write_text("raise SystemExit('x.c:1:2: error: expected ;')\n")
    with ExitStack() as stack, pytest.raises(UsageError, match=r"\+ does not build: x\.c:1:2: error: expected ;$"):
        open_sides(("HEAD", "."), stack, quiet, small)
    script.unlink()
    with ExitStack() as stack, pytest.raises(UsageError, match=r"cannot be built: it has no scripts/build_inplace\.py"):
        open_sides((".", "HEAD"), stack, quiet, small)
    assert not [path for path in build_cache.cache_folder().iterdir() if path.name.startswith(".new-")]


def test_no_git_no_checkout_and_a_shallow_clone(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{small}", str(tmp_path / "shallow"))
    with pytest.raises(UsageError, match=r"'HEAD~1' is not a commit of .*; this clone is shallow, `git fetch"):
        Checkout(tmp_path / "shallow").commit("HEAD~1")
    with pytest.raises(UsageError, match="is not a git checkout, so it has no commits to compare; name two environ"):
        Checkout(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="there is no git on this machine; name two environments"):
        Checkout(small)


def test_a_cache_that_cannot_be_written(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with ExitStack() as stack, pytest.raises(UsageError, match=r"builds cannot be kept there: Not a directory$"):
        open_sides(("HEAD", "HEAD"), stack, quiet, small)


def test_a_source_says_whether_files_differ_from_its_commit() -> None:
    assert str(Revision("0123456789abcdef", "tree", changed=False)) == "0123456789ab"
    assert str(Revision("0123456789abcdef", "tree", changed=True)) == "0123456789ab+"


# Which pairs count


class Machine:
    """Sides whose runs take what they are told to, between CPUs that are as far apart as they are told to be."""

    def __init__(self, distances: Iterator[str | None], **more: Any) -> None:
        self.order: list[str] = []
        self._distances = distances
        self._more = more

    def run(self, side: Side, *words: str, timeout_s: float) -> "subprocess.CompletedProcess[str]":
        self.order.append(side.name)
        return printed(row(10.0 if side.name == "a" else 11.0, **self._more))

    def distance(self) -> str | None:
        return next(self._distances)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Machine:
    distances, more = request.param
    found = Machine(iter(distances), **more)
    monkeypatch.setattr(Side, "run", lambda side, *words, timeout_s: found.run(side, *words, timeout_s=timeout_s))
    monkeypatch.setattr(compare, "distance_now", found.distance)
    return found


@pytest.mark.parametrize("machine", [(["near"] * 99, {})], indirect=True)
def test_pairs_are_balanced_and_give_a_ratio(machine: Machine, fake_sides: tuple[Side, Side]) -> None:
    found = compare.measure(ComparisonPlan({"cost": ["bench"]}, 8), fake_sides, quiet)
    (one,) = found.rows
    assert (one["runs"], one["ratio"], one["ratio_low"], one["verdict"]) == (8, 1.1, 1.1, "slower")
    assert one["core_distance"] is None  # no other core took part
    pairs = [machine.order[i : i + 2] for i in range(0, 16, 2)]
    assert sorted(pairs) == [["a", "b"]] * 4 + [["b", "a"]] * 4
    assert (found.problems, found.left_out, found.interrupted) == ([], 0, False)
    assert "B takes 1.100 times as long (1.100-1.100), at most 5 % more is allowed" in slower(found.rows, 5)[0]
    assert not slower(found.rows, 10.1)


@pytest.mark.parametrize(
    "machine", [(["near", "near", "near", "near", "far", "far", "far", "far", "far", "near", "near", "near"], {})],
    indirect=True,
)  # fmt: skip
def test_a_pair_during_which_the_distance_changed_is_measured_again(
    machine: Machine, fake_sides: tuple[Side, Side]
) -> None:
    found = compare.measure(ComparisonPlan({"cost": ["bench"]}, 3), fake_sides, quiet)
    assert (found.rows[0]["runs"], found.left_out, found.problems) == (3, 1, [])
    assert len(machine.order) == 8


@pytest.mark.parametrize("machine", [(["near", "far", "near"] * 99, {"device_note": None})], indirect=True)
def test_a_machine_that_never_holds_still_ends_in_a_sentence(machine: Machine, fake_sides: tuple[Side, Side]) -> None:
    found = compare.measure(ComparisonPlan({"throughput": ["bench"]}, 4), fake_sides, quiet)
    assert found.rows == []
    assert found.left_out == 8
    (problem,) = found.problems
    assert problem.startswith("throughput: 0 of 4 pairs in 8 attempts; of the others")


@pytest.mark.parametrize("machine", [(["near"] * 9 + ["far"] * 9, {"device_note": None})], indirect=True)
def test_rows_of_two_cores_are_split_by_distance(machine: Machine, fake_sides: tuple[Side, Side]) -> None:
    found = compare.measure(ComparisonPlan({"throughput": ["bench"]}, 6), fake_sides, quiet)
    assert [(one["core_distance"], one["runs"], one["verdict"]) for one in found.rows] == [
        ("near", 3, "too few pairs"),
        ("far", 3, "too few pairs"),
    ]
    assert "expected at least 6 to tell" in slower(found.rows, 5)[0]


@pytest.mark.parametrize("machine", [(["near"] * 99, {"device_note": None, "core_distance": "far"})], indirect=True)
def test_what_a_side_says_of_its_own_distance_counts(machine: Machine, fake_sides: tuple[Side, Side]) -> None:
    found = compare.measure(ComparisonPlan({"throughput": ["bench"]}, 6), fake_sides, quiet)
    assert [(one["core_distance"], one["runs"]) for one in found.rows] == [("far", 6)]


def test_a_side_that_is_older_than_a_key_has_the_same_row(
    fake_sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"a": row(10.0), "b": row(10.0, loop="python", cache="warm", frame_bytes=64, new_key=1)}
    monkeypatch.setattr(Side, "run", lambda side, *words, timeout_s: printed(rows[side.name]))
    monkeypatch.setattr(compare, "distance_now", lambda: None)
    (one,) = compare.measure(ComparisonPlan({"cost": ["bench"]}, 6), fake_sides, quiet).rows
    assert one["verdict"] == "no difference seen"


def test_a_side_that_does_not_know_the_words_ends_it(
    fake_sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = subprocess.CompletedProcess((), 2, "", "ixyfwd: No such option: --loop\n")
    monkeypatch.setattr(Side, "run", lambda side, *words, timeout_s: wrong)
    with pytest.raises(UsageError, match=r"^[ab]: ixyfwd bench cost: No such option: --loop$"):
        compare.measure(ComparisonPlan({"cost": ["bench", "cost"]}, 6), fake_sides, quiet)


def test_a_run_that_fails_costs_its_pair_only(fake_sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    runs = iter([subprocess.CompletedProcess((), 1, "", "ixyfwd: it broke\n")])
    monkeypatch.setattr(Side, "run", lambda side, *words, timeout_s: next(runs, printed(row(10.0))))
    found = compare.measure(ComparisonPlan({"cost": ["bench"]}, 2), fake_sides, quiet)
    assert found.rows[0]["runs"] == 2
    assert len(found.problems) == 1 and found.problems[0].endswith(": exit code 1: it broke")


# Instructions


def test_a_case_that_cannot_be_counted_says_why(fake_sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    def count_total(case: Case, *where: Any) -> tuple[int, int]:
        raise IxyfwdError("there is no valgrind")

    monkeypatch.setattr(counts, "count_total", count_total)
    (one,), interrupted = counts.count_sides([CASE], fake_sides, quiet)
    assert (one.a, one.b, one.more, one.problem) == (
        None,
        None,
        None,
        "a: there is no valgrind; b: there is no valgrind",
    )
    assert set(one.cells().values()) == {None}
    assert not interrupted


def test_a_side_names_its_functions_itself(fake_sides: tuple[Side, Side], small: Path) -> None:
    (names,) = fake_sides[0].functions([CASE])
    assert names and all(name.isidentifier() for name in names)
    with ExitStack() as stack:
        old, _ = open_sides(("HEAD", "HEAD"), stack, quiet, small)  # and this checkout's modules do not fill its gaps
        with pytest.raises(IxyfwdError, match=r"^instructions cannot be counted: ModuleNotFoundError: No module named"):
            old.functions([CASE])
        (one,), _ = counts.count_sides([CASE], (old, old), quiet)
    assert one.problem and one.problem.startswith(f"{old}: instructions cannot be counted")


@IN_CHECKOUT
@pytest.mark.slow
def test_a_commit_is_equal_to_itself_to_the_instruction(builds: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    options = ("--instructions-only", "--fail-if-slower", "0", "--json", "--csv", str(rows))
    done = run(*IXYFWD, "bench", "compare", "HEAD", "HEAD", *SHORT, *options, timeout_s=300, cwd=ROOT)
    found = json.loads(done.stdout)
    if run("which", "valgrind").returncode:
        assert done.returncode == 1
        assert "there is no valgrind on this machine" in found["problems"][0]
        return
    assert done.returncode == 0, done.stderr
    (one,) = found["rows"]
    assert one["instructions_more"] == 0
    assert one["a_instructions_per_packet"] == one["b_instructions_per_packet"] > 10
    assert rows.read_text(encoding="utf-8").count("\n") == 2


# The command


@IN_CHECKOUT
@pytest.mark.slow
def test_a_comparison_has_the_common_schema_and_ctrl_c_leaves_the_pairs_before(builds: Path) -> None:
    command = [*IXYFWD, "bench", "compare", "HEAD", ".", *SHORT, "--runs", "500", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("cost, pair 3/500"):
                break
        children = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in said
    found = json.loads(out)
    assert (found["schema"], found["command"], found["interrupted"]) == (SCHEMA, "compare", True)
    (one,) = found["rows"]
    assert (one["runs"], one["verdict"], one["device_note"]) == (2, "too few pairs", "by hand")
    assert 0 < one["a_ns_per_packet"]["min"] <= one["a_ns_per_packet"]["max"]
    assert found["problems"] == ["cost, pair 3: interrupted"]
    assert found["sides"]["a"]["name"] == "HEAD"
    assert not [child for child in children if child.is_running()]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--batch", "x"), "--batch: 'x' is not a whole number from 1 to 2048"),
        (
            ("--runs", "3", "--fail-if-slower", "2"),
            "--runs: found 3 pairs, expected at least 6 to tell which side is slower",
        ),
        (
            ("--instructions-only", "--throughput"),
            "--instructions-only measures no time: leave --throughput and --no-instructions out",
        ),
        (("--frame", "1"), "--frame: '1' is not a whole number from 64 to 9728"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    done = run(*IXYFWD, "bench", "compare", "HEAD", "HEAD", *arguments)
    assert (done.returncode, done.stderr, done.stdout) == (2, f"ixyfwd: {sentence}\n", "")


def test_a_run_that_is_not_over_in_time_is_ended(tmp_path: Path) -> None:
    (tmp_path / "ixyfwd").mkdir()
    (tmp_path / "ixyfwd" / "__main__.py").write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(100)\n"
    )
    side = Side("slow", sys.executable, tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)}, {})
    with pytest.raises(IxyfwdError, match=r"^slow: ixyfwd bench cost did not end within 2 s$"):
        side.run("bench", "cost", "--json", timeout_s=2)
    with contextlib.suppress(FileNotFoundError):  # a busy machine may not have come so far
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
