"""The semaphores between the users of a device: other software, and on the X540 and X550 the firmware too.

SWSM.SMBI (datasheet 10.5.4) is taken by reading a 0. On the X540 and X550 it guards, with
SW_FW_SYNC.REGSMP that is taken in the same way, the bits of SW_FW_SYNC, and each of
those bits a part of the device (as Linux does it).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.register import Field, Mode, Register, one
from ixyfwd.nic.ixgbe.registers import STATUS

SMBI_TIMEOUT_S: Final = 0.1
REGSMP_TIMEOUT_S: Final = 0.1
PHY_TIMEOUT_S: Final = 5.0  # firmware that updates an X550's PHY has it for seconds

_BETWEEN_LOOKS_S: Final = 5e-3


# Neither is in `registers`, since a read of one takes it. Mode RC: so a dump leaves them alone.
class SWSM(Register, at=one(0x10140), mode=Mode.RC, section="8.2.3.4.1"):
    SMBI = Field(0)
    SWESMBI = Field(1)


class SW_FW_SYNC(Register, at=one(0x10160), mode=Mode.RC, section="8.2.3.4.3"):
    SW_PHY0 = Field(1)
    SW_PHY1 = Field(2)
    FW_PHY0 = Field(6)
    FW_PHY1 = Field(7)
    REGSMP = Field(31)  # X540, X550


_PHYS: Final = ((SW_FW_SYNC.SW_PHY0, SW_FW_SYNC.FW_PHY0), (SW_FW_SYNC.SW_PHY1, SW_FW_SYNC.FW_PHY1))


@contextmanager
def software_semaphore(regs: Registers, doing: str) -> Iterator[None]:
    """Hold SMBI (datasheet 10.5.4) while `doing` what other software must not disturb. Raises DeviceTimeoutError.

    A reset leaves SMBI alone, so a holder that died would lock the device for good:
    after the first timeout the semaphore is released for the holder, and only if it
    stays taken that is an error.
    """
    if not regs.settles(SWSM, SWSM.SMBI(0), timeout_s=SMBI_TIMEOUT_S):
        regs.write(SWSM, 0)
        regs.wait(SWSM, SWSM.SMBI(0), timeout_s=SMBI_TIMEOUT_S, doing=doing)
    try:
        yield
    finally:
        regs.write(SWSM, 0)


@contextmanager
def phy_semaphore(regs: Registers, doing: str, timeout_s: float = PHY_TIMEOUT_S) -> Iterator[None]:
    """Hold this port's PHY (X540, X550) while `doing` what firmware and other software must not disturb.

    A reset is such a thing. A holder that keeps the PHY for longer than `timeout_s`
    is taken to be dead, as in Linux, and the PHY is taken over. Raises
    DeviceTimeoutError if the semaphore register itself cannot be taken.
    """
    ours, firmware = _PHYS[STATUS.LAN_ID.of(regs.read(STATUS)) & 1]
    deadline = regs.clock.now() + timeout_s
    late = False

    def may_take(word: int) -> bool:
        return late or not word & (ours.mask | firmware.mask)

    while not may_take(_exchange(regs, doing, lambda word: word | ours.mask if may_take(word) else word)):
        late = regs.clock.now() >= deadline
        regs.clock.sleep(_BETWEEN_LOOKS_S)
    try:
        yield
    finally:
        _exchange(regs, doing, lambda word: word & ~ours.mask)


def _exchange(regs: Registers, doing: str, change: Callable[[int], int]) -> int:
    """Change SW_FW_SYNC with both of its locks held; returns its old value. The write releases REGSMP."""
    with software_semaphore(regs, doing):
        if not regs.settles(SW_FW_SYNC, SW_FW_SYNC.REGSMP(0), timeout_s=REGSMP_TIMEOUT_S):
            regs.write(SW_FW_SYNC, regs.read(SW_FW_SYNC) & ~SW_FW_SYNC.REGSMP.mask)  # its holder died
            regs.wait(SW_FW_SYNC, SW_FW_SYNC.REGSMP(0), timeout_s=REGSMP_TIMEOUT_S, doing=doing)
        word = regs.read(SW_FW_SYNC) & ~SW_FW_SYNC.REGSMP.mask
        regs.write(SW_FW_SYNC, change(word))
    return word
