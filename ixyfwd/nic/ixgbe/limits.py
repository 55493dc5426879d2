"""The limits of the 82599, X540 and X550."""

from typing import Final

from ixyfwd.memory.layout import RingFormat
from ixyfwd.nic.limits import Limits

LIMITS: Final = Limits(
    family="ixgbe",
    queues=16,  # 7.1.2.8.1: an RSS index is 4 bits wide
    reta_sizes=(128, 512),  # the X550 has the larger one
    ring_sizes=(64, 128, 256, 512, 1024, 2048, 4096),
    max_frame_bytes=9728,  # what the 82599 is specified for (1.3)
    mac_filters=127,  # 7.1.1.1: 128 exact addresses, the first is the port's own
    interrupt_interval_us=1022,  # 8.2.3.5.12: 9 bits of 2 us
    buffer_bytes=2048,  # SRRCTL.BSIZEPACKET
    ring=RingFormat(entry_bytes=16, align_bytes=128),  # 8.2.3.8.1: RDBAL bits 6:0 read as zero
    fused_loop=True,
    generator=True,
)
