"""Frames and their descriptors: sizes, and how many lie in a ring, for whoever counts what a stopped port has there."""

import struct
from collections.abc import Iterable
from typing import Final

STANDARD_FRAME_BYTES: Final = 1518  # with CRC, without VLAN tags
DESCRIPTOR_BYTES: Final = 16

_RX_DD: Final = 1 << 0  # 7.1.6.2, d2
_RX_EOP: Final = 1 << 1
_TX_EOP: Final = 1 << 24  # 7.2.3.2.4, d2


def received_frames(ring: memoryview, slots: Iterable[int]) -> int | None:
    """Frames that end in these receive descriptors; None if one of them is not written back. `ring` as bytes."""
    found = [_dword2(ring, slot) for slot in slots]
    return sum(bool(d2 & _RX_EOP) for d2 in found) if all(d2 & _RX_DD for d2 in found) else None


def queued_frames(ring: memoryview, slots: Iterable[int]) -> int:
    """Frames that end in these transmit descriptors, which the device has not sent yet. `ring` as bytes."""
    return sum(bool(_dword2(ring, slot) & _TX_EOP) for slot in slots)


def _dword2(ring: memoryview, slot: int) -> int:
    value: int = struct.unpack_from("<I", ring, DESCRIPTOR_BYTES * slot + 8)[0]
    return value
