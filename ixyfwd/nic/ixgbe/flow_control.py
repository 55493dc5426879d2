"""Flow control (3.7.7, 4.6.3.2): asking the link partner to pause, and pausing when it asks."""

from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.register import Field, Register, array, one
from ixyfwd.nic.options import STANDARD_FRAME_BYTES, FlowControl

PAUSE_QUANTA: Final = 0xFFFF  # of 512 bit times: 3.4 ms at 10 Gb/s; an XON ends it sooner

# Room above the threshold for the data under way when a pause is asked for, in cables, PHYs and the partner's MAC.
# 24 KiB are also enough for the X540, whose PHY adds the most (Linux: IXGBE_DV_X540).
_HEADROOM_BYTES: Final = 0x6000  # 4.6.3.2
# Data for the host until the partner's first frame after an XON arrives (Linux: IXGBE_LOW_DV).
_LOW_WATER_BYTES: Final = 10 * 1024
# Both hold for standard frames. Of a longer one, several times its length may be under way: one that has begun at
# either end, and the one that the pause frame waits for.
_FRAMES_UNDER_WAY: Final = 4
_THRESHOLD_BYTES: Final = 32  # the unit of FCRTL and FCRTH
_LINK_PAUSE: Final = 1  # FCCFG.TFCE: 802.3x, the whole link; 2 would be by priority


class FCTTV(Register, at=array(0x03200, 4), section="8.2.3.3.2"):
    TTV_EVEN = Field(15, 0)  # of traffic class 2n, and without DCB of the link
    TTV_ODD = Field(31, 16)


class FCRTL(Register, at=array(0x03220, 8), section="8.2.3.3.3"):
    RTL = Field(18, 5)
    XONE = Field(31)


class FCRTH(Register, at=array(0x03260, 8), section="8.2.3.3.4"):
    RTH = Field(18, 5)
    FCEN = Field(31)


class FCRTV(Register, at=one(0x032A0), section="8.2.3.3.5"):
    FC_REFRESH_TH = Field(15, 0)


class FCCFG(Register, at=one(0x03D00), section="8.2.3.3.7"):
    TFCE = Field(4, 3)


class MFLCN(Register, at=one(0x04294), section="8.2.3.22.34"):
    DPF = Field(1)
    RPFCE = Field(2)
    RFCE = Field(3)


def set_flow_control(regs: Registers, wanted: FlowControl, packet_buffer_kib: int, max_frame_bytes: int) -> None:
    """Program thresholds and timers of the one packet buffer, then the two switches (4.6.3.2, 4.6.11.3.4)."""
    quanta = PAUSE_QUANTA if wanted.asks else 0
    for n in range(FCTTV.count):
        regs.write(FCTTV[n], FCTTV.TTV_EVEN(quanta), FCTTV.TTV_ODD(quanta))
    # A pause is renewed at half its time while the buffer stays full.
    regs.write(FCRTV, FCRTV.FC_REFRESH_TH(quanta // 2))
    longer = _FRAMES_UNDER_WAY * max(0, max_frame_bytes - STANDARD_FRAME_BYTES)
    low = (_LOW_WATER_BYTES + longer) // _THRESHOLD_BYTES if wanted.asks else 0
    regs.write(FCRTL[0], FCRTL.RTL(low), FCRTL.XONE(wanted.asks))
    # The upper threshold must be valid even without flow control: it also stops the internal tx-to-rx switch.
    high = (packet_buffer_kib * 1024 - _HEADROOM_BYTES - longer) // _THRESHOLD_BYTES
    regs.write(FCRTH[0], FCRTH.RTH(high), FCRTH.FCEN(wanted.asks))
    for n in range(1, FCRTH.count):
        regs.write(FCRTL[n], 0)
        regs.write(FCRTH[n], 0)
    regs.write(FCCFG, FCCFG.TFCE(_LINK_PAUSE if wanted.asks else 0))
    # DPF: a pause frame that is heeded ends in the MAC. It is for this link alone and must never be forwarded; one that
    # is not heeded (RFCE 0) is to the reserved address 01:80:c2:00:00:01 and the filters decide.
    regs.write(MFLCN, MFLCN.RFCE(wanted.heeds), MFLCN.RPFCE(0), MFLCN.DPF(1))
