"""Capture files read by dpkt, with every complaint as one sentence."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any, BinaryIO

from ixyfwd.errors import UsageError

LINKTYPE_ETHERNET = 1
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
NS_PER_SECOND = 10**9


@dataclass(frozen=True)
class Capture:
    """All frames of a file: `data` end to end; per frame its offset, length and ns since the first one."""

    data: bytes
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    times_ns: tuple[int, ...]


class _Truncated(Exception):
    pass


class _StrictFile:
    """Reads for dpkt, which takes a short read for the end of the file and does not tell a cut frame from a whole one.

    Records are read in two steps, header and body; only before a header may the file end.
    """

    def __init__(self, file: BinaryIO) -> None:
        magic = file.read(12)
        file.seek(0)
        self.name = file.name
        self.pcapng = magic[:4] == PCAPNG_MAGIC
        self._order = ("<" if magic[8:9] == b"\x4d" else ">") if self.pcapng else (">" if magic[:1] == b"\xa1" else "<")
        self._file = file
        self._at_header = False
        self._header = self._body = b""

    def read(self, count: int) -> bytes:
        data = self._file.read(count) if count >= 0 else b""
        if len(data) != count and (data or not self._at_header):
            raise _Truncated
        if self._at_header:
            self._header = data
        else:
            self._body = data
        self._at_header = not self._at_header
        return data

    def begin_records(self) -> None:
        """The file header is behind."""
        self._at_header = True

    def captured_and_original(self) -> tuple[int, int]:
        """Lengths of the record read last: bytes in the file and bytes that were on the wire."""
        found, at = (self._body, 12) if self.pcapng else (self._header, 8)
        captured, original = struct.unpack_from(f"{self._order}II", found, at)
        return captured, original


def read_capture(path: str) -> Capture:
    """Raises UsageError (dpkt is not installed, no such file, not a capture, not Ethernet, cut off, no frames)."""
    try:
        with open(path, "rb") as file:
            return _collect(path, _frames(path, _StrictFile(file)))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the capture file: {error.strerror}") from None


def _import_dpkt(path: str) -> Any:
    try:
        import dpkt  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra
    except ImportError:
        raise UsageError(
            f"{path}: reading a capture file needs the package dpkt; install it with: pip install 'ixyfwd[pcap]'"
        ) from None
    return dpkt


def _frames(path: str, file: _StrictFile) -> Iterator[tuple[Any, bytes]]:
    dpkt = _import_dpkt(path)
    damage = (ValueError, IndexError, struct.error, dpkt.Error)
    try:
        reader = dpkt.pcapng.Reader(file) if file.pcapng else dpkt.pcap.Reader(file)
    except (_Truncated, *damage):
        raise UsageError(f"{path}: not a capture file; expected pcap or pcapng") from None
    if reader.datalink() != LINKTYPE_ETHERNET:
        raise UsageError(f"{path}: link type {reader.datalink()}; expected Ethernet ({LINKTYPE_ETHERNET})")
    file.begin_records()
    records = iter(reader)
    for number in count(1):
        try:
            entry = next(records, None)
        except _Truncated:
            raise UsageError(f"{path}: record {number} is cut off by the end of the file") from None
        except damage as error:
            raise UsageError(f"{path}: record {number} is damaged: {error}") from None
        if entry is None:
            return
        captured, original = file.captured_and_original()
        if captured < original:
            raise UsageError(
                f"{path}: record {number} has only {captured} of its frame's {original} bytes; capture whole frames"
            )
        yield entry


def _collect(path: str, frames: Iterator[tuple[Any, bytes]]) -> Capture:
    parts: list[bytes] = []
    times: list[int] = []
    for time, data in frames:
        parts.append(data)
        times.append(round(time * NS_PER_SECOND))
    if not parts:
        raise UsageError(f"{path}: the capture file has no frames")
    lengths = tuple(len(part) for part in parts)
    offsets = tuple(accumulate(lengths[:-1], initial=0))
    return Capture(b"".join(parts), offsets, lengths, tuple(max(0, time - times[0]) for time in times))
