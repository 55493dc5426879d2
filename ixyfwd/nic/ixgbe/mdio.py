"""The PHY inside an X540 or X550 over MDIO (8.2.3.22.11; IEEE 802.3 clause 45)."""

from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.register import Field, Mode, Register, one

CYCLE_TIMEOUT_S: Final = 0.1
PHYS: Final = 32
PMA: Final = 1
NEGOTIATION: Final = 7
VENDOR: Final = 0x1E

_ID_HIGH, _ID_LOW = 2, 3
_ABSENT: Final = (0, 0xFFFF)
_ADDRESS, _WRITE, _READ = 0, 1, 3  # MSCA.OPERATION


class MSCA(Register, at=one(0x0425C), mode=Mode.SC, section="8.2.3.22.11"):
    REGISTER = Field(15, 0)
    DEVICE = Field(20, 16)
    PHY = Field(25, 21)
    OPERATION = Field(27, 26)
    COMMAND = Field(30)


class MSRWD(Register, at=one(0x04260), section="8.2.3.22.12"):
    WRITE_DATA = Field(15, 0)
    READ_DATA = Field(31, 16)


class Mdio:
    """The PHYs of one port, whose semaphore the caller holds. Methods raise DeviceTimeoutError, which names `doing`."""

    def __init__(self, regs: Registers, doing: str = "reading the PHY") -> None:
        self._regs = regs
        self._doing = doing

    def find(self) -> int | None:
        """The address of the first PHY that answers; None if none does."""
        return next((phy for phy in range(PHYS) if self.read(phy, PMA, _ID_HIGH) not in _ABSENT), None)

    def identity(self, phy: int) -> int:
        """The id of a PHY, 32 bits."""
        return self.read(phy, PMA, _ID_HIGH) << 16 | self.read(phy, PMA, _ID_LOW)

    def read(self, phy: int, device: int, register: int) -> int:
        """A register of a PHY's device type; all ones where there is no such PHY."""
        self._cycle(phy, device, _ADDRESS, register)
        self._cycle(phy, device, _READ, register)
        return MSRWD.READ_DATA.of(self._regs.read(MSRWD))

    def write(self, phy: int, device: int, register: int, value: int) -> None:
        """Write a register of a PHY's device type."""
        self._regs.write(MSRWD, MSRWD.WRITE_DATA(value))
        self._cycle(phy, device, _ADDRESS, register)
        self._cycle(phy, device, _WRITE, register)

    def _cycle(self, phy: int, device: int, operation: int, register: int) -> None:
        """One cycle, which the device reports as done by clearing the command."""
        settings = MSCA.REGISTER(register), MSCA.DEVICE(device), MSCA.PHY(phy), MSCA.OPERATION(operation)
        self._regs.write(MSCA, *settings, MSCA.COMMAND(1))
        self._regs.wait(MSCA, MSCA.COMMAND(0), timeout_s=CYCLE_TIMEOUT_S, doing=self._doing)
