"""The seam between driver and device: the protocol of every way to reach a PCI function."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Window:
    """A part of BAR0 that another process may map: `mmap(fd, size, offset=file_offset)` shows BAR0 at `bar_offset`.

    `file_offset`, `bar_offset` and `size` are in bytes, multiples of the page size.
    """

    fd: int
    file_offset: int
    bar_offset: int
    size: int


@dataclass(frozen=True)
class DmaMap:
    """The device addresses of memory: `pages[i]` is that of the i-th page of `page_bytes` bytes."""

    page_bytes: int
    pages: tuple[int, ...]

    def address(self, offset: int) -> int:
        """The device address of the byte at `offset` of the mapped file."""
        page, within = divmod(offset, self.page_bytes)
        return self.pages[page] + within


class Function(Protocol):
    """One PCI function.

    Methods raise DeviceError or a subclass, ValueError for an offset or a size that
    does not exist and IxyfwdError if the machine lacks what they need; the message
    names `address`. Offsets and sizes are in bytes. `removal_fd`: becomes readable when
    the kernel wants the device back and waits for it; -1 where no such notice exists.
    """

    address: str
    removal_fd: int

    def read_config(self, offset: int, size: int) -> int:
        """Read `size` bytes (1, 2 or 4) of configuration space, little endian."""

    def write_config(self, offset: int, size: int, value: int) -> None:
        """Write `size` bytes (1, 2 or 4) of configuration space, little endian."""

    def read32(self, offset: int) -> int:
        """Read the register at `offset` of BAR0: one aligned 32-bit load."""

    def write32(self, offset: int, value: int) -> None:
        """Write the register at `offset` of BAR0: exactly one aligned 32-bit store."""

    def set_bus_master(self, on: bool) -> None:
        """Switch bus mastering (command register, bit 2): without it the device must not touch memory."""

    def map_dma(self, fd: int, size: int) -> DmaMap:
        """Let the device reach the first `size` bytes of a shared file (the arena)."""

    def unmap_dma(self) -> None:
        """Take back what `map_dma` gave. Bus mastering must be off."""

    def window(self, bar_offset: int, size: int) -> Window | None:
        """The mappable window with the `size` bytes at `bar_offset` of BAR0; None if the device offers none there."""

    def interrupt_vectors(self) -> int:
        """The number of MSI-X vectors that `set_interrupts` can deliver; 0 where none can be."""

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        """Have the message of MSI-X vector i count up `eventfds[i]` from now on.

        The eventfds stay the caller's. Vectors beyond them are not delivered; an empty
        sequence ends all delivery.
        """

    def reset(self) -> None:
        """Reset the function (function-level reset)."""

    def close(self) -> None:
        """Let go of the device; harmless when called twice."""
