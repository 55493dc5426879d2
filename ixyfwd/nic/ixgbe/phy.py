"""The power of the PHY inside an X540 or X550."""

from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.mdio import VENDOR, Mdio
from ixyfwd.nic.ixgbe.semaphore import phy_semaphore

AFTER_RESET_TIMEOUT_S: Final = 1.0  # the reset has waited already for firmware that is at work

CONTROL: Final = 0  # of device type VENDOR
LOW_POWER: Final = 1 << 11  # Linux: IXGBE_MDIO_PHY_SET_LOW_POWER_MODE


def power_up(regs: Registers) -> bool:
    """Take the PHY out of low power, in which it has no link; returns whether it was in it.

    Linux's ixgbe puts it there when an interface is closed, and no reset of the port
    ends it (Linux 3c2f2b77a917). Raises DeviceTimeoutError.
    """
    doing = "switching the PHY on"
    mdio = Mdio(regs, doing)
    with phy_semaphore(regs, doing, AFTER_RESET_TIMEOUT_S):
        phy = mdio.find()
        if phy is None:
            return False
        control = mdio.read(phy, VENDOR, CONTROL)
        if not control & LOW_POWER:
            return False
        mdio.write(phy, VENDOR, CONTROL, control & ~LOW_POWER)
    return True
