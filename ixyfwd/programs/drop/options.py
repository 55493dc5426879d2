"""The drop program in a configuration: which frames it drops."""

from dataclasses import dataclass
from typing import ClassVar, Self

from ixyfwd.programs.contract import Counted, ProgramOptions
from ixyfwd.settings.reader import Table

MAX_EVERY = 2**32 - 1
MIN_BYTES, MAX_BYTES = 64, 9728


@dataclass(frozen=True)
class Options(ProgramOptions):
    """The frames to drop, by length or by count.

    `shorter_than`, `longer_than`: in bytes with CRC; None: that length is no cause.
    `every`: of the other frames of each port and worker, every n-th is dropped; 0: none
    of them; None: all of them if length is no cause, else none.
    """

    name: ClassVar = "drop"
    summary: ClassVar = "drops frames: all, every n-th, or by length"
    decides: ClassVar = True
    drop_causes: ClassVar = (
        Counted("shorter", "shorter than `shorter_than`"),
        Counted("longer", "longer than `longer_than`"),
        Counted("every", "an `every`-th frame of those whose length was no cause"),
    )
    counters: ClassVar = (Counted("bytes", "bytes of the dropped frames, with CRC"),)

    every: int | None = None
    shorter_than: int | None = None
    longer_than: int | None = None

    @classmethod
    def read(cls, table: Table) -> Self:
        """The options of a table with the keys `every`, `shorter_than` and `longer_than`."""
        return cls(
            every=table.integer("every", None, 0, MAX_EVERY),
            shorter_than=table.integer("shorter_than", None, MIN_BYTES, MAX_BYTES),
            longer_than=table.integer("longer_than", None, MIN_BYTES, MAX_BYTES),
        )
