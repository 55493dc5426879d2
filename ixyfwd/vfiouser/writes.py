"""REGION_WRITE_MULTI: several writes in one message, a command of servers that offer `write_multiple`."""

import struct
from collections.abc import Sequence

from ixyfwd.vfiouser.protocol import Access, ProtocolError, unpack_fields

_WRITE_ONE = struct.Struct("=QII8s")
_COUNT = struct.Struct("=Q")


def pack_writes(writes: Sequence[Access]) -> bytes:
    """The payload of REGION_WRITE_MULTI; each write has 8 bytes at most."""
    many = (_WRITE_ONE.pack(w.offset, w.region, w.count, w.data) for w in writes)
    return _COUNT.pack(len(writes)) + b"".join(many)


def unpack_writes(payload: bytes) -> list[Access]:
    """The writes of a REGION_WRITE_MULTI. Raises ProtocolError if they are cut off or longer than 8 bytes."""
    (count,) = unpack_fields(_COUNT, payload, "a multiple write")
    if _COUNT.size + count * _WRITE_ONE.size > len(payload):
        raise ProtocolError(f"a multiple write announces {count} writes, but has only {len(payload)} bytes")
    writes = []
    for at in range(_COUNT.size, _COUNT.size + count * _WRITE_ONE.size, _WRITE_ONE.size):
        offset, region, size, data = _WRITE_ONE.unpack_from(payload, at)
        if size > 8:
            raise ProtocolError(f"a write of {size} bytes is part of a multiple write, expected 8 at most")
        writes.append(Access(region, offset, size, data[:size]))
    return writes


def pack_count(count: int) -> bytes:
    """The payload of a reply to REGION_WRITE_MULTI: how many writes were carried out."""
    return _COUNT.pack(count)


def unpack_count(payload: bytes) -> int:
    """The number of writes that were carried out. Raises ProtocolError if the payload is too short."""
    return unpack_fields(_COUNT, payload, "a count")[0]
