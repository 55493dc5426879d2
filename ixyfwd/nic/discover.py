"""The search for families: every folder beside this file is one."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import ixyfwd.nic


def members(role: str) -> Iterator[ModuleType]:
    """The module `role` ("family", "limits") of every family, by the families' names. No other module is imported."""
    for _, name, is_folder in sorted(iter_modules(ixyfwd.nic.__path__), key=lambda found: found.name):
        if is_folder:
            yield import_module(f"ixyfwd.nic.{name}.{role}")
