"""The shape of the tests: what they share lies in helper modules, and each test is a whole by itself."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testing.support import ROOT, run

TESTS = ROOT / "tests"


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything that a module imports, also inside functions; of `from a import b` both parts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_imports_a_test_module() -> None:
    for path in sorted(TESTS.rglob("*.py")):
        for name in imports(path):
            head, *rest = name.split(".")
            assert head != "tests" or not any(part.startswith("test_") for part in rest), f"{path} imports {name}"


@pytest.mark.slow
@pytest.mark.parametrize("signals", ["INT", "HUP"])
def test_an_ignored_signal_of_the_caller_reaches_no_command(tmp_path: Path, signals: str) -> None:
    """`./scripts/test &` ignores SIGINT, `nohup` SIGHUP."""
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "import signal, subprocess, sys\n"
        "CODE = 'import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, '"
        " 'signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)'\n"
        "def test_it():\n"
        "    assert subprocess.check_output([sys.executable, '-c', CODE], text=True) == 'True True\\n'\n"
    )
    pytest_here = f"exec {sys.executable} -m pytest -q -p no:cacheprovider --rootdir {tmp_path} {tmp_path}"
    done = run("sh", "-c", f"trap '' {signals}; {pytest_here}", env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


USES = """
import pytest
from tests.testing.support import HUGEPAGES, Instance, busy_with
@pytest.fixture
def pages(): return HUGEPAGES
@pytest.mark.root
def test_root(): pass
def test_pool(pages): pass
def test_spin(): (lambda: busy_with(0))
def test_run(instance): pass
@pytest.mark.alone
def test_timed(): pass
def test_other(tmp_path): pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("alone", {"root", "pool", "spin", "timed"}),
        ("not alone", {"run", "other"}),
        ("not slow and not alone", {"other"}),
    ],
)
def test_what_a_test_uses_says_when_it_runs(tmp_path: Path, expression: str, chosen: set[str]) -> None:
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(USES)
    words = ("--collect-only", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-m", expression)
    done = run(sys.executable, "-m", "pytest", *words, str(tmp_path), env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path)
    assert {line.split("::test_")[1] for line in done.stdout.splitlines() if "::" in line} == chosen, done.stdout
