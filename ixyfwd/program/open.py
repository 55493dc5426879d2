"""A program by name."""

from collections.abc import Mapping
from types import MappingProxyType

from ixyfwd.errors import UsageError
from ixyfwd.program.contract import Program
from ixyfwd.program.touch import Touch
from ixyfwd.program.xconnect import Xconnect

PROGRAMS: Mapping[str, type[Xconnect] | type[Touch]] = MappingProxyType({"xconnect": Xconnect, "touch": Touch})


def open_program(name: str) -> Program:
    """The program `name`. Raises UsageError for an unknown name."""
    if name not in PROGRAMS:
        raise UsageError(f"there is no program {name!r}; choose one of: {', '.join(PROGRAMS)}")
    return PROGRAMS[name]()
