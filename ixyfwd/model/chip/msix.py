"""Where interrupts would go: the MSI-X table in BAR4, and the eventfds that a client has left for each vector."""

import contextlib
import errno
import os
import select

from ixyfwd.model.chip.pciconfig import BAR4_BYTES, MSIX_PBA_OFFSET, MSIX_VECTORS, PciConfig
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
    """The MSI-X table and pending bits: BAR4 as plain memory.

    64 vectors of 16 bytes at 0, masked after reset; the pending bits at 0x2000.
    """

    def __init__(self) -> None:
        self._bytes = bytearray(BAR4_BYTES)
        self.reset()

    def reset(self) -> None:
        """Clear the table and mask all vectors, as after power-on."""
        self._bytes[:] = bytes(BAR4_BYTES)
        for vector in range(MSIX_VECTORS):
            self._bytes[vector * VECTOR_BYTES + 12] = VECTOR_MASKED

    def masked(self, vector: int) -> bool:
        """Whether the mask bit of the vector's table entry is set."""
        return bool(self._bytes[vector * VECTOR_BYTES + 12] & VECTOR_MASKED)

    def unmask(self, vector: int) -> None:
        """Clear the mask bit of a vector, as the kernel does when a driver requests the vector."""
        self._bytes[vector * VECTOR_BYTES + 12] &= ~VECTOR_MASKED

    def show_pending(self, vectors: int) -> None:
        """One bit for each vector that would send, were it not masked."""
        self._bytes[MSIX_PBA_OFFSET : MSIX_PBA_OFFSET + 8] = vectors.to_bytes(8, "little")

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes of BAR4. Raises ValueError outside of the BAR."""
        _check(offset, count)
        return bytes(self._bytes[offset : offset + count])

    def write(self, offset: int, data: bytes) -> None:
        """Write to BAR4; only the table is writable. Raises ValueError outside of the BAR."""
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
        self._masked: set[tuple[int, int]] = set()

    def info(self, index: int) -> IrqInfo:
        """The answer to VFIO_DEVICE_GET_IRQ_INFO for the kind of interrupt `index`; 0 vectors of an unknown kind."""
        kind = Irq(index) if index in COUNTS else None
        return IrqInfo(index, IrqFlag(0), 0) if kind is None else IrqInfo(index, _FLAGS[kind], COUNTS[kind])

    def set(self, request: IrqSet, fds: tuple[int, ...]) -> None:
        """Keep, drop, fire, mask or unmask eventfds. Raises RequestError."""
        count = self.info(request.index).count
        if request.start + request.count > count:
            raise RequestError(errno.EINVAL, f"interrupt kind {request.index} has {count} vectors")
        vectors = range(request.start, request.start + request.count)
        if request.flags & IrqAction.TRIGGER:
            self._set_trigger(request, vectors, fds)
        elif request.flags & (IrqAction.MASK | IrqAction.UNMASK):
            self._set_mask(request, vectors)
        else:
            raise RequestError(errno.EINVAL, "an interrupt set-up names no action")

    def _set_mask(self, request: IrqSet, vectors: range) -> None:
        if request.flags & DATA_MASK == IrqAction.DATA_EVENTFD:
            raise RequestError(errno.EINVAL, "interrupts are masked and unmasked by messages, not by eventfds")
        chosen = _chosen(request, vectors)
        if request.flags & IrqAction.MASK:
            self._masked.update((request.index, vector) for vector in chosen)
        else:
            self._masked.difference_update((request.index, vector) for vector in chosen)

    def kind(self) -> Irq | None:
        """The kind of interrupt that the client has set up; the best, should there be several."""
        used = {index for index, _ in self._fds}
        return next((kind for kind in (Irq.MSIX, Irq.MSI, Irq.INTX) if kind in used), None)

    def open(self, kind: Irq, vector: int) -> bool:
        """Whether there is an eventfd and the client has not masked it."""
        return (kind, vector) in self._fds and (kind, vector) not in self._masked

    def send(self, kind: Irq, vector: int) -> None:
        """Send an interrupt. INTx masks itself with it, as VFIO has it, until the client unmasks it."""
        self._fire(kind, [vector])
        if kind == Irq.INTX:
            self._masked.add((kind, vector))

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
        else:
            self._fire(request.index, _chosen(request, vectors))

    def _fire(self, index: int, vectors: range | list[int]) -> None:
        for vector in vectors:
            fd = self._fds.get((index, vector))
            if fd is not None:
                _signal(fd)

    def _drop(self, index: int, vectors: range) -> None:
        for vector in vectors:
            self._masked.discard((index, vector))
            fd = self._fds.pop((index, vector), None)
            if fd is not None:
                os.close(fd)

    def drop_kind(self, index: int) -> None:
        """Detach all eventfds from the kind of interrupt `index`; nothing to do for an unknown kind."""
        self._drop(index, range(COUNTS.get(Irq(index), 0)) if index in COUNTS else range(0))

    def close(self) -> None:
        """Forget every eventfd."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        self._masked.clear()


def _signal(fd: int) -> None:
    """Count an eventfd up, without waiting: a client may have left it blocking and full, and then knows already."""
    ready = select.poll()
    ready.register(fd, select.POLLOUT)
    with contextlib.suppress(OSError):  # an odd descriptor is the client's own doing
        if ready.poll(0):
            os.write(fd, (1).to_bytes(8, "little"))


def _chosen(request: IrqSet, vectors: range) -> list[int]:
    """The vectors that a request without eventfds is about."""
    data = request.flags & DATA_MASK
    if data == IrqAction.DATA_NONE:
        return list(vectors)
    if data == IrqAction.DATA_BOOL and len(request.data) >= len(vectors):
        return [vector for vector, on in zip(vectors, request.data, strict=False) if on]
    raise RequestError(errno.EINVAL, "an interrupt set-up has no or contradictory data")


class Messages:
    """The path of an interrupt to the client: masks of the client, of BAR4, of configuration space."""

    def __init__(self, table: MsixTable, lines: IrqLines, config: PciConfig) -> None:
        self._table = table
        self._lines = lines
        self._config = config

    def set(self, request: IrqSet, fds: tuple[int, ...]) -> None:
        """Carry out VFIO_DEVICE_SET_IRQS. Raises RequestError.

        An eventfd for an MSI-X vector unmasks it, as under VFIO, where the kernel owns the table: clients like QEMU
        keep the guest's table to themselves. A client that writes BAR4 afterwards has the last word.
        """
        self._lines.set(request, fds)
        if request.index == Irq.MSIX and fds:
            for vector in range(request.start, request.start + request.count):
                self._table.unmask(vector)

    def kind(self) -> Irq | None:
        """The kind of interrupt in use, if any."""
        return self._lines.kind()

    def send(self, kind: Irq, vector: int) -> bool:
        """Whether it went out; False: masked, or no eventfd is attached."""
        masked = {
            Irq.MSIX: self._config.msix_function_masked or self._table.masked(vector),
            Irq.INTX: self._config.intx_disabled,
        }
        if masked.get(kind, False) or not self._lines.open(kind, vector):
            return False
        self._lines.send(kind, vector)
        return True

    def show_pending(self, vectors: int) -> None:
        """The pending bits of BAR4."""
        self._table.show_pending(vectors)
