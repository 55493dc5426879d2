"""The shape of the code: who imports whom, how long a file is, what a module may keep."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testing.support import ROOT

PACKAGE = ROOT / "ixyfwd"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

# Each layer and what it may import (besides itself and `errors`). The model knows nothing of the driver,
# the worker nothing of global registers, the driver nothing of how a device is reached beyond the Function protocol.
# Of a NIC family (a folder in `nic`) each role is a layer: `descriptors` and `limits` are narrow modules that import
# nothing heavy, `rings` is what a worker loads, everything else is its control side. `nic` itself is the contract, the
# registry and what families share; it finds families by their folders and names none.
MAY_IMPORT: dict[str, set[str]] = {
    "kit": set(),
    "settings": set(),
    "telemetry": set(),
    "traffic": set(),
    "probe": {"kit"},
    "vfiouser": set(),
    "memory": {"telemetry", "kit"},
    "pci": {"vfiouser", "kit"},
    "model": {"vfiouser", "settings", "traffic", "kit"},
    "nic": {"pci", "memory"},
    "nic descriptors": set(),
    "nic limits": {"nic", "memory"},
    "nic control": {"nic", "nic limits", "nic descriptors", "pci"},
    "engine": {"pci", "memory", "telemetry", "traffic"},
    "nic rings": {"engine", "memory", "telemetry", "traffic", "nic descriptors"},
    # A program's roles are layers, too: what a configuration knows of it, and what a worker runs.
    "programs options": {"settings"},
    "programs worker": {"engine", "memory", "telemetry"},
    "config": {"settings", "programs options", "model", "memory", "nic", "telemetry", "kit"},
    "host": {"config", "memory", "probe", "kit", "nic", "pci"},
    # A worker's role as well: what the supervisor asks of it and says of it, and what the worker runs.
    "roles order": {"telemetry", "traffic", "kit"},
    "roles worker": {"roles order", "programs worker", "engine", "telemetry"},
    "worker": {"roles order", "roles worker", "engine", "memory", "pci", "telemetry", "kit"},
    "plan": {"config", "programs options", "roles order", "nic", "memory", "model"},
    "supervisor": {
        "plan",
        "programs options",
        "roles order",
        "config",
        "worker",
        "nic",
        "pci",
        "memory",
        "telemetry",
        "model",
        "probe",
        "kit",
    },
    "bench": {
        "probe",
        "supervisor",
        "config",
        "roles order",
        "roles worker",
        "worker",
        "engine",
        "programs options",
        "nic descriptors",
        "memory",
        "telemetry",
        "traffic",
        "model",
        "pci",
        "kit",
    },
    "cli": {
        "bench",
        "supervisor",
        "roles order",
        "host",
        "config",
        "settings",
        "nic",
        "telemetry",
        "traffic",
        "model",
        "kit",
    },
}
# A kind of wire is known by nobody else: what they have in common, and the list of them.
WIRES = {"ixyfwd.model.wires.contract", "ixyfwd.model.wires.registry"}
# Only these modules of a layer may be imported by the layer above it: the rest is nobody else's business.
PROGRAMS = {"ixyfwd.programs.contract", "ixyfwd.programs.registry"}
ROLES = {"ixyfwd.roles.contract", "ixyfwd.roles.registry"}
NARROW = {
    ("config", "programs options"): PROGRAMS,
    ("plan", "programs options"): PROGRAMS,
    ("supervisor", "programs options"): {"ixyfwd.programs.contract"},
    ("bench", "programs options"): PROGRAMS,
    ("config", "kit"): {"ixyfwd.kit.tree", "ixyfwd.kit.cgroups", "ixyfwd.kit.pciaddress"},
    ("roles worker", "programs worker"): {"ixyfwd.programs.work"},
    ("worker", "roles order"): ROLES,
    ("worker", "roles worker"): {"ixyfwd.roles.work"},
    ("plan", "roles order"): ROLES,
    ("supervisor", "roles order"): ROLES | {"ixyfwd.roles.report"},
    ("config", "model"): WIRES | {"ixyfwd.model.spec"},
    ("config", "memory"): {"ixyfwd.memory.layout"},
    ("config", "nic"): {"ixyfwd.nic.limits", "ixyfwd.nic.mac", "ixyfwd.nic.options"},
    ("supervisor", "model"): {
        "ixyfwd.model.wires.contract",
        "ixyfwd.model.spec",
        "ixyfwd.model.client",
    },
    ("plan", "model"): {"ixyfwd.model.wires.contract", "ixyfwd.model.spec"},
    ("plan", "nic"): {"ixyfwd.nic.options", "ixyfwd.nic.rss"},
    ("plan", "memory"): {"ixyfwd.memory.layout"},
    ("engine", "pci"): {"ixyfwd.pci.function"},
    ("nic", "pci"): {"ixyfwd.pci.function"},
    ("host", "nic"): {"ixyfwd.nic.registry", "ixyfwd.nic.report"},
    ("host", "pci"): {"ixyfwd.pci.open"},
    ("nic", "memory"): {"ixyfwd.memory.layout"},
    ("nic limits", "memory"): {"ixyfwd.memory.layout"},
    ("nic limits", "nic"): {"ixyfwd.nic.limits"},
    ("nic control", "pci"): {"ixyfwd.pci.function"},
    ("supervisor", "nic"): {"ixyfwd.nic.contract", "ixyfwd.nic.registry", "ixyfwd.nic.check"},
    ("worker", "pci"): {"ixyfwd.pci.function", "ixyfwd.pci.mmio"},
    ("cli", "model"): WIRES | {"ixyfwd.model.spec", "ixyfwd.model.inject.kinds", "ixyfwd.model.client"},
    ("cli", "nic"): {"ixyfwd.nic.registry", "ixyfwd.nic.report", "ixyfwd.nic.rss", "ixyfwd.nic.flow"},
}

# The layers inside of the model, from the lowest to the highest: its folders, and the modules on top. The chip knows
# the data path by the type of its port alone, which is all that a fake needs to be.
MODEL_MAY_IMPORT: dict[str, set[str]] = {
    "wires": set(),
    "spec": {"wires"},
    "datapath": {"wires"},
    "chip": {"datapath"},
    "inject": {"chip", "datapath"},
    "client": {"inject", "chip"},
    "port": {"inject", "chip", "datapath", "spec"},
    "fronts": {"port", "chip", "datapath", "spec"},
    "process": {"fronts", "port", "client", "chip", "datapath", "spec"},
    "turn": {"datapath", "wires"},
    "__main__": {"process"},
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


FAMILIES = {path.name for path in (PACKAGE / "nic").iterdir() if path.is_dir() and not path.name.startswith("_")}
FAMILY_ROLES = {"descriptors", "limits", "rings"}  # besides the control side
OPTION_ROLES = {"options", "contract", "registry", "__init__"}
WORKER_SIDE = {"work", "worker", "steps", "recording"}  # of a worker's role


def layer_of(name: str) -> str:
    """The layer of a module: the folder below the package, and of a NIC family's and a program's modules their role; of
    the modules of a worker's role the side that they are for."""
    _, top, *inner = [*name.split("."), ""]
    if top == "roles":
        return "roles worker" if inner[-2:][0] in WORKER_SIDE else "roles order"
    if top == "programs":
        return "programs options" if inner[-2:][0] in OPTION_ROLES else "programs worker"
    if top != "nic" or inner[0] not in FAMILIES or inner[1] == "":
        return top
    return f"nic {inner[1]}" if inner[1] in FAMILY_ROLES else "nic control"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    layer = layer_of(name_of(path))
    if layer not in MAY_IMPORT:
        return
    for name in imports(path):
        target = layer_of(name)
        if target in {layer, "errors", "__version__"}:
            continue
        assert target in MAY_IMPORT[layer], f"{layer} must not import {name}"
        allowed = NARROW.get((layer, target))
        assert allowed is None or name in allowed, f"{layer} may import only {allowed}, not {name}"


def model_layer_of(name: str) -> str:
    """The layer of a module inside of the model; "" for another's."""
    parts = [*name.split("."), "", ""]
    return parts[2] if parts[1] == "model" else ""


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "model").rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_inside_of_the_model_point_downwards(path: Path) -> None:
    layer = model_layer_of(name_of(path))
    for name in imports(path):
        target = model_layer_of(name)
        if layer != "__init__" and target not in {"", layer}:
            assert target in MODEL_MAY_IMPORT[layer], f"the model's {layer} must not import {name}"


def test_the_layers_of_the_model_are_all_and_in_order() -> None:
    found = {path.stem for path in (PACKAGE / "model").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert found - {"__init__", "__pycache__"} == set(MODEL_MAY_IMPORT)
    lower: set[str] = set()
    for layer, allowed in MODEL_MAY_IMPORT.items():
        assert allowed <= lower, f"{layer} stands below {allowed - lower}"
        lower.add(layer)


def test_the_chip_needs_no_compiled_data_path() -> None:
    names = [name_of(path) for path in (PACKAGE / "model" / "chip").glob("*.py")]
    code = f"import sys, {', '.join(names)}; print(*[name for name in sys.modules if '_datapath' in name])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not loaded.strip()


def test_a_kind_of_wire_is_known_to_no_other_module() -> None:
    """But to measurements, which ask for the generator because they know what it sends."""
    folder = PACKAGE / "model" / "wires"
    for path in modules():
        if folder in path.parents or path.parent == PACKAGE / "bench" or path == PACKAGE / "model" / "turn.py":
            continue
        known = {name for name in imports(path) if name.startswith("ixyfwd.model.wires")}
        assert known <= WIRES, f"{path.relative_to(PACKAGE)} knows {known - WIRES}"


def test_every_folder_is_a_known_layer() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert folders == {layer.partition(" ")[0] for layer in MAY_IMPORT}


def test_a_family_knows_no_other() -> None:
    """Except by descriptors and rings, which relatives share."""
    for path in (PACKAGE / "nic").rglob("*.py"):
        for name in imports(path):
            parts = name.split(".")[2:]
            if parts and parts[0] in FAMILIES and parts[1:] not in (["descriptors"], ["rings"]):
                assert path.relative_to(PACKAGE / "nic").parts[0] == parts[0], f"{path} must not import {name}"


def layers_loaded(code: str) -> set[str]:
    """The layers of the NIC modules that a process has loaded after `code`."""
    code += "\nimport sys; print(*[name for name in sys.modules if name.startswith('ixyfwd.nic.')])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return {layer_of(name) for name in loaded.split()}


@pytest.mark.parametrize("role", ["ixyfwd.worker.main", "ixyfwd.config.load"])
def test_narrow_modules_are_all_that_workers_and_the_configuration_load_of_a_family(role: str) -> None:
    assert layers_loaded(f"import {role}") <= {"nic", "nic limits", "nic descriptors"}


@pytest.mark.parametrize("engine", ["native", "vector", "naive"])
def test_a_worker_with_open_rings_has_loaded_nothing_else_of_their_family(engine: str) -> None:
    loaded = layers_loaded(f"import ixyfwd.worker.main; from tests.testing.fake_nic import Rig; Rig({engine!r})")
    assert loaded == {"nic", "nic rings", "nic descriptors"}


@pytest.mark.parametrize(
    "layer", ["engine", "programs", "roles", "worker", "plan", "config", "supervisor", "host", "cli"]
)
def test_nothing_outside_knows_a_family_by_name(layer: str) -> None:
    """But the kernel's drivers, which have such names, too."""
    words = re.compile(rf"\bnic[./](?:{'|'.join(FAMILIES)})\b")
    for path in sorted((PACKAGE / layer).rglob("*")):
        if path.suffix in {".py", ".h", ".c"} and not path.name.startswith("_"):
            assert not words.search(path.read_text()), path


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


def test_nothing_outside_knows_a_program_by_name() -> None:
    names = [path.name for path in (PACKAGE / "programs").iterdir() if (path / "options.py").exists()]
    assert {"drop", "touch", "xconnect"} <= set(names)
    for path in modules():
        known = [name for name in imports(path) if name.startswith(tuple(f"ixyfwd.programs.{n}" for n in names))]
        assert not known or path.parent.parent.name == "programs", f"{path}: {known}"


def test_nothing_outside_knows_a_role_by_name() -> None:
    """But the commands that ask for one, and measurements."""
    folder = PACKAGE / "roles"
    names = [path.name for path in folder.iterdir() if (path / "order.py").exists()]
    assert {"forward", "generate", "capture"} <= set(names)
    for path in modules():
        if path.parent.name in {"cli", "bench"}:
            continue
        known = {one for name in imports(path) for one in names if f"{name}.".startswith(f"ixyfwd.roles.{one}.")}
        own = {path.parent.name} if folder in path.parents else set()
        assert known <= own, f"{path} knows {known - own}"


@pytest.mark.parametrize("role", ["forward", "generate", "capture"])
def test_a_worker_loads_of_its_role_what_it_runs(role: str) -> None:
    """No other role, and nothing that reports, which would hold up its start."""
    code = (
        f"from importlib import import_module\nimport ixyfwd.worker.main\nimport_module('ixyfwd.roles.{role}.worker')"
    )
    code += "\nimport sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    names = [name for name in loaded.split() if name.startswith("ixyfwd.")]
    assert {name.split(".")[2] for name in names if name.count(".") == 3 and ".roles." in name} == {role}
    assert not [name for name in names if name in {"ixyfwd.telemetry.snapshot", f"ixyfwd.roles.{role}.report"}]


def test_model_and_driver_do_not_know_each_other() -> None:
    for layer, other in (("nic", "model"), ("model", "nic"), ("engine", "model"), ("worker", "nic")):
        for path in (PACKAGE / layer).rglob("*.py"):
            assert not [name for name in imports(path) if name.split(".")[1:2] == [other]], path


def test_nothing_above_pci_asks_whether_it_is_simulated() -> None:
    for layer in ("nic", "engine", "programs", "roles", "worker"):
        for path in (PACKAGE / layer).rglob("*.py"):
            text = path.read_text().lower()
            assert "simulated" not in text, path
            assert "vfio" not in text, path
