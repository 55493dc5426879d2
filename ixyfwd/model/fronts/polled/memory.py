"""Whose memory a physical address is: hugepages of the processes that map a port's `resource0`.

Nothing is assumed of names or of when a file is unlinked: /proc/PID/smaps says which shared mappings are of hugepages,
/proc/PID/pagemap where they are, and /proc/PID/map_files opens them, all without touching the driver's memory.
"""

import contextlib
import mmap
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ixyfwd.errors import UsageError
from ixyfwd.model.port import SimulatedPort
from ixyfwd.vfiouser.protocol import DmaMapping, RequestError

PAGE_BYTES = mmap.PAGESIZE
PRESENT = 1 << 63
FRAME = (1 << 55) - 1
_AREA = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) (\S+ \d+) ")
_PAGE_SIZE = re.compile(rb"KernelPageSize:\s+(\d+) kB")


@dataclass(frozen=True)
class Page:
    """A hugepage: `size` bytes at `offset` of the file `identity` (device and inode as in /proc/PID/maps)."""

    identity: bytes
    offset: int
    size: int


@dataclass(frozen=True)
class _Area:
    start: int
    end: int
    offset: int
    identity: bytes
    page_bytes: int


def check_permission() -> None:
    """Check that the kernel tells this process where memory is (docs/polled.md). Raises UsageError if not."""
    memory = mmap.mmap(-1, PAGE_BYTES)
    memory[0] = 1
    entry = 0
    with contextlib.suppress(OSError), open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        entry = _entry(pagemap.fileno(), np.frombuffer(memory, np.uint8).ctypes.data)
    if not entry & FRAME:
        raise UsageError("a device directory needs physical addresses, which the kernel hides here; run as root")


def _entry(fd: int, address: int) -> int:
    data = os.pread(fd, 8, address // PAGE_BYTES * 8)
    return int(struct.unpack("<Q", data)[0]) if len(data) == 8 else 0


def mapping_identity(address: int) -> bytes:
    """Device and inode of what this process has mapped at `address`, as other processes' maps show it."""
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            area = _AREA.match(line)
            if area and int(area[1], 16) <= address < int(area[2], 16):
                return area[5]
    raise LookupError(f"nothing is mapped at {address:#x}")


def processes_that_map(identity: bytes) -> set[int]:
    """The ids of the processes that map the file `identity`, without this process."""
    pids = {int(name) for name in os.listdir("/proc") if name.isdecimal()} - {os.getpid()}
    return {pid for pid in pids if _maps(pid, identity)}


def _maps(pid: int, identity: bytes) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", "rb") as maps:
        return b" " + identity + b" " in maps.read()
    return False


def _areas(pid: int) -> Iterator[_Area]:
    """Writable shared mappings of hugepages."""
    area = None
    with open(f"/proc/{pid}/smaps", "rb") as smaps:
        for line in smaps:
            if header := _AREA.match(line):
                area = header
            elif area and area[3] == b"rw-s" and (size := _PAGE_SIZE.match(line)):
                page_bytes = int(size[1]) * 1024
                if page_bytes > PAGE_BYTES:
                    yield _Area(int(area[1], 16), int(area[2], 16), int(area[4], 16), area[5], page_bytes)


class DriverMemory:
    """The hugepages of the processes that map `identity`, as DMA mappings of a port at their physical addresses."""

    def __init__(self, port: SimulatedPort, identity: bytes) -> None:
        self._port = port
        self._identity = identity
        self._known: dict[int, Page] = {}  # by physical address

    def covers(self, address: int) -> bool:
        """Whether a mapping holds the address."""
        return any(start <= address < start + page.size for start, page in self._known.items())

    def forget(self) -> None:
        """Forget all mappings, after the port has dropped its own."""
        self._known.clear()

    def refresh(self, pids: set[int]) -> bool:
        """Map what is there by now, let go of what no process has any more.

        False if one of them ended meanwhile: it shows only part of its memory then, and nothing is let go of.
        """
        still: set[int] = set()
        for pid in pids:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                self._refresh_process(pid, still)
        if not all(_maps(pid, self._identity) for pid in pids):
            return False
        for physical in self._known.keys() - still:
            self._drop(physical)
        return True

    def _refresh_process(self, pid: int, still: set[int]) -> None:
        pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.closing(os.fdopen(pagemap, "rb", buffering=0)):
            for area in _areas(pid):
                pages = {
                    (entry & FRAME) * PAGE_BYTES: Page(area.identity, area.offset + at - area.start, area.page_bytes)
                    for at in range(area.start, area.end, area.page_bytes)
                    if (entry := _entry(pagemap, at)) & PRESENT
                }
                still.update(pages)
                self._map(pid, area, {k: v for k, v in pages.items() if self._known.get(k) != v})

    def _map(self, pid: int, area: _Area, pages: dict[int, Page]) -> None:
        if not pages:
            return
        fd = os.open(f"/proc/{pid}/map_files/{area.start:x}-{area.end:x}", os.O_RDWR | os.O_CLOEXEC)
        try:
            for physical, page in pages.items():
                if physical in self._known:
                    self._drop(physical)
                with contextlib.suppress(RequestError):  # unknown then, and DMA there a fault
                    self._port.dma_map(DmaMapping(physical, page.size, page.offset), fd)
                    self._known[physical] = page
        finally:
            os.close(fd)

    def _drop(self, physical: int) -> None:
        self._port.dma_unmap(physical, self._known.pop(physical).size)
