"""The shape of the tests: what they share lies in helper modules, and each test is a whole by itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

TESTS = ROOT / "tests"
MODULES = sorted(TESTS.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything that a module imports, also inside functions; of `from a import b` both parts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_module_imports_a_test_module(path: Path) -> None:
    for name in imports(path):
        head, *rest = name.split(".")
        assert head != "tests" or not any(part.startswith("test_") for part in rest), f"{path} imports {name}"
