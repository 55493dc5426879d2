"""The semaphore between the device's software users (datasheet 10.5.4): SWSM.SMBI, taken by reading a 0."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ixyfwd.driver.access import Registers
from ixyfwd.driver.register import Field, Mode, Register, one

SMBI_TIMEOUT_S: Final = 0.1


# Not in `registers`: what reads this register must mean it. RC, so that a dump leaves it alone.
class SWSM(Register, at=one(0x10140), mode=Mode.RC, section="8.2.3.4.1"):
    SMBI = Field(0)


@contextmanager
def software_semaphore(regs: Registers, doing: str) -> Iterator[None]:
    """Hold SMBI while `doing` what other software must not disturb. Raises DeviceTimeoutError.

    A reset leaves SMBI alone, so a holder that died would lock the device for good: after the first timeout it is
    released on the holder's behalf, and only a device that holds on to it even so is an error.
    """
    if not regs.settles(SWSM, SWSM.SMBI(0), timeout_s=SMBI_TIMEOUT_S):
        regs.write(SWSM, 0)
        regs.wait(SWSM, SWSM.SMBI(0), timeout_s=SMBI_TIMEOUT_S, doing=doing)
    try:
        yield
    finally:
        regs.write(SWSM, 0)
