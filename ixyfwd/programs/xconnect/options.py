"""The cross-connect in a configuration: it has no settings."""

from dataclasses import dataclass
from typing import ClassVar

from ixyfwd.programs.contract import ProgramOptions


@dataclass(frozen=True)
class Options(ProgramOptions):
    """The cross-connect: it has no settings."""

    name: ClassVar = "xconnect"
    summary: ClassVar = "passes frames on as they came"
    does_nothing: ClassVar = True
