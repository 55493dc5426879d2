"""The shape of the C: the model's ladder of rungs, and no circle between files of any module.

Who calls whom is read off compiled objects with `nm`: an object that needs a symbol depends on the one that defines it.
"""

import os
import re
import shutil
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ixyfwd._build import write_words
from tests.testing.support import ROOT, run

PACKAGE = ROOT / "ixyfwd"
LADDER = PACKAGE / "model" / "datapath" / "_c"
RUNGS = ("base", "dma", "classify", "rx", "wire", "tx", "wires", "device")  # from the lowest to the highest
MEMBERS = {"wires"}  # whose files have nothing in common that is not in a lower rung: no header of that name
INCLUDE = re.compile(r'^#include "([^"]+)"$', re.MULTILINE)

Edges = dict[str, set[str]]  # file -> the files that it needs


def written(folder: Path, pattern: str) -> list[Path]:
    """The sources of a `_c` folder that are not generated."""
    return sorted(path for path in folder.rglob(pattern) if not path.name.startswith("_"))


FOLDERS = [folder for folder in sorted(PACKAGE.rglob("_c")) if written(folder, "*.c")]


def includes(folder: Path) -> Edges:
    """By #include, among the folder's own files."""
    files = {str(path.relative_to(folder)): path for path in written(folder, "*.[ch]")}
    return {name: set(INCLUDE.findall(path.read_text())) & set(files) for name, path in files.items()}


@cache
def calls(folder: Path) -> Edges:
    """By symbols, among the folder's own sources."""
    compiler, nm = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc"), shutil.which("nm")
    assert compiler and nm, "the project needs a C compiler, which comes with nm"
    write_words()  # a header that is generated
    paths = (folder, PACKAGE, sysconfig.get_path("include"))
    compile_ = (compiler, "-c", "-std=gnu11", *(f"-I{path}" for path in paths))
    defines: dict[str, str] = {}
    needs: Edges = {}
    with TemporaryDirectory(prefix="ixyfwd-nm-") as place:
        for source in written(folder, "*.c"):
            name, target = str(source.relative_to(folder)), f"{place}/object.o"
            done = run(*compile_, str(source), "-o", target)
            assert done.returncode == 0, done.stderr
            needs[name] = set()
            for kind, symbol in symbols(run(nm, target).stdout):
                if kind == "U":
                    needs[name].add(symbol)
                elif kind.isupper():
                    defines[symbol] = name
    return {name: {defines[symbol] for symbol in wanted if symbol in defines} for name, wanted in needs.items()}


def symbols(listing: str) -> Iterator[tuple[str, str]]:
    """(kind, name) of each line of `nm`."""
    for line in listing.splitlines():
        *_, kind, symbol = line.split()
        yield kind, symbol


def circle(edges: Edges) -> list[str]:
    """The files of one circle in their order, the first one again at the end; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            for needed in sorted(edges.get(name, ())):
                if found := walk(needed, [*way, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(edges) if (found := walk(name, []))), [])


def rung(name: str) -> int:
    """How high a file stands. What is in no folder is below all rungs."""
    return RUNGS.index(name.partition("/")[0]) if "/" in name else -1


def arrows_up(edges: Edges) -> list[tuple[str, str]]:
    """From a file to one of a higher rung."""
    return [(name, needed) for name in edges for needed in edges[name] if rung(needed) > rung(name)]


def test_arrows_up_and_circles_are_found() -> None:
    ladder: Edges = {"rx/a.c": {"rx/b.c", "base/c.c"}, "rx/b.c": {"base/c.c"}, "base/c.c": set()}
    assert arrows_up(ladder) == [] and circle(ladder) == []
    assert arrows_up(ladder | {"base/c.c": {"rx/b.c"}}) == [("base/c.c", "rx/b.c")]
    assert circle(ladder | {"base/c.c": {"rx/a.c"}}) == ["base/c.c", "rx/a.c", "base/c.c"]
    assert circle(ladder | {"rx/b.c": {"rx/a.c"}}) == ["rx/a.c", "rx/b.c", "rx/a.c"]
    assert circle({"a.c": {"a.c"}}) == ["a.c", "a.c"]


def test_every_folder_is_a_rung_with_a_header() -> None:
    assert {path.name for path in LADDER.iterdir() if path.is_dir()} == set(RUNGS)
    assert all((LADDER / name / f"{name}.h").exists() for name in RUNGS if name not in MEMBERS)
    assert not [path for path in written(LADDER, "*.c") if path.parent == LADDER]


def edges_between_rungs(edges: Edges) -> Iterable[tuple[str, str]]:
    return {
        (name.partition("/")[0], needed.partition("/")[0])
        for name in edges
        for needed in edges[name]
        if rung(name) != rung(needed)
    }


def test_includes_point_down_the_ladder() -> None:
    edges = includes(LADDER)
    assert {("tx", "wire"), ("device", "tx"), ("rx", "classify")} <= set(edges_between_rungs(edges))
    assert arrows_up(edges) == []


def test_calls_point_down_the_ladder() -> None:
    edges = calls(LADDER)
    assert {("tx", "wire"), ("wires", "rx"), ("device", "rx"), ("rx", "dma")} <= set(edges_between_rungs(edges))
    assert arrows_up(edges) == []


def test_a_kind_of_wire_is_called_by_no_other_file_but_its_own() -> None:
    """Rings reach it through its operations. The generator and its sink are two files of one kind."""
    assert [
        (name, needed)
        for name, all_needed in calls(LADDER).items()
        for needed in all_needed
        if rung(needed) == RUNGS.index("wires")
    ] == [("wires/generator.c", "wires/sink.c")]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.parent.relative_to(PACKAGE)))
def test_no_circle_between_the_files_of_a_module(folder: Path) -> None:
    assert circle(includes(folder)) == []
    assert circle(calls(folder)) == []
