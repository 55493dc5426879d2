"""What a program is to a configuration and to the account of a run: the base of each `programs/NAME/options.py`."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, Self

from ixyfwd.settings.reader import Table


class Counted(NamedTuple):
    """Something that a program counts: its name in reports, and what it means in a few words."""

    name: str
    text: str


@dataclass(frozen=True)
class ProgramOptions:
    """A program with its settings: plain data that passes through JSON. Each program derives one frozen dataclass
    named `Options` from it; its fields are the keys of the table `[program.NAME]`."""

    name: ClassVar[str]
    """The folder's name: what a configuration and reports call it."""

    summary: ClassVar[str]
    """What it does, in a few words."""

    decides: ClassVar[bool] = False
    """Whether it gives verdicts. Frames of a program that does not leave by the other port of their link."""

    does_nothing: ClassVar[bool] = False
    """Whether it leaves frames as they are and gives no verdicts: a loop in C needs no part of it."""

    frame_op: ClassVar[bool] = False
    """Whether it has a `frame.h`: it does the same to every frame, and a loop in C may do that by itself."""

    drop_causes: ClassVar[tuple[Counted, ...]] = ()
    """Why it drops frames; the verdict DROP names one by index. At most `telemetry.counters.DROP_CAUSES`."""

    counters: ClassVar[tuple[Counted, ...]] = ()
    """What it counts besides verdicts. At most `telemetry.counters.PROGRAM_COUNTERS`."""

    @classmethod
    def read(cls, table: Table) -> Self:
        """From its table in a configuration, which is empty if the file has none. Problems are noted, not raised."""
        return cls()

    def as_json(self) -> dict[str, Any]:
        """What the worker's `bind` is given."""
        return asdict(self)
