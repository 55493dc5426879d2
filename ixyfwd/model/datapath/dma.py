"""The memory that a client lets the device reach."""

import errno
from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from ixyfwd.vfiouser.protocol import DMA_READABLE, DMA_WRITEABLE, DmaMapping, RequestError
from ixyfwd.vfiouser.version import MAX_DMA_MAPS

if TYPE_CHECKING:
    from ixyfwd.model.datapath.binding import DatapathPort

ADDRESS_LIMIT = 1 << 64


class DmaMappings:
    """The DMA mappings of a client. Mappings with a file are handed to the data path.

    One without a file (ROM of a virtual machine) could be reached only by asking the client for every byte, which the
    data path never does: it is remembered, and DMA there is the fault `dma_unmapped`.
    """

    def __init__(self, datapath: "DatapathPort") -> None:
        self._datapath = datapath
        self._known: dict[int, tuple[int, bool]] = {}  # address: (size, reachable)
        self._starts: list[int] = []  # sorted

    def map(self, mapping: DmaMapping, fd: int | None) -> None:
        """Add a mapping; `fd` stays the caller's. Raises RequestError: EEXIST on overlap, EINVAL, ENOSPC."""
        end = mapping.address + mapping.size
        if mapping.size == 0 or end > ADDRESS_LIMIT or not mapping.flags & (DMA_READABLE | DMA_WRITEABLE):
            raise RequestError(errno.EINVAL, "a DMA mapping is empty, without permission, or leaves the address space")
        at = bisect_left(self._starts, end)  # the last mapping that begins before this one ends
        if at and self._starts[at - 1] + self._known[self._starts[at - 1]][0] > mapping.address:
            raise RequestError(errno.EEXIST, f"a DMA mapping at {mapping.address:#x} overlaps another")
        if len(self._known) >= MAX_DMA_MAPS:
            raise RequestError(errno.ENOSPC, f"there are {MAX_DMA_MAPS} DMA mappings already")
        if fd is not None:
            self._map_file(mapping, fd)
        self._known[mapping.address] = mapping.size, fd is not None
        insort(self._starts, mapping.address)

    def _map_file(self, mapping: DmaMapping, fd: int) -> None:
        readable = bool(mapping.flags & DMA_READABLE)
        writable = bool(mapping.flags & DMA_WRITEABLE)
        try:
            self._datapath.map_dma(mapping.address, mapping.size, fd, mapping.offset, readable, writable)
        except FileExistsError as error:
            raise RequestError(errno.EEXIST, str(error)) from None
        except (ValueError, OverflowError) as error:
            raise RequestError(errno.EINVAL, str(error)) from None
        except OSError as error:
            raise RequestError(error.errno or errno.EIO, str(error)) from None

    def unmap(self, address: int, size: int) -> None:
        """Take back all mappings inside a range of `size` bytes, as Linux's VFIO does.

        Behind a virtual IOMMU a client unmaps whole regions of its table, with several mappings in them or none.
        Raises RequestError with EINVAL if the range cuts through a mapping.
        """
        end = address + size
        inside = self._starts[bisect_left(self._starts, address) : bisect_left(self._starts, end)]
        before = bisect_left(self._starts, address) - 1
        cut_low = before >= 0 and self._end(self._starts[before]) > address
        if size == 0 or end > ADDRESS_LIMIT or cut_low or (inside and self._end(inside[-1]) > end):
            raise RequestError(errno.EINVAL, f"the {size:#x} bytes at {address:#x} are no whole DMA mappings")
        for start in inside:
            known, reachable = self._known.pop(start)
            if reachable:
                self._datapath.unmap_dma(start, known)
        at = bisect_left(self._starts, address)
        del self._starts[at : at + len(inside)]

    def _end(self, start: int) -> int:
        return start + self._known[start][0]

    def unmap_all(self) -> None:
        """Take back all mappings, also those without a file."""
        self._datapath.unmap_all()
        self._known.clear()
        self._starts.clear()
