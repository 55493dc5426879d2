"""VFIO's containers and groups: one space of device addresses for several functions, memory locked once."""

import errno
import mmap
import os
import resource
import struct
from pathlib import Path
from typing import Final

from ixyfwd.errors import DeviceError, IxyfwdError, RefusedError
from ixyfwd.pci.function import DmaMap
from ixyfwd.pci.physical import HUGEPAGE_BYTES, address_of
from ixyfwd.pci.tree import ROOT, group_members, iommu_group, read_text
from ixyfwd.pci.vfio_abi import (
    API_VERSION,
    DMA_MAP,
    DMA_UNMAP,
    GROUP_STATUS,
    GROUP_VIABLE,
    IOMMU_INFO,
    MAP_READ_WRITE,
    REPLY_BYTES,
    TYPE1V2_IOMMU,
    Ioctl,
    Request,
    iova_ranges,
    kernel_ioctl,
    structure,
)

PREFERRED_IOVA: Final = 0x10_0000_0000  # above 4 GiB, so that a forgotten high address register shows at once
_BRIDGE_DRIVERS: Final = (None, "vfio-pci", "pcieport", "pci-stub")
_NOIOMMU: Final = "vfio-noiommu"


class VfioContainer:
    """A container with its open groups and at most one mapping, which all functions share."""

    def __init__(self, root: Path = ROOT, ioctl: Ioctl = kernel_ioctl) -> None:
        """Open nothing yet: the first function opens the container."""
        self._root = root
        self._ioctl = ioctl
        self._fd = -1
        self._groups: dict[str, int] = {}
        self._mapping: tuple[int, DmaMap] | None = None
        self._users = 0

    def open_device(self, address: str) -> int:
        """Open a device; returns its descriptor, which is the caller's to close.

        Raises RefusedError for a group that is in use or that has no IOMMU, IxyfwdError
        if the kernel's files cannot be opened, DeviceError if the kernel refuses the
        device.
        """
        group = self._group(address)
        try:
            return self._ioctl(group, Request.GROUP_GET_DEVICE_FD, bytearray(address.encode() + b"\0"))
        except OSError as error:
            raise DeviceError(f"{address}: vfio does not give the device: {error.strerror}; see dmesg") from None

    def _group(self, address: str) -> int:
        folder = iommu_group(address, self._root)
        if folder is None or read_text(folder / "name") == _NOIOMMU:
            raise RefusedError(
                f"{address} has no IOMMU, so vfio-pci protects no memory here (noiommu mode is not used); switch the "
                "IOMMU on (intel_iommu=on on the kernel's command line), or use it through sysfs: "
                f"ixyfwd bind {address} --driver none"
            )
        if folder.name not in self._groups:
            self._groups[folder.name] = self._attach(address, folder)
        return self._groups[folder.name]

    def _attach(self, address: str, folder: Path) -> int:
        container = self._container(address)
        group = _open(address, self._root / "dev/vfio" / folder.name)
        try:
            status = structure(GROUP_STATUS, 0)
            self._ioctl(group, Request.GROUP_GET_STATUS, status)
            if not GROUP_STATUS.unpack_from(status)[1] & GROUP_VIABLE:
                raise RefusedError(self._not_viable(address, folder))
            self._ioctl(group, Request.GROUP_SET_CONTAINER, bytearray(struct.pack("=i", container)))
            if not self._groups:
                self._ioctl(container, Request.SET_IOMMU, TYPE1V2_IOMMU)
            return group
        except OSError as error:
            os.close(group)
            if error.errno == errno.EPERM:  # the kernel's answer where interrupts are not remapped
                raise RefusedError(
                    f"{address}: the kernel refuses VFIO without interrupt remapping; switch that on in the firmware, "
                    "or as root: echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
                ) from None
            raise DeviceError(
                f"{address}: its IOMMU group {folder.name} cannot be joined to the other ports' address space: "
                f"{error.strerror}"
            ) from None
        except BaseException:
            os.close(group)
            raise

    def _container(self, address: str) -> int:
        if self._fd < 0:
            fd = _open(address, self._root / "dev/vfio/vfio")
            version = self._ioctl(fd, Request.GET_API_VERSION)
            if version != API_VERSION or not self._ioctl(fd, Request.CHECK_EXTENSION, TYPE1V2_IOMMU):
                os.close(fd)
                raise IxyfwdError(
                    f"{address}: the kernel's vfio (API {version}) offers no type 1 version 2 IOMMU; as root: "
                    "modprobe vfio_iommu_type1"
                )
            self._fd = fd
        return self._fd

    def _not_viable(self, address: str, folder: Path) -> str:
        others = {
            member: driver
            for member, driver in group_members(folder, self._root).items()
            if member != address and driver not in _BRIDGE_DRIVERS
        }
        named = ", ".join(f"{member} (driver {driver})" for member, driver in others.items()) or "another device"
        return (
            f"{address} shares IOMMU group {folder.name} with {named}, which the kernel still drives; bind that to "
            "vfio-pci too, or put the card into another slot"
        )

    def map(self, address: str, fd: int, size: int) -> DmaMap:
        """Map the first `size` bytes of a file for all devices; a second device shares the mapping.

        Raises ValueError for a size that is not of whole 2 MiB pages, DeviceError if
        memory of another size is mapped, IxyfwdError if the kernel refuses.
        """
        if self._mapping is None:
            self._mapping = (size, self._map(address, fd, size))
        if self._mapping[0] != size:
            raise DeviceError(f"{address}: other memory is mapped for DMA already; unmap it first")
        self._users += 1
        return self._mapping[1]

    def _map(self, address: str, fd: int, size: int) -> DmaMap:
        if size <= 0 or size % HUGEPAGE_BYTES:
            raise ValueError(f"{address}: {size} bytes are not a multiple of {HUGEPAGE_BYTES}")
        base = self._iova(address, size)
        # The kernel finds the pages through this mapping and keeps them: it need not outlive the call.
        with mmap.mmap(fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE) as mapping:
            asked = structure(DMA_MAP, MAP_READ_WRITE, address_of(mapping), base, size)
            try:
                self._ioctl(self._fd, Request.IOMMU_MAP_DMA, asked)
            except OSError as error:
                raise IxyfwdError(_cannot_map(address, size, error)) from None
        return DmaMap(HUGEPAGE_BYTES, tuple(range(base, base + size, HUGEPAGE_BYTES)))

    def _iova(self, address: str, size: int) -> int:
        """A device address that the IOMMU accepts; the preferred one if the kernel lists no ranges."""
        info = structure(IOMMU_INFO, 0, 0, 0, 0, room=REPLY_BYTES)
        self._ioctl(self._fd, Request.IOMMU_GET_INFO, info)
        ranges = iova_ranges(bytes(info)) or ((PREFERRED_IOVA, 2**48 - 1),)
        for first, last in ranges:
            if first <= PREFERRED_IOVA and PREFERRED_IOVA + size - 1 <= last:
                return PREFERRED_IOVA
        for first, last in reversed(ranges):
            start = max(HUGEPAGE_BYTES, -(-first // HUGEPAGE_BYTES) * HUGEPAGE_BYTES)
            if start + size - 1 <= last:
                return start
        found = ", ".join(f"{first:#x} to {last:#x}" for first, last in ranges)
        raise IxyfwdError(
            f"{address}: the arena of {size >> 20} MiB fits into none of the IOMMU's address ranges ({found}); use "
            "fewer workers, smaller rings or fewer buffers"
        )

    def unmap(self, address: str) -> None:
        """Count one user of the mapping less; it ends with the last one. Raises DeviceError."""
        if self._mapping is None:
            return
        self._users -= 1
        if self._users == 0:
            size, dma = self._mapping
            self._mapping = None
            try:
                self._ioctl(self._fd, Request.IOMMU_UNMAP_DMA, structure(DMA_UNMAP, 0, dma.pages[0], size))
            except OSError as error:
                raise DeviceError(f"{address}: the IOMMU mapping cannot be removed: {error.strerror}") from None

    def close(self) -> None:
        """Close groups and container, after the devices: the kernel then unmaps. Harmless when called twice."""
        for fd in (*self._groups.values(), self._fd):
            if fd >= 0:
                os.close(fd)
        self._groups.clear()
        self._fd = -1


def _open(address: str, path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise IxyfwdError(f"{address}: there is no {path}; as root: modprobe vfio-pci") from None
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise RefusedError(
                f"{address}: {path} is in use by {_holder(path)}; stop that first, or use another device"
            ) from None
        raise IxyfwdError(
            f"{address}: {path} cannot be opened: {error.strerror}; as root: chown $USER {path} (or run as root)"
        ) from None


def _holder(path: Path) -> str:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == str(path):
                pid = link.parts[2]
                return f"pid {pid} ({read_text(Path('/proc') / pid / 'comm')})"
        except OSError:
            continue
    return "another process"


def _cannot_map(address: str, size: int, error: OSError) -> str:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if error.errno == errno.ENOMEM and limit != resource.RLIM_INFINITY and limit < size:
        return (
            f"{address}: the arena of {size >> 20} MiB must be locked and this process may lock {limit >> 10} KiB "
            "(RLIMIT_MEMLOCK); run as root, or raise it: ulimit -l unlimited"
        )
    return f"{address}: the arena of {size >> 20} MiB cannot be mapped for DMA by the IOMMU: {error.strerror}"
