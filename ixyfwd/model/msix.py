"""Where interrupts would go: the MSI-X table in BAR4, and the eventfds that a client has left for each vector."""

import contextlib
import errno
import os

from ixyfwd.model.pciconfig import BAR4_BYTES, MSIX_VECTORS
from ixyfwd.vfiouser.protocol import DATA_MASK, Irq, IrqAction, IrqFlag, IrqInfo, IrqSet, RequestError

VECTOR_BYTES = 16
VECTOR_MASKED = 1
COUNTS = {Irq.INTX: 1, Irq.MSI: 1, Irq.MSIX: MSIX_VECTORS}
_FLAGS = {
    Irq.INTX: IrqFlag.EVENTFD | IrqFlag.MASKABLE | IrqFlag.AUTOMASKED,
    Irq.MSI: IrqFlag.EVENTFD | IrqFlag.NORESIZE,
    Irq.MSIX: IrqFlag.EVENTFD | IrqFlag.NORESIZE,
}


class MsixTable:
    """BAR4 as plain memory: 64 vectors of 16 bytes at 0, masked after reset; the pending bits at 0x2000."""

    def __init__(self) -> None:
        self._bytes = bytearray(BAR4_BYTES)
        self.reset()

    def reset(self) -> None:
        self._bytes[:] = bytes(BAR4_BYTES)
        for vector in range(MSIX_VECTORS):
            self._bytes[vector * VECTOR_BYTES + 12] = VECTOR_MASKED

    def read(self, offset: int, count: int) -> bytes:
        """Raises ValueError outside of the BAR."""
        _check(offset, count)
        return bytes(self._bytes[offset : offset + count])

    def write(self, offset: int, data: bytes) -> None:
        """Only the table is writable. Raises ValueError outside of the BAR."""
        _check(offset, len(data))
        end = min(offset + len(data), MSIX_VECTORS * VECTOR_BYTES)
        if end > offset:
            self._bytes[offset:end] = data[: end - offset]


def _check(offset: int, count: int) -> None:
    if offset < 0 or offset + count > BAR4_BYTES:
        raise ValueError(f"an access of {count} bytes at BAR4 + {offset:#x} leaves its {BAR4_BYTES:#x} bytes")


class IrqLines:
    """The client's eventfds by (kind, vector)."""

    def __init__(self) -> None:
        self._fds: dict[tuple[int, int], int] = {}

    def info(self, index: int) -> IrqInfo:
        kind = Irq(index) if index in COUNTS else None
        return IrqInfo(index, IrqFlag(0), 0) if kind is None else IrqInfo(index, _FLAGS[kind], COUNTS[kind])

    def set(self, request: IrqSet, fds: tuple[int, ...]) -> None:
        """Keep, drop or fire eventfds. Masking is accepted; nothing is ever sent that it would hold back.

        Raises RequestError.
        """
        count = self.info(request.index).count
        if request.start + request.count > count:
            raise RequestError(errno.EINVAL, f"interrupt kind {request.index} has {count} vectors")
        vectors = range(request.start, request.start + request.count)
        if request.flags & IrqAction.TRIGGER:
            self._set_trigger(request, vectors, fds)
        elif not request.flags & (IrqAction.MASK | IrqAction.UNMASK):
            raise RequestError(errno.EINVAL, "an interrupt set-up names no action")

    def _set_trigger(self, request: IrqSet, vectors: range, fds: tuple[int, ...]) -> None:
        data = request.flags & DATA_MASK
        if data == IrqAction.DATA_EVENTFD:
            if len(fds) not in (0, len(vectors)):
                raise RequestError(errno.EINVAL, f"{len(fds)} eventfds came for {len(vectors)} vectors")
            self._drop(request.index, vectors)
            for vector, fd in zip(vectors, fds, strict=False):
                self._fds[request.index, vector] = os.dup(fd)
        elif data == IrqAction.DATA_NONE and not vectors:
            self.drop_kind(request.index)
        elif data == IrqAction.DATA_NONE:
            self._fire(request.index, vectors)
        elif data == IrqAction.DATA_BOOL and len(request.data) >= len(vectors):
            self._fire(request.index, [v for v, on in zip(vectors, request.data, strict=False) if on])
        else:
            raise RequestError(errno.EINVAL, "an interrupt set-up has no or contradictory data")

    def _fire(self, index: int, vectors: range | list[int]) -> None:
        for vector in vectors:
            fd = self._fds.get((index, vector))
            if fd is not None:
                with contextlib.suppress(OSError):  # a full or odd descriptor is the client's own doing
                    os.write(fd, (1).to_bytes(8, "little"))

    def _drop(self, index: int, vectors: range) -> None:
        for vector in vectors:
            fd = self._fds.pop((index, vector), None)
            if fd is not None:
                os.close(fd)

    def drop_kind(self, index: int) -> None:
        self._drop(index, range(COUNTS.get(Irq(index), 0)) if index in COUNTS else range(0))

    def close(self) -> None:
        """Forget every eventfd."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
