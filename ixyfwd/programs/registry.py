"""The registry of programs, as a configuration knows them. A new folder is found without a change here."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Final

from ixyfwd.programs.contract import ProgramOptions

DEFAULT_PROGRAM: Final = "xconnect"
_PACKAGE: Final = __name__.rpartition(".")[0]


@cache
def programs() -> Mapping[str, type[ProgramOptions]]:
    """The `Options` of every program, by name."""
    folders = [found.name for found in iter_modules([str(Path(__file__).parent)]) if found.ispkg]
    modules = [f"{_PACKAGE}.{name}.options" for name in sorted(folders)]
    found: list[type[ProgramOptions]] = [import_module(module).Options for module in modules if find_spec(module)]
    return MappingProxyType({options.name: options for options in found})


def frame_op(chain: Sequence[ProgramOptions]) -> str | None:
    """The program whose `frame.h` a loop in C applies to frames, if it runs `chain` by itself.

    None if no program of the chain changes frames. Raises ValueError for a chain that
    is not `fusible`.
    """
    treating = [program.name for program in chain if program.frame_op]
    if not fusible(chain):
        raise ValueError(f"these programs do not fit one loop in C: {', '.join(program.name for program in chain)}")
    return treating[0] if treating else None


def fusible(chain: Sequence[ProgramOptions]) -> bool:
    """Whether a loop in C can run a chain by itself: no program decides, and at most one changes frames."""
    if not all(program.does_nothing or program.frame_op for program in chain):
        return False
    return sum(program.frame_op for program in chain) <= 1
