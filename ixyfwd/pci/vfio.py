"""A PCI function through vfio-pci: the IOMMU lets it reach the arena and no other memory."""

import os
import struct
from collections.abc import Sequence

from ixyfwd.errors import DeviceError
from ixyfwd.kit.syscalls import eventfd
from ixyfwd.pci.function import DmaMap, Window
from ixyfwd.pci.kernel import COMMAND_MEMORY, KernelFunction
from ixyfwd.pci.vfio_abi import DEVICE_INFO, REGION_INFO, REPLY_BYTES, Ioctl, Request, kernel_ioctl, structure
from ixyfwd.pci.vfio_container import VfioContainer
from ixyfwd.vfiouser.protocol import (
    DEVICE_FLAG_PCI,
    DEVICE_FLAG_RESET,
    Irq,
    IrqFlag,
    IrqInfo,
    Region,
    RegionFlag,
    RegionInfo,
    msix_eventfds,
    msix_off,
    removal_eventfd,
)

_PAGE_BYTES = 4096


class VfioFunction(KernelFunction):
    """A function reached through VFIO. Implements `pci.function.Function`.

    Registers are read and written by system calls, 32 bits each: when the kernel takes
    memory access away (a reset by another process, a removal), a system call fails
    where a mapping would give a SIGBUS. Workers map their doorbell pages.
    """

    def __init__(self, address: str, container: VfioContainer, ioctl: Ioctl = kernel_ioctl) -> None:
        """Open the function. Raises what `VfioContainer.open_device` raises, DeviceGoneError and DeviceError."""
        super().__init__(address)
        self._container = container
        self._ioctl = ioctl
        self._mapped = False
        self._interrupting = False
        self._fd = container.open_device(address)
        try:
            info = structure(DEVICE_INFO, 0, 0, 0, 0, 0)
            self._call(Request.DEVICE_GET_INFO, info, "the device cannot be described")
            self._flags: int = DEVICE_INFO.unpack_from(info)[1]
            if not self._flags & DEVICE_FLAG_PCI:
                raise DeviceError(f"{address}: the device that vfio gives is not a PCI device")
            self._bar = self._region(Region.BAR0)
            self._config_fd, self._config_at = self._fd, self._region(Region.CONFIG).offset
            self.set_bus_master(False)
            self._set_command(COMMAND_MEMORY, on=True)
            self.removal_fd = self._hear_of_removal()
        except BaseException:
            self.close()
            raise

    def _hear_of_removal(self) -> int:
        """An eventfd by which the kernel asks for the device: a removal or unbinding waits until it is closed."""
        fd = eventfd()
        asked = bytearray(removal_eventfd(struct.pack("=i", fd)).pack())
        try:
            self._ioctl(self._fd, Request.DEVICE_SET_IRQS, asked)
        except OSError:  # then removals wait until the run ends by itself
            os.close(fd)
            return -1
        return fd

    def _region(self, index: Region) -> RegionInfo:
        asked = structure(REGION_INFO, 0, index, 0, 0, 0, room=REPLY_BYTES)
        self._call(Request.DEVICE_GET_REGION_INFO, asked, f"region {index.name} cannot be described")
        return RegionInfo.unpack(bytes(asked))

    def _call(self, request: Request, argument: bytearray | int, what: str) -> None:
        try:
            self._ioctl(self._fd, request, argument)
        except OSError as error:
            raise self._failed(what, error) from None

    def read32(self, offset: int) -> int:
        """Read the register at `offset` of BAR0."""
        self._check_register(offset, self._bar.size)
        try:
            return int.from_bytes(os.pread(self._fd, 4, self._bar.offset + offset), "little")
        except OSError as error:
            raise self._failed(f"BAR0 + {offset:#x} cannot be read", error) from None

    def write32(self, offset: int, value: int) -> None:
        """Write the register at `offset` of BAR0."""
        self._check_register(offset, self._bar.size)
        try:
            os.pwrite(self._fd, value.to_bytes(4, "little"), self._bar.offset + offset)
        except OSError as error:
            raise self._failed(f"BAR0 + {offset:#x} cannot be written", error) from None

    def map_dma(self, fd: int, size: int) -> DmaMap:
        """Let every device of the container reach the first `size` bytes of the file, whose pages are locked.

        Raises DeviceError if memory is mapped already, IxyfwdError if the kernel
        refuses.
        """
        if self._mapped:
            raise DeviceError(f"{self.address}: memory is mapped for DMA already; unmap it first")
        found = self._container.map(self.address, fd, size)
        self._mapped = True
        return found

    def unmap_dma(self) -> None:
        """Take the mapping back; harmless if there is none. Raises RefusedError while bus mastering is on."""
        if not self._mapped:
            return
        self._demand_quiet()
        self._mapped = False
        self._container.unmap(self.address)

    def window(self, bar_offset: int, size: int) -> Window | None:
        """The mappable window with the `size` bytes; its file descriptor is closed with this object."""
        if not self._bar.flags & RegionFlag.MMAP:
            return None
        for start, length in self._bar.areas or ((0, self._bar.size),):
            if start <= bar_offset and bar_offset + size <= start + length:
                if (start | length | self._bar.offset) % _PAGE_BYTES:
                    raise DeviceError(f"{self.address}: the mappable area at {start:#x} is not made of whole pages")
                return Window(self._fd, self._bar.offset + start, start, length)
        return None

    def interrupt_vectors(self) -> int:
        """The number of vectors in the device's MSI-X table."""
        asked = bytearray(IrqInfo(Irq.MSIX, IrqFlag(0), 0).pack())
        self._call(Request.DEVICE_GET_IRQ_INFO, asked, "its interrupts cannot be described")
        found = IrqInfo.unpack(bytes(asked))
        return found.count if found.flags & IrqFlag.EVENTFD else 0

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        """Deliver all vectors or none: the kernel sizes the device's set of them with the first request."""
        if self._interrupting:  # the kernel refuses to switch off what is not on
            self._interrupting = False
            self._call(Request.DEVICE_SET_IRQS, bytearray(msix_off().pack()), "its interrupts cannot be switched off")
        if eventfds:
            data = struct.pack(f"={len(eventfds)}i", *eventfds)
            asked = bytearray(msix_eventfds(0, len(eventfds), data).pack())
            self._call(Request.DEVICE_SET_IRQS, asked, f"{len(eventfds)} MSI-X vectors cannot be switched on")
            self._interrupting = True

    def reset(self) -> None:
        """Reset the function, where the device has a function-level reset; bus mastering is off afterwards."""
        if self._flags & DEVICE_FLAG_RESET:
            self._call(Request.DEVICE_RESET, 0, "the reset failed")
        self.set_bus_master(False)
        self._set_command(COMMAND_MEMORY, on=True)

    def close(self) -> None:
        """Close the device: the kernel switches bus mastering off and resets it. Harmless when called twice."""
        for fd in (self._fd, self.removal_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._config_fd = self.removal_fd = -1
