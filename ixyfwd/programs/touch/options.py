"""The touch program in a configuration: it has no settings."""

from dataclasses import dataclass
from typing import ClassVar

from ixyfwd.programs.contract import ProgramOptions


@dataclass(frozen=True)
class Options(ProgramOptions):
    """The touch program: it has no settings."""

    name: ClassVar = "touch"
    summary: ClassVar = "increments the byte at offset 48 of each frame that has one"
    frame_op: ClassVar = True
