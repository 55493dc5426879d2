"""The limits of a family's ports, and the widest ones over all families.

A narrow module: it imports no driver, so that the configuration can be checked without
one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from ixyfwd.memory.layout import RingFormat
from ixyfwd.nic.discover import members


@dataclass(frozen=True)
class Limits:
    """The limits of one family. Each family has a module `limits` with its `LIMITS`.

    queues: queue pairs per port, and so workers. reta_sizes: entries that its RSS
    redirection tables can have. ring_sizes: descriptors per ring that the device and
    the family's bursts both accept. max_frame_bytes: longest frame, with CRC and
    without VLAN tags. mac_filters: addresses besides a port's own.
    interrupt_interval_us: longest time between two interrupts of a queue. buffer_bytes:
    size of a receive buffer. ring: the memory that a ring takes. schemes: prefixes of
    device addresses of its own ("xdp:"), if its ports are not PCI functions.
    fused_loop: whether its rings have a fused loop between ports of the family.
    generator: whether its rings have a generator.
    """

    family: str
    queues: int
    reta_sizes: tuple[int, ...]
    ring_sizes: tuple[int, ...]
    max_frame_bytes: int
    mac_filters: int
    interrupt_interval_us: int
    buffer_bytes: int
    ring: RingFormat
    schemes: tuple[str, ...] = ()
    fused_loop: bool = False
    generator: bool = False


@cache
def widest() -> Limits:
    """The widest limits: a configuration is held to them before the family of each port is known."""
    return widest_of([module.LIMITS for module in members("limits")])


def widest_of(families: Sequence[Limits]) -> Limits:
    """The widest of each limit over `families`; for rings, memory and alignment that fit all of them."""
    rings = [limits.ring for limits in families]
    return Limits(
        family="any",
        queues=max(limits.queues for limits in families),
        reta_sizes=_union(limits.reta_sizes for limits in families),
        ring_sizes=_union(limits.ring_sizes for limits in families),
        max_frame_bytes=max(limits.max_frame_bytes for limits in families),
        mac_filters=max(limits.mac_filters for limits in families),
        interrupt_interval_us=max(limits.interrupt_interval_us for limits in families),
        buffer_bytes=max(limits.buffer_bytes for limits in families),
        ring=RingFormat(
            entry_bytes=max(ring.entry_bytes for ring in rings),
            extra_bytes=max(ring.extra_bytes for ring in rings),
            align_bytes=max(ring.align_bytes for ring in rings),
        ),
        schemes=tuple(scheme for limits in families for scheme in limits.schemes),
        fused_loop=any(limits.fused_loop for limits in families),
        generator=any(limits.generator for limits in families),
    )


def _union(sizes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted({size for some in sizes for size in some}))
