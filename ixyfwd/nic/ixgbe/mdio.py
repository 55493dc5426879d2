"""Reading the PHY inside an X540 or X550 over MDIO (8.2.3.22.11; IEEE 802.3 clause 45)."""

from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.phy import MSCA, MSRWD

CYCLE_TIMEOUT_S: Final = 0.1
PHYS: Final = 32
PMA: Final = 1
NEGOTIATION: Final = 7
VENDOR: Final = 0x1E

_ID_HIGH, _ID_LOW = 2, 3
_ABSENT: Final = (0, 0xFFFF)
_ADDRESS, _READ = 0, 3


class PhyReader:
    """The PHYs of one port, whose semaphore the caller holds. Methods raise DeviceTimeoutError."""

    def __init__(self, regs: Registers) -> None:
        self._regs = regs

    def find(self) -> tuple[int, int] | None:
        """The address and the id of the first PHY that answers; None if none does."""
        for phy in range(PHYS):
            high = self.read(phy, PMA, _ID_HIGH)
            if high not in _ABSENT:
                return phy, high << 16 | self.read(phy, PMA, _ID_LOW)
        return None

    def read(self, phy: int, device: int, register: int) -> int:
        """A register of a PHY's device type."""
        for operation in (_ADDRESS, _READ):
            settings = MSCA.REGISTER(register), MSCA.DEVICE(device), MSCA.PHY(phy), MSCA.OPERATION(operation)
            self._regs.write(MSCA, *settings, MSCA.COMMAND(1))
            self._regs.wait(MSCA, MSCA.COMMAND(0), timeout_s=CYCLE_TIMEOUT_S, doing="reading the PHY")
        return MSRWD.READ_DATA.of(self._regs.read(MSRWD))
