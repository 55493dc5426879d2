"""A PCI function behind a vfio-user server."""

import os
from collections.abc import Sequence

from ixyfwd.errors import DeviceError, RefusedError
from ixyfwd.pci.function import DmaMap, Window
from ixyfwd.vfiouser.client import TIMEOUT_S, Client
from ixyfwd.vfiouser.protocol import (
    DEVICE_FLAG_PCI,
    DmaMapping,
    Irq,
    IrqFlag,
    Region,
    RegionFlag,
    msix_eventfds,
    msix_off,
)

PAGE_BYTES = 4096
DMA_PAGE_BYTES = 2 << 20
IOVA_BASE = 0x10_0000_0000  # above 4 GiB, so that a forgotten high address register shows at once
COMMAND = 0x04  # PCI command register
COMMAND_MEMORY = 1 << 1
COMMAND_BUS_MASTER = 1 << 2
COMMAND_GONE = 0xFFFF  # the command register never reads so (82599 datasheet 9.3.4): the device is gone


class VfioUserFunction:
    """A function behind a vfio-user server. Implements `pci.function.Function`.

    Registers are always accessed by message, also those in mappable windows: a doorbell
    page holds control registers (RXDCTL, RDBAL), whose writes the server must see.
    Mapping is for the doorbells of workers, through `window`.
    """

    def __init__(self, address: str, path: str, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address
        self.removal_fd = -1
        self._client = Client(path, address, timeout_s)
        self._bar_fd: int | None = None
        self._mapped_bytes = 0
        try:
            if not self._client.device_info().flags & DEVICE_FLAG_PCI:
                raise DeviceError(f"{address}: the server's device is not a PCI device")
            self._bar = self._client.region_info(Region.BAR0)
            self._bar_fd = self._bar.fd
            self._config_bytes = self._client.region_info(Region.CONFIG).size
            self._set_command(COMMAND_MEMORY, on=True)
        except BaseException:
            self.close()
            raise

    def read_config(self, offset: int, size: int) -> int:
        """Read `size` bytes (1, 2 or 4) of configuration space, little endian."""
        self._check_config(offset, size)
        return int.from_bytes(self._client.region_read(Region.CONFIG, offset, size), "little")

    def write_config(self, offset: int, size: int, value: int) -> None:
        self._check_config(offset, size)
        self._client.region_write(Region.CONFIG, offset, value.to_bytes(size, "little"))

    def _check_config(self, offset: int, size: int) -> None:
        if size not in (1, 2, 4) or offset % size or not 0 <= offset <= self._config_bytes - size:
            raise ValueError(f"{self.address}: no aligned configuration word of {size} bytes at {offset:#x}")

    def read32(self, offset: int) -> int:
        """Read the register at `offset` of BAR0. All ones are returned as any value: the driver interprets them."""
        self._check_register(offset)
        return int.from_bytes(self._client.region_read(Region.BAR0, offset, 4), "little")

    def write32(self, offset: int, value: int) -> None:
        """Write the register at `offset` of BAR0: a posted write, which a later read finds carried out."""
        self._check_register(offset)
        self._client.region_write(Region.BAR0, offset, value.to_bytes(4, "little"), posted=True)

    def _check_register(self, offset: int) -> None:
        if offset % 4 or not 0 <= offset <= self._bar.size - 4:
            raise ValueError(f"{self.address}: no register at BAR0 + {offset:#x}, BAR0 has {self._bar.size:#x} bytes")

    def set_bus_master(self, on: bool) -> None:
        self._set_command(COMMAND_BUS_MASTER, on=on)

    def _set_command(self, bit: int, *, on: bool) -> None:
        old = self.read_config(COMMAND, 2)
        self.write_config(COMMAND, 2, old | bit if on else old & ~bit)

    def map_dma(self, fd: int, size: int) -> DmaMap:
        """Let the device reach the first `size` bytes of the file, from IOVA_BASE on; one mapping at a time."""
        if self._mapped_bytes:
            raise DeviceError(f"{self.address}: memory is mapped for DMA already; unmap it first")
        if size <= 0 or size % PAGE_BYTES:
            raise ValueError(f"{self.address}: {size} bytes cannot be mapped for DMA, expected whole 4 KiB pages")
        self._client.dma_map(DmaMapping(IOVA_BASE, size), fd)
        self._mapped_bytes = size
        pages = range(IOVA_BASE, IOVA_BASE + size, DMA_PAGE_BYTES)
        return DmaMap(DMA_PAGE_BYTES, tuple(pages))

    def unmap_dma(self) -> None:
        """Take the mapping back; harmless if there is none. Raises RefusedError while bus mastering is on."""
        if not self._mapped_bytes:
            return
        command = self.read_config(COMMAND, 2)
        if command & COMMAND_BUS_MASTER and command != COMMAND_GONE:
            raise RefusedError(f"{self.address}: bus mastering is on; switch it off before the memory is unmapped")
        self._client.dma_unmap(IOVA_BASE, self._mapped_bytes)
        self._mapped_bytes = 0

    def window(self, bar_offset: int, size: int) -> Window | None:
        """The mappable window with the `size` bytes; its file descriptor is closed with this object."""
        if self._bar_fd is None or not self._bar.flags & RegionFlag.MMAP:
            return None
        areas = self._bar.areas or ((0, self._bar.size),)
        for start, length in areas:
            if start <= bar_offset and bar_offset + size <= start + length:
                if (start | length | self._bar.offset) % PAGE_BYTES:
                    raise DeviceError(f"{self.address}: the mappable area at {start:#x} is not made of whole pages")
                return Window(self._bar_fd, self._bar.offset + start, start, length)
        return None

    def interrupt_vectors(self) -> int:
        """The number of MSI-X vectors of the server's device."""
        found = self._client.irq_info(Irq.MSIX)
        return found.count if found.flags & IrqFlag.EVENTFD else 0

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        """Deliver vectors, in as many messages as the server's limit on descriptors demands."""
        self._client.set_irqs(msix_off())
        most = max(1, self._client.version.max_msg_fds)
        for start in range(0, len(eventfds), most):
            part = eventfds[start : start + most]
            self._client.set_irqs(msix_eventfds(start, len(part)), part)

    def reset(self) -> None:
        """Reset the function; registers answer again afterwards, bus mastering is off."""
        self._client.reset()
        self._set_command(COMMAND_MEMORY, on=True)

    def close(self) -> None:
        """Close the connection; the server then stops the device and forgets the mappings."""
        self._client.close()
        if self._bar_fd is not None:
            os.close(self._bar_fd)
            self._bar_fd = None
