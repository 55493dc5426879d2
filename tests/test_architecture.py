"""The shape of the code: who imports whom, how long a file is, what a module may keep."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

PACKAGE = ROOT / "ixyfwd"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

# Each layer and what it may import (besides itself and `errors`): DESIGN 1. The model knows nothing of the driver,
# the worker nothing of global registers, the driver nothing of how a device is reached beyond the Function protocol.
MAY_IMPORT: dict[str, set[str]] = {
    "settings": set(),
    "telemetry": set(),
    "vfiouser": set(),
    "memory": {"telemetry"},
    "pci": {"vfiouser"},
    "model": {"vfiouser", "telemetry", "settings"},
    "driver": {"pci"},
    "engine": {"pci", "memory", "telemetry"},
    "program": {"engine", "memory", "telemetry"},
    "config": {"settings", "model", "memory", "driver", "telemetry"},
    "host": {"pci", "config", "memory"},
    "worker": {"program", "engine", "memory", "pci", "telemetry"},
    "supervisor": {"config", "worker", "driver", "pci", "memory", "telemetry", "model"},
    "bench": {"supervisor", "config", "worker", "engine", "program", "driver", "memory", "telemetry", "model", "pci"},
    "cli": {"bench", "supervisor", "host", "config", "settings", "driver", "telemetry", "model"},
}
# A kind of wire is known by nobody else: what they have in common, and the list of them.
WIRES = {"ixyfwd.model.wires.contract", "ixyfwd.model.wires.registry"}
# Only these modules of a layer may be imported by the layer above it: the rest is nobody else's business.
NARROW = {
    ("config", "model"): WIRES | {"ixyfwd.model.spec"},
    ("config", "memory"): {"ixyfwd.memory.layout"},
    ("config", "driver"): {"ixyfwd.driver.rss", "ixyfwd.driver.mac"},
    ("supervisor", "model"): WIRES | {"ixyfwd.model.spec", "ixyfwd.model.client", "ixyfwd.model.wires.flows"},
    ("engine", "pci"): {"ixyfwd.pci.function"},
    ("driver", "pci"): {"ixyfwd.pci.function"},
    ("worker", "pci"): {"ixyfwd.pci.function", "ixyfwd.pci.mmio"},
    ("cli", "model"): WIRES
    | {"ixyfwd.model.spec", "ixyfwd.model.inject", "ixyfwd.model.client", "ixyfwd.model.wires.flows"},
    ("cli", "driver"): {"ixyfwd.driver.rss", "ixyfwd.driver.flow", "ixyfwd.driver.ids"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything of this package that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("ixyfwd"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "ixyfwd":
                yield from (f"ixyfwd.{alias.name}" for alias in node.names)
            elif node.module and node.module.startswith("ixyfwd."):
                yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0]
    if layer not in MAY_IMPORT:
        return
    for name in imports(path):
        target = name.split(".")[1] if "." in name else name
        if target in {layer, "errors", "__version__"}:
            continue
        assert target in MAY_IMPORT[layer], f"{layer} must not import {name}"
        allowed = NARROW.get((layer, target))
        assert allowed is None or name in allowed, f"{layer} may import only {allowed}, not {name}"


def test_a_kind_of_wire_is_known_to_no_other_module() -> None:
    """But to measurements, which ask for the generator because they know what it sends."""
    folder = PACKAGE / "model" / "wires"
    shared = {*WIRES, "ixyfwd.model.wires.flows"}
    for path in modules():
        if folder in path.parents or path.parent == PACKAGE / "bench" or path == PACKAGE / "model" / "turn.py":
            continue
        known = {name for name in imports(path) if name.startswith("ixyfwd.model.wires")}
        assert known <= shared, f"{path.relative_to(PACKAGE)} knows {known - shared}"


def test_every_folder_is_a_known_layer() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert folders == set(MAY_IMPORT)


@pytest.mark.parametrize("path", [*modules(), *PACKAGE.rglob("*.[ch]")], ids=lambda path: path.name)
def test_files_are_short(path: Path) -> None:
    if path.name.startswith("_") and path.suffix == ".c":
        return  # generated
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_fit_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{path.name}: {node.name} has {lines} lines"


def _is_mutable(node: ast.expr) -> bool:
    if isinstance(node, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
        return True
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"list", "dict", "set", "bytearray", "defaultdict", "deque"}
    )


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_mutable_module_globals(path: Path) -> None:
    """A table is a constant (upper case, or declared Mapping/Final); nothing is rebound with `global`."""
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and _is_mutable(node.value):
            for target in node.targets:
                name = target.id if isinstance(target, ast.Name) else ""
                assert name.lstrip("_").isupper() or name == "__all__", f"{path.name}: {name} is a mutable global"
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)], f"{path.name} uses `global`"


def test_model_and_driver_do_not_know_each_other() -> None:
    for layer, other in (("driver", "model"), ("model", "driver"), ("engine", "model"), ("worker", "driver")):
        for path in (PACKAGE / layer).rglob("*.py"):
            assert not [name for name in imports(path) if name.split(".")[1:2] == [other]], path


def test_nothing_above_pci_asks_whether_it_is_simulated() -> None:
    for layer in ("driver", "engine", "program", "worker"):
        for path in (PACKAGE / layer).rglob("*.py"):
            text = path.read_text().lower()
            assert "simulated" not in text, path
            assert "vfio" not in text, path
