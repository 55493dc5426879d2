"""Pins and wires that lead out of the chip: ESDP, I2CCTL, MDIO, and the timer (datasheet 8.2.3.1, 8.2.3.22)."""

from collections.abc import Callable

from ixyfwd.model.chip.i2c import I2cSlave, direct_attach_page
from ixyfwd.model.chip.phy import ABSENT, ADDRESS, Phy
from ixyfwd.model.chip.regfile import RegisterFile

SDP_OCCUPIED = 0x04  # SDP2 high: a module is in the SFP+ cage; SDP3 low: the laser is on
I2C_CLK_OUT = 1 << 1
I2C_DATA_IN = 1 << 2
I2C_DATA_OUT = 1 << 3
MSCA_COMMAND = 1 << 30
MSCA_ADDRESS, MSCA_WRITE, MSCA_READS = 0, 1, (2, 3)  # operation codes 27:26


class Pins:
    """The pins to PHY and module: MDIO, I2C and the software-definable pins.

    On MDIO is the PHY that the chip has, if any; on I2C a direct-attach module. Without a module reads find
    released lines.
    """

    def __init__(
        self, file: RegisterFile, clock_ns: Callable[[], int], module: bool = True, phy: Phy | None = None
    ) -> None:
        self._file = file
        self._clock_ns = clock_ns
        self._plugged = I2cSlave(direct_attach_page()) if module else None
        self.emptied = False  # injected: as if the module were out
        self._phy = phy
        file.bind(
            {"esdp": self._read_esdp, "i2cctl": self._read_i2cctl, "frtimer": self._read_frtimer},
            {"msca": self._write_msca, "i2cctl": self._write_i2cctl},
        )

    @property
    def _module(self) -> I2cSlave | None:
        return None if self.emptied else self._plugged

    def _read_esdp(self, name: str, index: int) -> int:
        """Pins that are inputs (direction bits 15:8 clear) show the pin, not what was written last."""
        value = self._file.peek(name)
        outputs = value >> 8 & 0xFF
        inputs = SDP_OCCUPIED if self._module else 0
        return value & ~0xFF | value & outputs | inputs & ~outputs & 0xFF

    def _read_i2cctl(self, name: str, index: int) -> int:
        """Each wire is the AND of all that drive it; only the driver drives the clock."""
        value = self._file.peek(name) & (I2C_CLK_OUT | I2C_DATA_OUT)
        lines = value >> 1
        if self._module and not self._module.sda:
            lines &= ~I2C_DATA_IN
        return value | lines

    def _write_i2cctl(self, name: str, index: int, value: int) -> None:
        self._file.poke(name, index, value & (I2C_CLK_OUT | I2C_DATA_OUT))
        if self._module:
            self._module.drive(bool(value & I2C_CLK_OUT), bool(value & I2C_DATA_OUT))

    def reset(self) -> None:
        """After the registers were reset."""
        if self._module:
            self._module.reset()

    def _read_frtimer(self, name: str, index: int) -> int:
        return self._clock_ns() // 1000

    def _write_msca(self, name: str, index: int, value: int) -> None:
        """A cycle of clause 45 is done at once; absent PHYs read as all ones."""
        if value & MSCA_COMMAND:
            found = self._phy if value >> 21 & 0x1F == ADDRESS else None
            operation, device = value >> 26 & 3, value >> 16 & 0x1F
            if operation == MSCA_ADDRESS and found:
                found.set_address(value & 0xFFFF)
            elif operation == MSCA_WRITE and found:
                found.write(device, self._file.peek("MSRWD") & 0xFFFF)
            elif operation in MSCA_READS:
                data = found.read(device) if found else ABSENT
                self._file.poke("MSRWD", 0, data << 16 | self._file.peek("MSRWD") & 0xFFFF)
        self._file.poke(name, index, value & ~MSCA_COMMAND)
