"""Bits of descriptors (7.1.6.2, 7.2.3.2.4). A narrow module for every Python side: it imports no other.

A descriptor is two words of eight bytes, or the dwords d0 to d3. C has these in
`rings/_c`; tests compare. The model keeps constants of its own, so that each judges the
other.
"""

from collections.abc import Mapping
from typing import Final

DESCRIPTOR_BYTES: Final = 16

# Receive, as the device writes it back
RX_DD: Final = 1 << 0  # d2
RX_EOP: Final = 1 << 1  # d2
RX_RXE: Final = 1 << 29  # d2
RSS_TYPES: Final[Mapping[str, int]] = {"tcp4": 1, "ipv4": 2, "tcp6": 3, "ipv6": 5, "udp4": 7, "udp6": 8}
"""The RSS type in d0 bits 3:0, by hash field; 0: not hashed."""

# Transmit, as the driver writes it, and DD as the device writes it back
TX_EOP: Final = 1 << 24  # d2
TX_RS: Final = 1 << 27  # d2
TX_COMMAND: Final = 0x2330_0000  # d2: DEXT, IFCS, EOP, DTYP = 3
TX_PAYLEN_SHIFT: Final = 14  # d3
TX_DD: Final = 1 << 0  # d3

RS_INTERVAL: Final = 32
"""The interval of write-backs, the driver's own choice: a transmit descriptor has RS if its index is 31 modulo 32."""
