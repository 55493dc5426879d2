"""What a toy can do at most."""

from typing import Final

from ixyfwd.nic.toy.descriptors import ENTRY_BYTES, EXTRA_BYTES

from ixyfwd.memory.layout import RingFormat
from ixyfwd.nic.limits import Limits

LIMITS: Final = Limits(
    family="toy",
    queues=4,
    reta_sizes=(128,),
    ring_sizes=(64, 128, 256, 512, 1024, 2048, 4096),
    max_frame_bytes=1518,
    mac_filters=0,
    interrupt_interval_us=0,
    buffer_bytes=2048,
    ring=RingFormat(ENTRY_BYTES, EXTRA_BYTES, align_bytes=64),
    schemes=("toy:",),
)
