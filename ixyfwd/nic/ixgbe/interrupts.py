"""Receive interrupts through MSI-X (7.3, 8.2.3.5) that the interrupted worker need not acknowledge.

Vector i belongs to receive queue i. Its bit in EIMS stays set, EIAC clears its cause
when the message goes out, and no cause is masked automatically: every write-back is
followed by a message, at once or at the end of the vector's EITR interval, and no
register has to be written in between. A worker may write its tails only; EIMS and EICR
are shared by all vectors.
"""

from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.limits import LIMITS
from ixyfwd.nic.ixgbe.register import Field, Mode, Register, array, one

MAX_VECTORS: Final = 16  # as many as EICR and EIAC have bits of; the chip has 64
EITR_UNIT_US: Final = 2  # 8.2.3.5.12, at 1 and 10 Gb/s
MAX_INTERVAL_US: Final = LIMITS.interrupt_interval_us


class EIAC(Register, at=one(0x00810), section="8.2.3.5.5"):
    RTXQ = Field(15, 0)


class EITR(Register, at=array(0x00820, 24), section="8.2.3.5.12"):
    ITR_INTERVAL = Field(11, 3)


class EIMS(Register, at=one(0x00880), mode=Mode.W1S, section="8.2.3.5.3"):
    RTXQ = Field(15, 0)


class GPIE(Register, at=one(0x00898), section="8.2.3.5.18"):
    MULTIPLE_MSIX = Field(4)
    EIAME = Field(30)
    PBA_SUPPORT = Field(31)


class IVAR(Register, at=array(0x00900, 64), section="8.2.3.5.16"):
    """The vectors of two queues: a byte for the receive and one for the transmit cause of each."""

    RX_EVEN = Field(5, 0)
    RX_EVEN_VALID = Field(7)
    RX_ODD = Field(21, 16)
    RX_ODD_VALID = Field(23)


class IVAR_MISC(Register, at=one(0x00A00), section="8.2.3.5.17"):
    pass


def enable_interrupts(regs: Registers, vectors: int, interval_us: int) -> None:
    """Enable vector i for receive queue i, with at most one message of each in `interval_us` microseconds.

    `interval_us` is rounded down to a multiple of 2; 0: no limit. Raises ValueError for
    more than the chip has.
    """
    if not 1 <= vectors <= MAX_VECTORS or not 0 <= interval_us <= MAX_INTERVAL_US:
        raise ValueError(
            f"{regs.label}: found {vectors} vectors with an interval of {interval_us} us, expected 1 to "
            f"{MAX_VECTORS} and 0 to {MAX_INTERVAL_US} us"
        )
    # 7.3.1: the automatic mask (EIAME) would want EIMS written after each message.
    regs.write(GPIE, GPIE.MULTIPLE_MSIX(1), GPIE.PBA_SUPPORT(1), GPIE.EIAME(0))
    regs.write(IVAR_MISC, 0)  # the link and everything else is polled
    for index in range(IVAR.count):
        even, odd = 2 * index, 2 * index + 1
        regs.write(
            IVAR[index],
            *((IVAR.RX_EVEN(even), IVAR.RX_EVEN_VALID(1)) if even < vectors else ()),
            *((IVAR.RX_ODD(odd), IVAR.RX_ODD_VALID(1)) if odd < vectors else ()),
        )
    for vector in range(vectors):
        regs.write(EITR[vector], EITR.ITR_INTERVAL(interval_us // EITR_UNIT_US))
    bits = (1 << vectors) - 1
    regs.write(EIAC, EIAC.RTXQ(bits))
    regs.write(EIMS, EIMS.RTXQ(bits))
