"""Routes, from the tables that the kernel shows in /proc/net."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ixyfwd.host.kernel import Kernel

# Flags of linux/route.h and linux/ipv6_route.h.
_UP: Final = 0x0001
_REJECT: Final = 0x0200
_ANYCAST: Final = 0x0010_0000
_LOCAL: Final = 0x8000_0000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Route:
    """A route through an interface."""

    interface: str
    network: Network

    @property
    def is_default(self) -> bool:
        """Whether it is a default route: its network holds all addresses."""
        return self.network.prefixlen == 0


def routes(kernel: Kernel) -> tuple[Route, ...]:
    """Routes that were set up, without those of each interface that is up (IPv6 link-local, multicast).

    Of IPv4 the main table, of IPv6 all. Lines that cannot be understood are passed over.
    """
    return (*_ipv4(kernel.text("/proc/net/route")), *_ipv6(kernel.text("/proc/net/ipv6_route")))


def _ipv4(text: str) -> Iterator[Route]:
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            name, flags = fields[0], int(fields[3], 16)
            # The kernel prints the words as they are in memory: network byte order read on a little-endian machine.
            to, mask = (int.from_bytes(bytes.fromhex(fields[i])[::-1], "big") for i in (1, 7))
            network = ipaddress.IPv4Network((to, mask.bit_count()))
        except (ValueError, IndexError):
            continue
        if flags & _UP and not flags & _REJECT:
            yield Route(name, network)


def _ipv6(text: str) -> Iterator[Route]:
    for line in text.splitlines():
        fields = line.split()
        try:
            network = ipaddress.IPv6Network((int(fields[0], 16), int(fields[1], 16)))
            name, flags = fields[9], int(fields[8], 16)
        except (ValueError, IndexError):
            continue
        ordinary = flags & _UP and not flags & (_REJECT | _LOCAL | _ANYCAST) and name != "lo"
        if ordinary and not network.is_link_local and not network.is_multicast:
            yield Route(name, network)
