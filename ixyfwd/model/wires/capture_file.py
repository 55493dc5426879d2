"""Capture files: pcap and pcapng as the IETF drafts of the same names (draft-ietf-opsawg) describe them."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ixyfwd.errors import UsageError
from ixyfwd.model.wires.capture_blocks import MAGIC as PCAPNG_MAGIC
from ixyfwd.model.wires.capture_blocks import Sections
from ixyfwd.model.wires.capture_bytes import DamageError, Record, read_bytes

LINKTYPE_ETHERNET: Final = 1
LATEST_NS: Final = 2**53  # 104 days, so that picoseconds fit 64 bits
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_HEADER_BYTES: Final = 24
_US_NS: Final = 1000


class _Pcap(NamedTuple):
    """Of a pcap file: byte order, ns in a unit of the fraction, bytes of a record's header."""

    order: str
    unit_ns: int
    header_bytes: int


# By the first four bytes, whose order is that of all numbers.
_KINDS: Final = {
    bytes.fromhex(text): _Pcap(order, unit_ns, header_bytes)
    for text, order, unit_ns, header_bytes in (
        ("a1b2c3d4", ">", _US_NS, 16),
        ("d4c3b2a1", "<", _US_NS, 16),
        ("a1b23c4d", ">", 1, 16),
        ("4d3cb2a1", "<", 1, 16),
        ("a1b2cd34", ">", _US_NS, 24),  # A. Kuznetzov's libpcap
        ("34cdb2a1", "<", _US_NS, 24),
    )
}


@dataclass(frozen=True)
class Capture:
    """The frames of a capture file.

    `data`: the whole file; per frame its offset there and its length in bytes, and nanoseconds since the first frame
    (0 for one from before it, `LATEST_NS` at most).
    """

    data: bytes
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    times_ns: tuple[int, ...]


def read_capture(path: str) -> Capture:
    """Read a pcap or pcapng file.

    Raises UsageError: no such file, not a capture, not Ethernet, damaged, cut off, no frames.
    """
    data = read_bytes(path)
    try:
        records = list(_records(data))
    except DamageError as damage:
        raise UsageError(f"{path}: {damage}") from None
    if not records:
        raise UsageError(f"{path}: the capture file has no frames")
    return Capture(
        data,
        tuple(record.at for record in records),
        tuple(record.length for record in records),
        tuple(_times_ns(records)),
    )


def _times_ns(records: Sequence[Record]) -> Iterator[int]:
    """Since the first frame that has a time. One without is given that of the frame before it."""
    first_ns = next((record.time_ns for record in records if record.time_ns is not None), 0)
    since_ns = 0
    for record in records:
        if record.time_ns is not None:
            since_ns = min(max(0, record.time_ns - first_ns), LATEST_NS)
        yield since_ns


def _records(data: bytes) -> Iterator[Record]:
    if data.startswith(PCAPNG_MAGIC):
        records = Sections(data).records()
    elif data[:4] in _KINDS:
        records = _pcap_records(data, _KINDS[data[:4]])
    elif data.startswith((_GZIP_MAGIC, _ZSTD_MAGIC)):
        raise DamageError("a compressed file; expected pcap or pcapng (decompress it first)")
    else:
        raise DamageError("not a capture file; expected pcap or pcapng")
    for number, record in enumerate(records, 1):
        if record.link_type != LINKTYPE_ETHERNET:
            where = f"record {number} at byte {record.starts}{record.interface and f' is of {record.interface} and'}"
            raise DamageError(f"{where} has link type {record.link_type}; expected Ethernet ({LINKTYPE_ETHERNET})")
        if record.length < record.original:
            found = f"has only {record.length} of its frame's {record.original} bytes"
            raise DamageError(f"record {number} at byte {record.starts} {found}; capture whole frames")
        yield record


def _pcap_records(data: bytes, kind: _Pcap) -> Iterator[Record]:
    if len(data) < _HEADER_BYTES:
        raise DamageError("not a capture file; expected pcap or pcapng")
    major, network = struct.unpack_from(f"{kind.order}H14xI", data, 4)
    if major != 2:
        raise DamageError(f"pcap of version {major}; expected version 2")
    # The upper bits say whether frames end with their check sequence, and of how many 16-bit words.
    crc_bytes = 2 * (network >> 28) if network & 1 << 26 else 0
    header = struct.Struct(f"{kind.order}IIII")
    at, number = _HEADER_BYTES, 0
    while at < len(data):
        number += 1
        frame_at = at + kind.header_bytes
        if frame_at > len(data):
            raise DamageError(f"record {number} at byte {at} is cut off by the end of the file")
        seconds, fraction, length, original = header.unpack_from(data, at)
        if frame_at + length > len(data):
            raise DamageError(f"record {number} at byte {at} is cut off by the end of the file")
        time_ns = seconds * 10**9 + fraction * kind.unit_ns
        yield Record(at, frame_at, length, original, time_ns, network & 0xFFFF).without_crc(crc_bytes)
        at = frame_at + length
