"""The messages of vfio-user 0.0 as plain structures; `channel` sends and receives them.

Facts: the vfio-user specification in QEMU's documentation, and <linux/vfio.h>. All
fields are in host byte order.
"""

import errno
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Self

from ixyfwd.errors import DeviceError

MAX_TRANSFER_BYTES = 1 << 20  # the protocol's default for max_data_xfer_size
MAX_MESSAGE_BYTES = MAX_TRANSFER_BYTES + 4096
MAX_MESSAGE_FDS = 64  # one SET_IRQS may carry an eventfd for each of the 64 MSI-X vectors
MAX_AREAS = 64  # sparse mmap areas of a region that a client accepts

HEADER_BYTES = 16
_HEADER = struct.Struct("=HHIII")
_DEVICE_INFO = struct.Struct("=IIII")
_REGION_INFO = struct.Struct("=IIIIQQ")
_IRQ_INFO = struct.Struct("=IIII")
_IRQ_SET = struct.Struct("=IIIII")
_DMA_MAP = struct.Struct("=IIQQQ")
_DMA_UNMAP = struct.Struct("=IIQQ")
_ACCESS = struct.Struct("=QII")
_CAPABILITY = struct.Struct("=HHI")
_SPARSE = struct.Struct("=II")
_AREA = struct.Struct("=QQ")


class ProtocolError(DeviceError):
    """A message that vfio-user does not allow; the connection cannot be used any more."""


class RequestError(DeviceError):
    """A request that is refused. `errno` travels in the error reply."""

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(message)
        self.errno = errno


class VfioUserCommand(IntEnum):
    """The protocol's numbers for requests."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_REGION_IO_FDS = 6
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    DEVICE_RESET = 13
    DIRTY_PAGES = 14
    REGION_WRITE_MULTI = 15
    DEVICE_FEATURE = 16
    MIG_DATA_READ = 17
    MIG_DATA_WRITE = 18


class Region(IntEnum):
    """VFIO's numbers for the regions of a PCI device."""

    BAR0 = 0
    BAR4 = 4
    ROM = 6
    CONFIG = 7


REGIONS = 9  # BAR0-5, ROM, configuration space, VGA


class Irq(IntEnum):
    """VFIO's numbers for the interrupt kinds of a PCI device."""

    INTX = 0
    MSI = 1
    MSIX = 2


IRQS = 5  # INTx, MSI, MSI-X, error, request
REMOVAL_IRQ = 4  # VFIO_PCI_REQ_IRQ_INDEX

TYPE_MASK = 0xF
TYPE_COMMAND = 0
TYPE_REPLY = 1
NO_REPLY = 0x10
ERROR = 0x20

DEVICE_FLAG_RESET = 1
DEVICE_FLAG_PCI = 2


class RegionFlag(IntFlag):
    """VFIO_REGION_INFO_FLAG_*."""

    READ = 1
    WRITE = 2
    MMAP = 4
    CAPS = 8


class IrqFlag(IntFlag):
    """VFIO_IRQ_INFO_*."""

    EVENTFD = 1
    MASKABLE = 2
    AUTOMASKED = 4
    NORESIZE = 8


class IrqAction(IntFlag):
    """VFIO_IRQ_SET_*: the form of the data, and what to do with the vectors."""

    DATA_NONE = 1
    DATA_BOOL = 2
    DATA_EVENTFD = 4
    MASK = 8
    UNMASK = 16
    TRIGGER = 32


DATA_MASK = IrqAction.DATA_NONE | IrqAction.DATA_BOOL | IrqAction.DATA_EVENTFD
DMA_READABLE = 1
DMA_WRITEABLE = 2
DMA_UNMAP_ALL = 2
CAPABILITY_SPARSE_MMAP = 1


def unpack_fields(layout: struct.Struct, data: bytes, what: str, offset: int = 0) -> tuple[int, ...]:
    """The fields of a structure at `offset` bytes. Raises ProtocolError, with `what` it is, if it is cut off."""
    if len(data) - offset < layout.size:
        raise ProtocolError(f"{what} has {max(0, len(data) - offset)} bytes, expected at least {layout.size}")
    return layout.unpack_from(data, offset)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of every message; `size` is that of the whole message in bytes, this header included."""

    message_id: int
    command: int
    size: int
    flags: int = TYPE_COMMAND
    error: int = 0

    def pack(self) -> bytes:
        """The header's 16 bytes."""
        return _HEADER.pack(self.message_id, self.command, self.size, self.flags, self.error)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The header in 16 bytes. Raises ProtocolError for a size or a type that no message can have."""
        header = cls(*unpack_fields(_HEADER, data, "a message header"))
        if not HEADER_BYTES <= header.size <= MAX_MESSAGE_BYTES:
            limits = f"{HEADER_BYTES} to {MAX_MESSAGE_BYTES}"
            raise ProtocolError(f"a message header announces {header.size} bytes, expected {limits}")
        if header.flags & TYPE_MASK not in (TYPE_COMMAND, TYPE_REPLY):
            raise ProtocolError(f"a message has type {header.flags & TYPE_MASK}, expected 0 (command) or 1 (reply)")
        return header

    @property
    def is_reply(self) -> bool:
        """Whether the message is a reply; else it is a command."""
        return self.flags & TYPE_MASK == TYPE_REPLY


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message. Its holder owns `fds` and closes them."""

    header: Header
    payload: bytes
    fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a device is: its flags (DEVICE_FLAG_*), and how many regions and interrupt kinds it has."""

    flags: int
    regions: int
    irqs: int

    def pack(self) -> bytes:
        """The payload of the request and of its reply."""
        return _DEVICE_INFO.pack(_DEVICE_INFO.size, self.flags, self.regions, self.irqs)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The device info in a payload. Raises ProtocolError if it is too short."""
        return cls(*unpack_fields(_DEVICE_INFO, data, "the device info")[1:])


@dataclass(frozen=True, slots=True)
class RegionInfo:
    """A region of `size` bytes.

    `areas` are the (offset, size) runs, in bytes, that may be mapped from `fd`, at
    `offset` + the run's offset.
    """

    index: int
    size: int
    flags: RegionFlag
    offset: int = 0
    areas: tuple[tuple[int, int], ...] = ()
    fd: int | None = None

    def pack(self, argsz: int) -> bytes:
        """The payload of the reply; without capabilities if they do not fit the client's `argsz` bytes."""
        capabilities = self._pack_areas()
        full = _REGION_INFO.size + len(capabilities)
        fits = bool(capabilities) and argsz >= full
        at = _REGION_INFO.size if fits else 0
        fixed = _REGION_INFO.pack(full, self.flags, self.index, at, self.size, self.offset)
        return fixed + capabilities if fits else fixed

    def _pack_areas(self) -> bytes:
        if not self.areas:
            return b""
        head = _CAPABILITY.pack(CAPABILITY_SPARSE_MMAP, 1, 0) + _SPARSE.pack(len(self.areas), 0)
        return head + b"".join(_AREA.pack(*area) for area in self.areas)

    @classmethod
    def unpack(cls, data: bytes, fd: int | None = None) -> Self:
        """The region info in a reply's payload. Raises ProtocolError for capabilities that make no sense."""
        _, flags, index, at, size, offset = unpack_fields(_REGION_INFO, data, "the region info")
        areas = _unpack_areas(data, at, size) if flags & RegionFlag.CAPS and at else ()
        return cls(index, size, RegionFlag(flags & 0xF), offset, areas, fd)


def region_info_argsz(data: bytes) -> int:
    """The size in bytes that a region info reply says it would need. Raises ProtocolError."""
    return unpack_fields(_REGION_INFO, data, "the region info")[0]


def pack_region_info_request(index: int, argsz: int) -> bytes:
    """The payload of a region info request; `argsz`: bytes that the reply may have."""
    return _REGION_INFO.pack(argsz, 0, index, 0, 0, 0)


def unpack_region_info_request(data: bytes) -> tuple[int, int]:
    """(index, argsz) of a region info request. Raises RequestError if it is shorter than three 32-bit words."""
    if len(data) < 12:
        raise RequestError(errno.EINVAL, f"a region info request has {len(data)} bytes, expected {_REGION_INFO.size}")
    argsz, _, index = struct.unpack_from("=III", data)
    return index, argsz


def _unpack_areas(data: bytes, at: int, size: int) -> tuple[tuple[int, int], ...]:
    """The sparse mmap areas of a capability chain that begins at `at`; each link must lie behind the one before."""
    areas: list[tuple[int, int]] = []
    while at:
        kind, _, following = unpack_fields(_CAPABILITY, data, "a region capability", at)
        if kind == CAPABILITY_SPARSE_MMAP:
            count, _ = unpack_fields(_SPARSE, data, "the sparse mmap capability", at + _CAPABILITY.size)
            if count > MAX_AREAS:
                raise ProtocolError(f"the sparse mmap capability lists {count} areas, expected at most {MAX_AREAS}")
            start = at + _CAPABILITY.size + _SPARSE.size
            for n in range(count):
                offset, length = unpack_fields(_AREA, data, "a sparse mmap area", start + n * _AREA.size)
                if offset + length > size:
                    raise ProtocolError(
                        f"a sparse mmap area ends at {offset + length:#x}, behind the region's {size:#x}"
                    )
                areas.append((offset, length))
        if following and following <= at:
            raise ProtocolError("the chain of region capabilities does not end")
        at = following
    return tuple(areas)


@dataclass(frozen=True, slots=True)
class IrqInfo:
    """An interrupt kind (`Irq`) and how many vectors it has."""

    index: int
    flags: IrqFlag
    count: int

    def pack(self) -> bytes:
        """The payload of the request and of its reply."""
        return _IRQ_INFO.pack(_IRQ_INFO.size, self.flags, self.index, self.count)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The interrupt info in a payload. Raises ProtocolError if it is too short."""
        _, flags, index, count = unpack_fields(_IRQ_INFO, data, "the interrupt info")
        return cls(index, IrqFlag(flags & 0xF), count)


@dataclass(frozen=True, slots=True)
class IrqSet:
    """A set-up of `count` vectors from `start` on of an interrupt kind.

    `data` holds one byte per interrupt with DATA_BOOL; with DATA_EVENTFD the
    descriptors travel beside it.
    """

    flags: IrqAction
    index: int
    start: int
    count: int
    data: bytes = b""

    def pack(self) -> bytes:
        """The payload of the request."""
        size = _IRQ_SET.size + len(self.data)
        return _IRQ_SET.pack(size, self.flags, self.index, self.start, self.count) + self.data

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The set-up in a payload. Raises ProtocolError if it is too short."""
        _, flags, index, start, count = unpack_fields(_IRQ_SET, payload, "the interrupt set-up")
        return cls(IrqAction(flags & 0x3F), index, start, count, payload[_IRQ_SET.size :])


def msix_eventfds(start: int, count: int, data: bytes = b"") -> IrqSet:
    """The set-up by which `count` MSI-X vectors from `start` on count up eventfds.

    The eventfds are in `data` (the kernel's ABI), or travel beside the message.
    """
    return IrqSet(IrqAction.DATA_EVENTFD | IrqAction.TRIGGER, Irq.MSIX, start, count, data)


def removal_eventfd(data: bytes) -> IrqSet:
    """The set-up by which the kernel counts up the eventfd in `data` when it wants the device back."""
    return IrqSet(IrqAction.DATA_EVENTFD | IrqAction.TRIGGER, REMOVAL_IRQ, 0, 1, data)


def msix_off() -> IrqSet:
    """The set-up that ends the delivery of all MSI-X vectors."""
    return IrqSet(IrqAction.DATA_NONE | IrqAction.TRIGGER, Irq.MSIX, 0, 0)


@dataclass(frozen=True, slots=True)
class DmaMapping:
    """A mapping: the file beside the message, from `offset` on, at device address `address`, `size` bytes long."""

    address: int
    size: int
    offset: int = 0
    flags: int = DMA_READABLE | DMA_WRITEABLE

    def pack_map(self) -> bytes:
        """The payload of a request to map."""
        return _DMA_MAP.pack(_DMA_MAP.size, self.flags, self.offset, self.address, self.size)

    def pack_unmap(self) -> bytes:
        """The payload of a request to unmap, and of its reply."""
        return _DMA_UNMAP.pack(_DMA_UNMAP.size, self.flags, self.address, self.size)

    @property
    def unmaps_all(self) -> bool:
        """Whether a request to unmap means every mapping, and not that of its address."""
        return bool(self.flags & DMA_UNMAP_ALL)

    @classmethod
    def unpack_map(cls, data: bytes) -> Self:
        """The mapping in a request to map. Raises ProtocolError if it is too short."""
        _, flags, offset, address, size = unpack_fields(_DMA_MAP, data, "the DMA map request")
        return cls(address, size, offset, flags)

    @classmethod
    def unpack_unmap(cls, data: bytes) -> Self:
        """The mapping in a request to unmap. Raises ProtocolError if it is too short."""
        _, flags, address, size = unpack_fields(_DMA_UNMAP, data, "the DMA unmap request")
        return cls(address, size, 0, flags)


@dataclass(frozen=True, slots=True)
class Access:
    """A read or write of `count` bytes at `offset` of a region; `data` is what is written, or was read."""

    region: int
    offset: int
    count: int
    data: bytes = b""

    def pack(self) -> bytes:
        """The payload of the request, or of its reply."""
        return _ACCESS.pack(self.offset, self.region, self.count) + self.data

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The access in a payload. Raises ProtocolError if it is too short."""
        offset, region, count = unpack_fields(_ACCESS, payload, "a region access")
        return cls(region, offset, count, payload[_ACCESS.size :])
