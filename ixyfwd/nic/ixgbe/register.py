"""The parts of a row of the register table: offset rule, access mode, bit fields, datasheet section.

A register is a class, so that its fields are attributes that mypy knows: `RXDCTL[3]` is
the fourth RXDCTL, `RXDCTL.ENABLE(1)` a value for one of its fields.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

ALL_ONES: Final = 0xFFFFFFFF


class Mode(Enum):
    """The access mode of a register."""

    RW = "read/write"
    RO = "read only"
    RC = "cleared by reading"
    W1C = "write 1 to clear"
    W1S = "write 1 to set"
    SC = "read/write, some bits clear themselves"


@dataclass(frozen=True)
class Run:
    """A run of `count` registers, `stride` bytes apart, from `offset` on."""

    offset: int
    count: int = 1
    stride: int = 4


OffsetRule = tuple[Run, ...]


def one(offset: int) -> OffsetRule:
    """The offset rule of a register that exists once."""
    return (Run(offset),)


def array(offset: int, count: int, stride: int = 4) -> OffsetRule:
    """The offset rule of `count` registers, `stride` bytes apart."""
    return (Run(offset, count, stride),)


def rx_queue(offset: int) -> OffsetRule:
    """The offset rule of one register per receive queue: queues 64 to 127 have their own window (8.2.3.8)."""
    return Run(0x01000 + offset, 64, 0x40), Run(0x0D000 + offset, 64, 0x40)


def tx_queue(offset: int) -> OffsetRule:
    """The offset rule of one register per transmit queue, in one window (8.2.3.9)."""
    return array(0x06000 + offset, 128, 0x40)


class Field:
    """A field: bits `high`..`low` of a register (one bit if only `high` is given)."""

    name: str
    register: str

    def __init__(self, high: int, low: int | None = None) -> None:
        self.low = high if low is None else low
        self.limit = (1 << (high - self.low + 1)) - 1
        self.mask = self.limit << self.low

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.register = owner.__name__

    def __call__(self, value: int) -> "Setting":
        """This field with a value. Raises ValueError if the value does not fit."""
        if not 0 <= value <= self.limit:
            raise ValueError(f"{self} holds 0 to {self.limit}, not {value}")
        return Setting(self, value)

    def of(self, word: int) -> int:
        """The field's value in a register word."""
        return (word & self.mask) >> self.low

    def __str__(self) -> str:
        return f"{self.register}.{self.name}"


@dataclass(frozen=True)
class Setting:
    """A field and the value it shall have."""

    field: Field
    value: int

    @property
    def bits(self) -> int:
        """The value at the field's place in a word."""
        return self.value << self.field.low

    def holds_in(self, word: int) -> bool:
        """Whether the field has this value in `word`."""
        return self.field.of(word) == self.value


@dataclass(frozen=True)
class Location:
    """One 32-bit register of the device."""

    register: str
    name: str
    offset: int
    mode: Mode


class RegisterRow(type):
    """The class of register classes: gives `RXDCTL[3]`."""

    rule: OffsetRule
    mode: Mode
    section: str

    def __getitem__(cls, index: int) -> Location:
        """The location of instance `index`. Raises IndexError outside the table."""
        at = index
        for run in cls.rule:
            if 0 <= at < run.count:
                name = cls.__name__ if cls.count == 1 else f"{cls.__name__}[{index}]"
                return Location(cls.__name__, name, run.offset + at * run.stride, cls.mode)
            at -= run.count
        raise IndexError(f"there is no {cls.__name__}[{index}], only {cls.count} of them")

    @property
    def count(cls) -> int:
        """The number of instances of this register."""
        return sum(run.count for run in cls.rule)

    @property
    def fields(cls) -> tuple[Field, ...]:
        """The fields, in the order of their definition."""
        return tuple(field for field in vars(cls).values() if isinstance(field, Field))


class Register(metaclass=RegisterRow):
    """A row of the table: subclass it with `at` (offset rule), `mode` and the datasheet `section`."""

    def __init_subclass__(cls, *, at: OffsetRule, section: str, mode: Mode = Mode.RW) -> None:
        cls.rule, cls.section, cls.mode = at, section, mode


Where = Location | type[Register]
"""A location, or the class of a register that exists once."""


def locate(where: Where) -> Location:
    """The location of a register. Raises IndexError for the bare class of one that exists several times."""
    if isinstance(where, Location):
        return where
    if where.count != 1:
        raise IndexError(f"{where.__name__} exists {where.count} times: say which")
    return where[0]


def word_of(location: Location, parts: tuple[int | Setting, ...], word: int = 0) -> int:
    """The word that results from `word` and `parts`: whole values are ORed, fields replaced.

    Raises ValueError for a field of another register.
    """
    for part in parts:
        if isinstance(part, int):
            word |= part
        elif part.field.register != location.register:
            raise ValueError(f"{part.field} is not a field of {location.name}")
        else:
            word = word & ~part.field.mask | part.bits
    return word
