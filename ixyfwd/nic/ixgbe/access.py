"""Access to registers: reading, writing and waiting, with errors that a person can read."""

import time
from collections.abc import Iterator
from typing import Protocol

from ixyfwd.errors import DeviceGoneError, DeviceTimeoutError
from ixyfwd.nic.ixgbe.register import ALL_ONES, Location, Mode, Register, Setting, Where, locate, word_of
from ixyfwd.nic.ixgbe.registers import STATUS
from ixyfwd.pci.function import Function

_FIRST_PAUSE_S = 20e-6
_LONGEST_PAUSE_S = 1e-3


class Clock(Protocol):
    """A clock for the driver; tests have their own."""

    def now(self) -> float:
        """The time in seconds since a fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""


class SystemClock:
    """The machine's monotonic clock. See `access.Clock`."""

    def now(self) -> float:
        """The time in seconds since a fixed moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        time.sleep(seconds)


class Registers:
    """The registers of one function. `name` is the port's name and stands in every message.

    Every access may raise DeviceError, as the function does, and DeviceGoneError when
    the device has left the bus.
    """

    def __init__(self, function: Function, name: str, clock: Clock | None = None) -> None:
        self._function = function
        self.label = f"port {name} ({function.address})"
        self.clock = SystemClock() if clock is None else clock

    def read(self, where: Where) -> int:
        """Read a register's word. All ones may also mean that no device answers: STATUS, never all ones, decides."""
        location = locate(where)
        word = self._function.read32(location.offset)
        if word == ALL_ONES and self._function.read32(locate(STATUS).offset) == ALL_ONES:
            raise DeviceGoneError(
                f"{self.label}: {location.name} ({location.offset:#07x}) and STATUS read all ones: the device has "
                "left the bus (removed, powered off or reset by another process); bring it back and start again"
            )
        return word

    def write(self, where: Where, *parts: int | Setting) -> None:
        """Write one word: whole values and fields ORed together; every other bit becomes 0."""
        location = locate(where)
        self._function.write32(location.offset, word_of(location, parts))

    def update(self, where: Where, *settings: Setting) -> None:
        """Change these fields of a register. Raises ValueError where a read-modify-write would change other bits."""
        location = locate(where)
        if location.mode not in (Mode.RW, Mode.SC):
            raise ValueError(f"{location.name} is {location.mode.value}: it cannot be updated")
        self._function.write32(location.offset, word_of(location, settings, self.read(location)))

    def holds(self, where: Where, *settings: Setting) -> bool:
        """Whether all these fields have these values now."""
        word = self.read(where)
        return all(setting.holds_in(word) for setting in settings)

    def settles(self, where: Where, *settings: Setting, timeout_s: float, silent_s: float = 0) -> bool:
        """Wait until the fields have these values; returns False if they have not within `timeout_s` seconds.

        `silent_s`: see `wait`.
        """
        return self._poll(where, settings, self.clock.now() + timeout_s, silent_s) is None

    def wait(
        self,
        where: Where,
        *settings: Setting,
        timeout_s: float,
        doing: str,
        begun: float | None = None,
        silent_s: float = 0,
    ) -> None:
        """Wait until the fields have these values, for `timeout_s` seconds at most.

        Raises DeviceTimeoutError, which says what was waited for while `doing`.
        `begun`: the clock's time at which this wait and others at the same time began;
        None: now. `silent_s`: for so many seconds all ones mean a device that does not
        answer yet, as during a reset, and not one that has left the bus.
        """
        last = self._poll(where, settings, (self.clock.now() if begun is None else begun) + timeout_s, silent_s)
        if last is None:
            return
        location = locate(where)
        expected = " and ".join(f"{s.field.name} = {s.value}" for s in settings)
        found = ", ".join(f"{s.field.name} = {s.field.of(last)}" for s in settings)
        raise DeviceTimeoutError(
            f"{self.label}: waited {timeout_s:g} s for {location.name} ({location.offset:#07x}) {expected} while "
            f"{doing}; it reads {last:#010x} ({found}); check that "
            "nothing else drives the device, then start again"
        )

    def _poll(self, where: Where, settings: tuple[Setting, ...], deadline: float, silent_s: float = 0) -> int | None:
        """None once the fields have their values, or the last word read. The last look comes after the deadline, so
        that a process that was not scheduled in between judges by the device and not by the clock."""
        pause = _FIRST_PAUSE_S
        answers_by = self.clock.now() + silent_s
        while True:
            now = self.clock.now()
            late = now >= deadline
            word = self.read(where) if now >= answers_by else self._function.read32(locate(where).offset)
            if all(setting.holds_in(word) for setting in settings):
                return None
            if late:
                return word
            self.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def dump(self, queues: int = 16) -> Iterator[str]:
        """A line per register for a person: name, offset, word, fields.

        Registers that a read would change are left out. Of per-queue registers the
        first `queues` are shown, of other tables the entries that are not zero.
        """
        for register in Register.__subclasses__():
            if register.mode in (Mode.RC, Mode.W1C):
                continue
            per_queue = register.count == 128 and register.rule[0].stride == 0x40
            for index in range(queues if per_queue else register.count):
                word = self.read(register[index])
                if word or per_queue or register.count == 1:
                    yield _line(register, register[index], word)


def _line(register: type[Register], location: Location, word: int) -> str:
    fields = " ".join(f"{field.name}={field.of(word)}" for field in register.fields)
    return f"{location.name:<14} {location.offset:#07x} {word:#010x}  {fields}".rstrip()
