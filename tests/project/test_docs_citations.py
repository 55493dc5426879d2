"""Every file that a page, a comment or a docstring names is in the repository, and every link leads somewhere."""

import ast
import io
import os
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.testing.support import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
IGNORED = {".git", ".venv", ".vm", "build", "results", "__pycache__"}
GENERATED = {"ixyfwd/telemetry/words.h"}  # by the build
# A name of another project, and what system headers are called.
FOREIGN = re.compile(
    r"(github\.com/ixy-languages/)?ixy\.py|(linux|sys|cffi)/\w+\.h|(std\w*|string|time|errno|sched|Python)\.h"
)
FILE = re.compile(r"(?<![\w.$<{/*-])(?!\.c)(?:\.\./|\.?/)?[\w.-]+(?:/[\w.-]+)*\.(?:md|py|pyi|c|h)\b(?![\w(*])")
SCRIPT = re.compile(r"(?<![\w/])(?:scripts|tests|docs|ixyfwd)/[\w./-]*\w")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
OWN_PAGES = re.compile(r"^(README|ARCHITECTURE|CONTRIBUTING|CHANGELOG|SECURITY|DESIGN|LICENSE)\b")


@cache
def _paths() -> frozenset[str]:
    """Each file and folder of the repository, and each end of its path that begins at a slash."""
    found = set(GENERATED)
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in IGNORED and not name.endswith(".egg-info")]
        found.update(os.path.relpath(os.path.join(folder, name), ROOT) for name in [*folders, *files])
    ends: set[str] = set()
    for path in found:
        parts = path.split("/")
        ends.update("/".join(parts[start:]) for start in range(len(parts)))
    return frozenset(ends)


def _prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Comments and docstrings, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text()
    if path.suffix in {".py", ".pyi"}:
        yield from _prose_of_python(text)
    elif path.suffix in {".c", ".h"}:
        for comment in C_COMMENT.finditer(text):
            yield text.count("\n", 0, comment.start()) + 1, comment.group()
    else:
        for number, line in enumerate(text.splitlines(), 1):
            if path.suffix == ".md" or line.lstrip().startswith("#"):
                yield number, line


def missing(prose: str) -> list[str]:
    """The files that `prose` names and that the repository has not."""
    named = [re.sub(r"^(\.\.?/)+", "", match.group()) for rule in (FILE, SCRIPT) for match in rule.finditer(prose)]
    return [
        name
        for name in named
        if not (name.rstrip("/.") in _paths() or FOREIGN.fullmatch(name) or _placeholder(name) or name.startswith("/"))
    ]


def _placeholder(name: str) -> bool:
    """NAME and the like stand for what the reader puts there."""
    return (
        not OWN_PAGES.match(name.rpartition("/")[2]) and re.search(r"(?<![A-Za-z])[A-Z]{3,}(?![a-z])", name) is not None
    )


def _sources() -> list[Path]:
    kinds = ("*.py", "*.pyi", "*.c", "*.h")
    found = [path for top in ("ixyfwd", "tests", "scripts") for kind in kinds for path in (ROOT / top).rglob(kind)]
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix]
    others = [ROOT / "config.toml", ROOT / "pyproject.toml", ROOT / ".ci" / "run", *scripts]
    generated = re.compile(r"/_c/_|/__pycache__/|words\.h$")
    return [path for path in [*PAGES, *found, *others] if not generated.search(str(path)) and path != Path(__file__)]


def test_every_named_file_is_in_the_repository() -> None:
    lost = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in _sources()
        for line, prose in _prose(path)
        for name in missing(prose)
    ]
    assert not lost, "\n".join(lost)


@pytest.mark.parametrize("prose", ["as in 82599.md 2.1", "see DESIGN.md", "../shared/python.md", "`scripts/nothing`"])
def test_a_file_that_is_not_there_is_found(prose: str) -> None:
    assert missing(prose)


@pytest.mark.parametrize("prose", ["docs/polled.md", "`rings/_c/forward.h`", "nic/NAME/rings.py", "ixy.py", "10.5.4"])
def test_a_file_that_is_there_is_not_named(prose: str) -> None:
    assert not missing(prose)


def _anchors(page: Path) -> set[str]:
    """What `#` may name: headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        assert other.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(other), f"{page.name}: {target}"
