"""Counts of the frames in a ring that a stopped port left."""

import struct
from collections.abc import Iterable

from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES, RX_DD, RX_EOP, TX_EOP


def slots_between(first: int, end: int, entries: int) -> list[int]:
    """The slots of a ring of `entries` from `first` to before `end`."""
    return [(first + i) % entries for i in range((end - first) % entries)]


def received_frames(ring: memoryview, slots: Iterable[int]) -> int | None:
    """Frames that end in these receive descriptors; None if one of them is not written back. `ring`: uint8[n]."""
    found = [_dword2(ring, slot) for slot in slots]
    return sum(bool(d2 & RX_EOP) for d2 in found) if all(d2 & RX_DD for d2 in found) else None


def queued_frames(ring: memoryview, slots: Iterable[int]) -> int:
    """Frames that end in these transmit descriptors, which the device has not sent yet. `ring`: uint8[n]."""
    return sum(bool(_dword2(ring, slot) & TX_EOP) for slot in slots)


def _dword2(ring: memoryview, slot: int) -> int:
    value: int = struct.unpack_from("<I", ring, DESCRIPTOR_BYTES * slot + 8)[0]
    return value
