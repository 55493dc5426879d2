"""A program as configuration and reports know it: the base of each `programs/NAME/options.py`."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, Self

from ixyfwd.settings.reader import Table


class Counted(NamedTuple):
    """A counter of a program: its name in reports, and its meaning in a few words."""

    name: str
    text: str


@dataclass(frozen=True)
class ProgramOptions:
    """A program with its settings, as plain data that passes through JSON.

    Each program derives one frozen dataclass named `Options` from it, whose fields are
    the keys of the table `[program.NAME]`.
    """

    name: ClassVar[str]
    """The folder's name, which configuration and reports use."""

    summary: ClassVar[str]
    """The program's job, in a few words."""

    decides: ClassVar[bool] = False
    """Whether it gives verdicts. Frames of a program that does not leave by the other port of their link."""

    does_nothing: ClassVar[bool] = False
    """Whether it leaves frames as they are and gives no verdicts: a loop in C needs no part of it."""

    frame_op: ClassVar[bool] = False
    """Whether it has a `frame.h`: it treats every frame alike, and a loop in C may do that by itself."""

    drop_causes: ClassVar[tuple[Counted, ...]] = ()
    """The causes of its drops; the verdict DROP names one by index. At most `telemetry.counters.DROP_CAUSES`."""

    counters: ClassVar[tuple[Counted, ...]] = ()
    """Its counters besides verdicts. At most `telemetry.counters.PROGRAM_COUNTERS`."""

    @classmethod
    def read(cls, table: Table) -> Self:
        """The options that a table of a configuration gives; it is empty if the file has none.

        Problems are noted in the table, not raised.
        """
        return cls()

    def as_json(self) -> dict[str, Any]:
        """The options as plain data, as the worker's `bind` is given them."""
        return asdict(self)
