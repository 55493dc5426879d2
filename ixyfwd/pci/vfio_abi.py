"""The parts of linux/vfio.h that are used: request numbers, structures, and the call itself."""

import fcntl
import struct
from enum import IntEnum
from typing import Final, Protocol

API_VERSION: Final = 0
TYPE1V2_IOMMU: Final = 3
GROUP_VIABLE: Final = 1
MAP_READ_WRITE: Final = 3
INFO_CAPS: Final = 2  # VFIO_IOMMU_INFO_CAPS
CAPABILITY_IOVA_RANGE: Final = 1
REPLY_BYTES: Final = 4096  # room for a structure with its capabilities
_BASE: Final = (ord(";") << 8) + 100

GROUP_STATUS: Final = struct.Struct("=II")
DEVICE_INFO: Final = struct.Struct("=IIIIII")
REGION_INFO: Final = struct.Struct("=IIIIQQ")
IOMMU_INFO: Final = struct.Struct("=IIQII")
DMA_MAP: Final = struct.Struct("=IIQQQ")
DMA_UNMAP: Final = struct.Struct("=IIQQ")
_CAPABILITY: Final = struct.Struct("=HHI")
_COUNT: Final = struct.Struct("=II")
_RANGE: Final = struct.Struct("=QQ")


class Request(IntEnum):
    """The ioctl numbers of linux/vfio.h: _IO(';', 100 + n)."""

    GET_API_VERSION = _BASE
    CHECK_EXTENSION = _BASE + 1
    SET_IOMMU = _BASE + 2
    GROUP_GET_STATUS = _BASE + 3
    GROUP_SET_CONTAINER = _BASE + 4
    GROUP_GET_DEVICE_FD = _BASE + 6
    DEVICE_GET_INFO = _BASE + 7
    DEVICE_GET_REGION_INFO = _BASE + 8
    DEVICE_GET_IRQ_INFO = _BASE + 9
    DEVICE_SET_IRQS = _BASE + 10
    DEVICE_RESET = _BASE + 11
    IOMMU_GET_INFO = _BASE + 12
    IOMMU_MAP_DMA = _BASE + 13
    IOMMU_UNMAP_DMA = _BASE + 14


class Ioctl(Protocol):
    """The system call: a number or a structure goes in (the structure is changed), a number comes back."""

    def __call__(self, fd: int, request: Request, argument: int | bytearray = 0) -> int:
        """Call; returns the kernel's number. Raises OSError."""


def kernel_ioctl(fd: int, request: Request, argument: int | bytearray = 0) -> int:
    """The `Ioctl` of the kernel. Raises OSError."""
    return fcntl.ioctl(fd, request, argument)


def structure(layout: struct.Struct, *values: int, room: int = 0) -> bytearray:
    """A structure whose first word is its own size, padded with zeros to `room` bytes."""
    size = max(layout.size, room)
    return bytearray(layout.pack(size, *values)).ljust(size, b"\0")


def iova_ranges(info: bytes) -> tuple[tuple[int, int], ...]:
    """The (first, last) addresses of each range that the IOMMU accepts; empty if the kernel does not list them."""
    _, flags, _, at, _ = IOMMU_INFO.unpack_from(info)
    while flags & INFO_CAPS and 0 < at <= len(info) - _CAPABILITY.size:
        kind, _, following = _CAPABILITY.unpack_from(info, at)
        if kind == CAPABILITY_IOVA_RANGE:
            count, _ = _COUNT.unpack_from(info, at + _CAPABILITY.size)
            first = at + _CAPABILITY.size + _COUNT.size
            return tuple(_RANGE.iter_unpack(info[first : first + count * _RANGE.size]))
        at = following
    return ()
