"""The kinds of wire: those that the modules of this package define. A new module is found without a change here."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Final

from ixyfwd.model.wires.contract import Wire
from ixyfwd.settings.reader import Table

DEFAULT_KIND: Final = "generator"
NO_WIRE_KIND: Final = "none"


@cache
def kinds() -> Mapping[str, type[Wire]]:
    """Every kind, by the name that a configuration calls it."""
    package = __name__.rpartition(".")[0]
    modules = [import_module(f"{package}.{found.name}") for found in iter_modules([str(Path(__file__).parent)])]
    classes = [one for module in modules for one in vars(module).values() if isinstance(one, type)]
    found = {one.kind: one for one in classes if issubclass(one, Wire) and "kind" in vars(one)}
    return MappingProxyType(dict(sorted(found.items())))


def default_wire(**fields: Any) -> Wire:
    """What a simulated port has if nothing is said; `fields`: what differs from the kind's defaults."""
    return kinds()[DEFAULT_KIND](**fields)


def no_wire() -> Wire:
    """The wire of a port that has nothing at the far end."""
    return kinds()[NO_WIRE_KIND]()


def read_wire(table: Table, folder: Path) -> Wire:
    """A wire from its table in a configuration; file names count from `folder`. Problems are noted, not raised."""
    before = len(table.notes.problems)
    kind = table.choice("kind", DEFAULT_KIND, tuple(kinds()))
    if len(table.notes.problems) > before:
        return default_wire()  # what the other keys should be depends on the kind
    wire = kinds()[kind].read(table, folder)
    table.finish()
    return wire


def wire_from_json(data: Mapping[str, Any]) -> Wire:
    """The inverse of `Wire.as_json`."""
    fields = {key: _frozen(value) for key, value in data.items() if key != "kind"}
    return kinds()[data["kind"]](**fields)


def _frozen(value: Any) -> Any:
    """JSON has lists where a frozen value has tuples."""
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
