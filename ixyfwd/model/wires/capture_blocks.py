"""The blocks of a pcapng file (draft-ietf-opsawg-pcapng; section numbers are those of the draft)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ixyfwd.model.wires.capture_bytes import DamageError, Record

MAGIC: Final = b"\x0a\x0d\x0d\x0a"  # the same in both byte orders
SECTION, INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
BYTE_ORDER: Final = 0x1A2B3C4D
IF_NAME, IF_TSRESOL, IF_FCSLEN, IF_TSOFFSET = 2, 9, 13, 14
_NS_PER_S: Final = 10**9
_LEAST_BYTES: Final = {SECTION: 28, INTERFACE: 20, OBSOLETE_PACKET: 32, SIMPLE_PACKET: 16, ENHANCED_PACKET: 32}
_MICROSECONDS: Final = 6  # if_tsresol, where it is not given
_NAME_MAX: Final = 40  # characters of it in a message


@dataclass(frozen=True)
class CaptureInterface:
    """An Interface Description Block (4.2). `units_per_s`: of time stamps. `snap_bytes`: 0 = whole frames."""

    label: str
    link_type: int
    snap_bytes: int
    units_per_s: int
    offset_s: int
    crc_bytes: int

    def time_ns(self, units: int) -> int:
        """A time stamp of this interface, since the epoch."""
        return units * _NS_PER_S // self.units_per_s + self.offset_s * _NS_PER_S


class Sections:
    """A pcapng file, section after section."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<"
        self._interfaces: list[CaptureInterface] = []

    def records(self) -> Iterator[Record]:
        """The frames in the order of the file; blocks of other kinds are passed over. Raises DamageError."""
        at = 0
        while at < len(self._data):
            kind, end = self._block(at)
            if kind == INTERFACE:
                self._add_interface(at, end)
            elif kind in (ENHANCED_PACKET, OBSOLETE_PACKET):
                yield self._packet(at, end, enhanced=kind == ENHANCED_PACKET)
            elif kind == SIMPLE_PACKET:
                yield self._simple_packet(at, end)
            at = end

    def _numbers(self, layout: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + layout, self._data, at)

    def _block(self, at: int) -> tuple[int, int]:
        """The kind of the block at `at`, and where it ends. A section's own block sets the byte order."""
        left = len(self._data) - at
        if left < 12:
            raise DamageError(f"the block at byte {at} is cut off by the end of the file")
        if self._data.startswith(MAGIC, at):
            self._begin_section(at)
        kind, size = self._numbers("II", at)
        least = _LEAST_BYTES.get(kind, 12)
        if size % 4 or size < least:
            expected = f"expected a multiple of 4 from {least} on"
            raise DamageError(f"the block at byte {at} is damaged: it has a length of {size}; {expected}")
        if size > left:
            raise DamageError(f"the block at byte {at} is cut off by the end of the file")
        (repeated,) = self._numbers("I", at + size - 4)
        if repeated != size:
            raise DamageError(f"the block at byte {at} is damaged: it has a length of {size}, at its end of {repeated}")
        if kind == SECTION:
            self._check_version(at)
        return kind, at + size

    def _begin_section(self, at: int) -> None:
        """4.1: interfaces are numbered anew."""
        orders = {struct.pack(order + "I", BYTE_ORDER): order for order in "<>"}
        order = orders.get(self._data[at + 8 : at + 12])
        if order is None:
            raise DamageError(f"the section at byte {at} has no byte-order magic; expected pcapng")
        self._order = order
        self._interfaces = []

    def _check_version(self, at: int) -> None:
        (major,) = self._numbers("H", at + 12)
        if major != 1:
            raise DamageError(f"the section at byte {at} is of version {major}; expected version 1")

    def _add_interface(self, at: int, end: int) -> None:
        link_type, snap_bytes = self._numbers("HxxI", at + 8)
        options = self._options(at + 16, end - 4)
        resolution = options.get(IF_TSRESOL, b"")[:1] or bytes([_MICROSECONDS])
        exponent = resolution[0] & 0x7F
        offset = options.get(IF_TSOFFSET, b"")
        crc = options.get(IF_FCSLEN, b"")
        name = options.get(IF_NAME, b"").split(b"\0")[0].decode("utf-8", "replace")[:_NAME_MAX]
        label = f"interface {len(self._interfaces)}"
        if name.isprintable() and name:
            label += f" ({name})"
        self._interfaces.append(
            CaptureInterface(
                label=label,
                link_type=link_type,
                snap_bytes=snap_bytes,
                units_per_s=2**exponent if resolution[0] & 0x80 else 10**exponent,
                offset_s=struct.unpack(self._order + "q", offset)[0] if len(offset) == 8 else 0,
                crc_bytes=crc[0] if len(crc) == 1 else 0,
            )
        )

    def _options(self, at: int, end: int) -> dict[int, bytes]:
        """3.5: code, length, value, padding; up to the end of options or of the block. The first of each code."""
        found: dict[int, bytes] = {}
        start = at
        while at + 4 <= end:
            code, length = self._numbers("HH", at)
            if code == 0:
                break
            if at + 4 + length > end:
                raise DamageError(f"the options at byte {start} are damaged: one is longer than its block")
            found.setdefault(code, self._data[at + 4 : at + 4 + length])
            at += 4 + (length + 3) // 4 * 4
        return found

    def _interface(self, at: int, number: int) -> CaptureInterface:
        if number >= len(self._interfaces):
            known = f"{len(self._interfaces)} interfaces are described before it"
            raise DamageError(f"the block at byte {at} is damaged: it is of interface {number}, and {known}")
        return self._interfaces[number]

    def _packet(self, at: int, end: int, *, enhanced: bool) -> Record:
        """4.3, and A for the block that it replaced: they differ in the width of the interface's number."""
        number, high, low, length, original = self._numbers("IIIII" if enhanced else "HxxIIII", at + 8)
        if at + 28 + length > end - 4:
            raise DamageError(f"the block at byte {at} is damaged: it is too short for {length} bytes of a frame")
        interface = self._interface(at, number)
        return self._record(at, at + 28, length, original, interface, interface.time_ns(high << 32 | low))

    def _simple_packet(self, at: int, end: int) -> Record:
        """4.4: of the first interface, without a time; of a long frame there is what the interface keeps."""
        (original,) = self._numbers("I", at + 8)
        interface = self._interface(at, 0)
        length = min(original, interface.snap_bytes or original)
        if at + 12 + length > end - 4:
            raise DamageError(f"the block at byte {at} is damaged: it is too short for {length} bytes of a frame")
        return self._record(at, at + 12, length, original, interface, None)

    def _record(  # noqa: PLR0917
        self, starts: int, at: int, length: int, original: int, interface: CaptureInterface, time_ns: int | None
    ) -> Record:
        record = Record(starts, at, length, original, time_ns, interface.link_type, interface.label)
        return record.without_crc(interface.crc_bytes)
