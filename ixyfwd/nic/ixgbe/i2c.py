"""The two wires to the SFP+ cage and to a board's thermal sensor (82599: I2CCTL, 8.2.3.1.5), driven bit by bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ixyfwd.errors import DeviceError, DeviceTimeoutError
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.windows import I2CCTL

MODULE: Final = 0xA0  # 8-bit address; bit 0 set: read (SFF-8472)
THERMAL_SENSOR: Final = 0xF8  # Linux: IXGBE_I2C_THERMAL_SENSOR_ADDR

_HALF_PERIOD_S: Final = 5e-6  # 100 kHz
_STRETCH_S: Final = 1e-3  # for how long a slave may hold the clock


class NoAnswerError(DeviceError):
    """No device acknowledged its address: the cage is empty, or the board has no such device."""


class I2cBus:
    """The bus of one port. Methods raise NoAnswerError and DeviceTimeoutError, a held clock."""

    def __init__(self, regs: Registers) -> None:
        self._regs = regs

    def read(self, slave: int, offsets: Sequence[int]) -> bytes:
        """The bytes at these offsets of a device, each read by itself as Linux does."""
        return bytes(self._read_byte(slave, offset) for offset in offsets)

    def _read_byte(self, slave: int, offset: int) -> int:
        try:
            self._start()
            self._send(slave)
            self._send(offset)
            self._start()
            self._send(slave | 1)
            value = 0
            for _ in range(8):
                value = value << 1 | self._clock(1)
            self._clock(1)  # not acknowledged: no more bytes
            return value
        finally:
            self._stop()

    def _send(self, byte: int) -> None:
        for bit in range(7, -1, -1):
            self._clock(byte >> bit & 1)
        if self._clock(1):
            raise NoAnswerError(f"{self._regs.label}: no device on the I2C bus acknowledges {byte:#04x}")

    def _clock(self, data: int) -> int:
        """One clock with `data` on the data wire (1: let go of it); what is on the wire while the clock is high."""
        self._drive(clock=0, data=data)
        self._drive(clock=1, data=data)
        return I2CCTL.DATA_IN.of(self._regs.read(I2CCTL))

    def _start(self) -> None:
        self._drive(clock=0, data=1)
        self._drive(clock=1, data=1)
        self._drive(clock=1, data=0)

    def _stop(self) -> None:
        self._drive(clock=0, data=0)
        self._drive(clock=1, data=0)
        self._drive(clock=1, data=1)

    def _drive(self, *, clock: int, data: int) -> None:
        regs = self._regs
        regs.write(I2CCTL, I2CCTL.CLK_OUT(clock), I2CCTL.DATA_OUT(data))
        regs.clock.sleep(_HALF_PERIOD_S)
        if clock and not regs.settles(I2CCTL, I2CCTL.CLK_IN(1), timeout_s=_STRETCH_S):
            raise DeviceTimeoutError(f"{regs.label}: the clock of the I2C bus is held low by a device on it")


_IDENTIFICATION: Final = (0, 3, 6, 8, *range(20, 36), *range(40, 56), *range(68, 84))
_TEN_GIGABIT: Final = ((0x10, "10GBASE-SR"), (0x20, "10GBASE-LR"), (0x40, "10GBASE-LRM"), (0x80, "10GBASE-ER"))
_ONE_GIGABIT: Final = ((0x01, "1000BASE-SX"), (0x02, "1000BASE-LX"), (0x08, "1000BASE-T"))
_CABLES: Final = ((0x04, "passive direct-attach cable"), (0x08, "active direct-attach cable"))
_SFP: Final = 0x03


@dataclass(frozen=True)
class ModuleNames:
    """What a module says of itself (SFF-8472). kinds: what it can be, empty for one that says nothing known."""

    identifier: int
    kinds: tuple[str, ...]
    vendor: str
    part: str
    serial: str

    @property
    def is_sfp(self) -> bool:
        """Whether it says that it is an SFP or SFP+ module."""
        return self.identifier == _SFP


def read_module(regs: Registers) -> ModuleNames:
    """The identification of the module in the cage. Raises NoAnswerError and DeviceTimeoutError."""
    data = I2cBus(regs).read(MODULE, _IDENTIFICATION)
    identifier, ten, one, cable = data[:4]
    kinds = [name for word, table in ((cable, _CABLES), (ten, _TEN_GIGABIT), (one, _ONE_GIGABIT))
             for bit, name in table if word & bit]  # fmt: skip
    vendor, part, serial = (_text(data[start : start + 16]) for start in (4, 20, 36))
    return ModuleNames(identifier, tuple(kinds), vendor, part, serial)


def _text(data: bytes) -> str:
    """Letters of a module's page, which may hold any byte."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in data.rstrip(b" \0\xff"))
