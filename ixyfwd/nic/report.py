"""The contract of a look at a device that no run drives: its report, its registers, and a stranger's dump of them.

A family offers it by `PciDevices.reports` (`nic/contract.py`); what prints it knows no family.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ixyfwd.errors import UsageError
from ixyfwd.pci.function import Function

_NAME: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[(\d+)\])?")


@dataclass(frozen=True)
class Fact:
    """One thing that a device says of itself.

    topic: a group of facts, "link". found: what was found, in words. value: the same as
    plain data, where it is one. concern: a sentence on what is wrong with it and what
    to do; empty where nothing is.
    """

    topic: str
    name: str
    found: str
    value: int | float | str | bool | None = None
    concern: str = ""


@dataclass(frozen=True)
class RegisterValue:
    """One register: `name` is `table`'s, with its index where the table has several ("RXDCTL[3]").

    offset: of BAR0 in bytes. word: None if it was not read; `note` then says why.
    fields: name and value of each that is known. section: of the datasheet.
    """

    table: str
    name: str
    offset: int
    word: int | None
    fields: tuple[tuple[str, int], ...] = ()
    section: str = ""
    note: str = ""


@dataclass(frozen=True)
class Selection:
    """The registers that were asked for: a table by its name, or one register of it; an empty name: all."""

    table: str = ""
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """The selection that `text` names: "RXDCTL", "rxdctl[3]". Raises UsageError."""
        found = _NAME.fullmatch(text)
        if found is None:
            raise UsageError(f"the register {text[:40]!r} is no name; write one such as RXDCTL or RXDCTL[3]")
        return cls(found[1].upper(), None if found[2] is None else int(found[2]))

    def has(self, table: str, index: int) -> bool:
        """Whether register `index` of a table was asked for."""
        return self.table in {"", table.upper()} and self.index in {None, index}

    def __str__(self) -> str:
        return self.table if self.index is None else f"{self.table}[{self.index}]"


class Inspection(Protocol):
    """A look at one device. It resets nothing and changes no setting.

    Methods raise DeviceError and its subclasses.
    """

    def facts(self) -> Iterator[Fact]:
        """What the device says of itself, topic by topic."""

    def registers(self, selection: Selection) -> Iterator[RegisterValue]:
        """The registers that are selected, with their values; those that a read would change are not read."""


@dataclass(frozen=True)
class Reports:
    """What a family tells of its devices without driving them.

    open: a look at the device behind a function; the name is for messages. names: of
    the tables of registers. decode: the registers in a dump that another driver's tool
    has printed, or None if it is none of this family's. dumps: what `decode` takes, as
    a clause.
    """

    open: Callable[[Function, str], Inspection]
    names: tuple[str, ...]
    decode: Callable[[bytes], Sequence[RegisterValue] | None]
    dumps: str
