"""The seam between driver and device: what every way of reaching a PCI function offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Window:
    """A run of BAR0 that another process may map: `mmap(fd, size, offset=file_offset)` shows BAR0 at `bar_offset`.

    All three numbers are multiples of the page size.
    """

    fd: int
    file_offset: int
    bar_offset: int
    size: int


@dataclass(frozen=True)
class DmaMap:
    """Where the device finds memory: `pages[i]` is the device address of the i-th page of `page_bytes`."""

    page_bytes: int
    pages: tuple[int, ...]

    def address(self, offset: int) -> int:
        """Device address of a byte of the mapped file."""
        page, within = divmod(offset, self.page_bytes)
        return self.pages[page] + within


class Function(Protocol):
    """One PCI function. Errors: DeviceError and its subclasses; the message names `address`.

    removal_fd: becomes readable when the kernel wants the device back and waits for it; -1 where nobody would say so.
    """

    address: str
    removal_fd: int

    def read_config(self, offset: int, size: int) -> int:
        """1, 2 or 4 bytes of configuration space, little endian."""

    def write_config(self, offset: int, size: int, value: int) -> None: ...

    def read32(self, offset: int) -> int:
        """One aligned 32-bit load from BAR0."""

    def write32(self, offset: int, value: int) -> None:
        """One aligned 32-bit store to BAR0; exactly one."""

    def set_bus_master(self, on: bool) -> None:
        """Command register bit 2: without it the device must not touch memory."""

    def map_dma(self, fd: int, size: int) -> DmaMap:
        """Let the device reach the first `size` bytes of a shared file (the arena)."""

    def unmap_dma(self) -> None:
        """Take back what `map_dma` gave. Bus mastering must be off."""

    def window(self, bar_offset: int, size: int) -> Window | None:
        """The mappable window that contains this run of BAR0, or None if the device offers none there."""

    def interrupt_vectors(self) -> int:
        """How many MSI-X vectors `set_interrupts` can deliver; 0 where nobody would."""

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        """From now on the message of MSI-X vector i counts up `eventfds[i]`, which stay the caller's; vectors beyond
        them are not delivered, and an empty sequence ends all delivery. Raises DeviceError."""

    def reset(self) -> None:
        """Function-level reset."""

    def close(self) -> None:
        """Let go of the device; harmless when called twice."""
