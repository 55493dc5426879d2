"""Physical addresses of a shared file's hugepages, for a device without an IOMMU.

Hugepages of a pool are not contiguous, so each is looked up. They are neither swapped nor moved while a file holds
them; ordinary pages are both, which is why they are refused.
"""

import ctypes
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ixyfwd.errors import IxyfwdError, RefusedError
from ixyfwd.pci.tree import ROOT

HUGEPAGE_BYTES: Final = 2 << 20
_PAGE_BYTES: Final = 4096
_ENTRY: Final = struct.Struct("=Q")
_PRESENT: Final = 1 << 63
_FRAME: Final = (1 << 55) - 1  # Documentation/admin-guide/mm/pagemap.rst: bits 0 to 54


def address_of(mapping: mmap.mmap) -> int:
    """The address, in this process, where a mapping begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))


def physical_pages(
    fd: int, size: int, root: Path = ROOT, where: Callable[[mmap.mmap], int] = address_of
) -> tuple[int, ...]:
    """The physical addresses of the 2 MiB pages in the first `size` bytes of `fd`.

    `where` finds the address of a mapping in this process. Raises ValueError for a size
    that is not of whole pages, RefusedError for a file of ordinary pages, IxyfwdError
    if the kernel hides the addresses (CAP_SYS_ADMIN).
    """
    if size <= 0 or size % HUGEPAGE_BYTES:
        raise ValueError(f"{size} bytes are not a multiple of {HUGEPAGE_BYTES}")
    if os.fstat(fd).st_blksize != HUGEPAGE_BYTES:
        raise RefusedError(
            "the arena is made of ordinary pages, which the kernel moves and swaps; a device without an IOMMU needs "
            'hugepages: memory.backing = "hugepages"'
        )
    with mmap.mmap(fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE) as mapping:
        start = where(mapping)
        pagemap = os.open(root / "proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return tuple(_page(pagemap, start + at) for at in range(0, size, HUGEPAGE_BYTES))
        finally:
            os.close(pagemap)


def _page(pagemap: int, virtual: int) -> int:
    data = os.pread(pagemap, _ENTRY.size, virtual // _PAGE_BYTES * _ENTRY.size)
    entry = _ENTRY.unpack(data)[0] if len(data) == _ENTRY.size else 0
    frame: int = entry & _FRAME
    if not entry & _PRESENT:
        raise IxyfwdError("a page of the arena is not in memory; there are too few hugepages")
    if frame == 0:
        raise IxyfwdError(
            "the kernel hides physical addresses (/proc/self/pagemap says 0), which sysfs access needs; run "
            "as root (CAP_SYS_ADMIN), or bind the device to vfio-pci"
        )
    return frame * _PAGE_BYTES
