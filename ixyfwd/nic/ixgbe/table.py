"""All registers of the table with their values and fields, of a device or of a dump."""

from collections.abc import Iterator
from typing import Final

# Each of these modules has rows of the table.
from ixyfwd.nic.ixgbe import (
    defaults,
    firmware,
    flow_control,
    interrupts,
    mdio,
    registers,
    rx,
    semaphore,
    stats,
    windows,
)
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.register import Mode, Register
from ixyfwd.nic.ixgbe.stats import COUNTERS, PACKET_BUFFER_MISSES, PER_QUEUE
from ixyfwd.nic.report import RegisterValue, Selection

_MODULES: Final = tuple(
    module.__name__
    for module in (registers, defaults, firmware, flow_control, interrupts, mdio, rx, semaphore, stats, windows)
)
_NOT_READ: Final = {
    Mode.RC: "not read: a read changes it",
    Mode.W1C: "not read: it holds nothing, writes to it clear others",
}
COUNTER_SECTION: Final = "8.2.3.23"


def tables() -> tuple[type[Register], ...]:
    """The rows of the table, by the offset of their first register."""
    rows = (row for row in Register.__subclasses__() if row.__module__ in _MODULES)
    return tuple(sorted(rows, key=lambda row: row.rule[0].offset))


def counters() -> tuple[tuple[str, int, int], ...]:
    """The counters, which a read clears: table, index and offset of each."""
    single = [(one.name, 0, one.low) for one in COUNTERS]
    several = [
        (one.name, index, one.low + index * one.stride)
        for one in (PACKET_BUFFER_MISSES, *PER_QUEUE)
        for index in range(one.count)
    ]
    return (*single, *several)


def names() -> tuple[str, ...]:
    """The names of all tables."""
    return tuple(sorted({row.__name__ for row in tables()} | {name for name, _, _ in counters()}))


def value_of(row: type[Register], index: int, word: int | None, note: str = "") -> RegisterValue:
    """A register with a word that it held, or without one and why."""
    location = row[index]
    fields = () if word is None else tuple((field.name, field.of(word)) for field in row.fields)
    return RegisterValue(row.__name__, location.name, location.offset, word, fields, row.section, note)


def read_table(regs: Registers, selection: Selection) -> Iterator[RegisterValue]:
    """The registers that are selected; those that a read would change are not read."""
    for row in tables():
        for index in range(row.count):
            if selection.has(row.__name__, index):
                note = _NOT_READ.get(row.mode, "")
                yield value_of(row, index, None if note else regs.read(row[index]), note)
    arrays = {one.name for one in (PACKET_BUFFER_MISSES, *PER_QUEUE)}
    for name, index, offset in counters():
        if selection.has(name, index):
            full = f"{name}[{index}]" if name in arrays else name
            yield RegisterValue(name, full, offset, None, (), COUNTER_SECTION, "not read: a read clears the counter")
