"""The PHY inside an X540 or X550: its registers over MDIO (IEEE 802.3 clause 45), and its power."""

from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.register import Field, Mode, Register, one
from ixyfwd.nic.ixgbe.semaphore import phy_semaphore

MDIO_TIMEOUT_S: Final = 0.1
AFTER_RESET_TIMEOUT_S: Final = 1.0  # the reset has waited already for firmware that is at work

_PHYS: Final = 32
_PMA: Final = 1  # MDIO device type, whose register 2 has the upper half of the PHY's id
_ID_HIGH: Final = 2
_NO_PHY: Final = (0, 0xFFFF)
_VENDOR_SPECIFIC_1: Final = 0x1E
_CONTROL: Final = 0
_LOW_POWER: Final = 1 << 11  # Linux: IXGBE_MDIO_PHY_SET_LOW_POWER_MODE
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


def power_up(regs: Registers) -> bool:
    """Take the PHY out of low power, in which it has no link; returns whether it was in it.

    Linux's ixgbe puts it there when an interface is closed, and no reset of the port
    ends it (Linux 3c2f2b77a917). Raises DeviceTimeoutError.
    """
    doing = "switching the PHY on"
    mdio = _Mdio(regs, doing)
    with phy_semaphore(regs, doing, AFTER_RESET_TIMEOUT_S):
        phy = next((at for at in range(_PHYS) if mdio.read(at, _PMA, _ID_HIGH) not in _NO_PHY), None)
        if phy is None:
            return False
        control = mdio.read(phy, _VENDOR_SPECIFIC_1, _CONTROL)
        if not control & _LOW_POWER:
            return False
        mdio.write(phy, _VENDOR_SPECIFIC_1, _CONTROL, control & ~_LOW_POWER)
    return True


class _Mdio:
    """The management bus of PHYs, used while `doing` something, which stands in errors."""

    def __init__(self, regs: Registers, doing: str) -> None:
        self._regs = regs
        self._doing = doing

    def read(self, phy: int, device: int, register: int) -> int:
        """A register of a PHY's device type; all ones where there is no such PHY. Raises DeviceTimeoutError."""
        self._cycle(phy, device, _ADDRESS, register)
        self._cycle(phy, device, _READ, register)
        return MSRWD.READ_DATA.of(self._regs.read(MSRWD))

    def write(self, phy: int, device: int, register: int, value: int) -> None:
        """Write such a register. Raises DeviceTimeoutError."""
        self._regs.write(MSRWD, MSRWD.WRITE_DATA(value))
        self._cycle(phy, device, _ADDRESS, register)
        self._cycle(phy, device, _WRITE, register)

    def _cycle(self, phy: int, device: int, operation: int, register: int) -> None:
        """One cycle, which the device reports as done by clearing the command."""
        settings = MSCA.REGISTER(register), MSCA.DEVICE(device), MSCA.PHY(phy), MSCA.OPERATION(operation)
        self._regs.write(MSCA, *settings, MSCA.COMMAND(1))
        self._regs.wait(MSCA, MSCA.COMMAND(0), timeout_s=MDIO_TIMEOUT_S, doing=self._doing)
