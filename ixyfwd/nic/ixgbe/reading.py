"""Access for a report: reading, and of writes only those by which NVM, PHY and module are read, under their locks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ixyfwd.errors import DeviceTimeoutError
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.ids import DeviceId, Media
from ixyfwd.nic.ixgbe.register import Setting, Where, locate
from ixyfwd.nic.ixgbe.registers import STATUS
from ixyfwd.nic.ixgbe.semaphore import REGSMP_TIMEOUT_S, SMBI_TIMEOUT_S, SW_FW_SYNC, SWSM

# Bits of SW_FW_SYNC (8.2.3.4.3): software's, and the firmware's five places above them.
EEPROM: Final = 1 << 0
PHYS: Final = (1 << 1, 1 << 2)
MANAGEMENT: Final = 1 << 10
_FIRMWARE_SHIFT: Final = 5
_WITH_FIRMWARE: Final = 0x1F

WRITTEN: Final = frozenset({"SWSM", "SW_FW_SYNC", "EERD", "MSCA", "I2CCTL", "FLEX_MNG", "HICR", "FWSTS"})
"""The registers that a report writes, and no other: the windows behind which NVM, PHY and module are."""


class ReadingRegisters(Registers):
    """The registers of a function that no run drives. See `access.Registers`; writes are limited to WRITTEN."""

    def write(self, where: Where, *parts: int | Setting) -> None:
        """Write a window. Raises ValueError for any other register: a report changes none."""
        if locate(where).register not in WRITTEN:
            raise ValueError(f"{self.label}: a report must not write {locate(where).name}")
        super().write(where, *parts)

    def update(self, where: Where, *settings: Setting) -> None:
        """Raise ValueError: a report changes no register."""
        raise ValueError(f"{self.label}: a report must not change {locate(where).name}")


def phy_bit(regs: Registers) -> int:
    """The bit of SW_FW_SYNC for this port's PHY or module."""
    return PHYS[STATUS.LAN_ID.of(regs.read(STATUS)) & 1]


@contextmanager
def borrowed(regs: Registers, device: DeviceId, bits: int, doing: str) -> Iterator[None]:
    """Hold `bits` of SW_FW_SYNC while `doing` something.

    Bring-up takes a semaphore over from a holder that is dead; a report leaves it with
    its holder, which may be alive at the other port of the card. Raises
    DeviceTimeoutError.
    """
    with _registers_held(regs, device, doing):
        word = regs.read(SW_FW_SYNC) & ~SW_FW_SYNC.REGSMP.mask
        taken = word & (bits | (bits & _WITH_FIRMWARE) << _FIRMWARE_SHIFT)
        regs.write(SW_FW_SYNC, word if taken else word | bits)
    if taken:
        raise DeviceTimeoutError(
            f"{regs.label}: SW_FW_SYNC reads {word:#010x}: {taken:#x} is held by other software or by the firmware, "
            f"so {doing} is left out"
        )
    try:
        yield
    finally:
        with _registers_held(regs, device, doing):
            regs.write(SW_FW_SYNC, regs.read(SW_FW_SYNC) & ~SW_FW_SYNC.REGSMP.mask & ~bits)


@contextmanager
def _registers_held(regs: Registers, device: DeviceId, doing: str) -> Iterator[None]:
    """Hold the two locks of SW_FW_SYNC: SWSM.SMBI against software, and SWESMBI (82599, 10.5.4) or REGSMP (X540, X550)
    against the firmware."""
    regs.wait(SWSM, SWSM.SMBI(0), timeout_s=SMBI_TIMEOUT_S, doing=doing)
    try:
        if device.media is Media.COPPER:
            regs.wait(SW_FW_SYNC, SW_FW_SYNC.REGSMP(0), timeout_s=REGSMP_TIMEOUT_S, doing=doing)
        else:
            regs.write(SWSM, SWSM.SMBI(1), SWSM.SWESMBI(1))
            regs.wait(SWSM, SWSM.SWESMBI(1), timeout_s=SMBI_TIMEOUT_S, doing=doing)
        yield
    finally:
        regs.write(SWSM, 0)
