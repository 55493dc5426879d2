"""Bursts of frames over several buffers, in numpy.

An entry of the batch is a segment; the last one of a frame has EOP in its status. Both
directions take whole frames only.
"""

import numpy as np
from numpy.typing import NDArray

from ixyfwd.engine.vector_views import (
    Addresses,
    BatchViews,
    Closable,
    Dwords,
    Index,
    PoolViews,
    count_leading,
    split,
)
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES, RS_INTERVAL, RX_DD, TX_DD, TX_EOP
from ixyfwd.nic.ixgbe.descriptors import RX_EOP as EOP
from ixyfwd.nic.ixgbe.descriptors import RX_RXE as RXE
from ixyfwd.nic.ixgbe.descriptors import TX_COMMAND as COMMAND
from ixyfwd.nic.ixgbe.descriptors import TX_PAYLEN_SHIFT as PAYLEN_SHIFT
from ixyfwd.nic.ixgbe.descriptors import TX_RS as RS
from ixyfwd.nic.ixgbe.rings.vector_ring import RingViews
from ixyfwd.nic.ixgbe.rings.vector_rx import RX_BYTES, RX_ERRORS, RX_NO_BUFFER, RX_PACKETS
from ixyfwd.nic.ixgbe.rings.vector_tx import TX_BYTES, TX_FULL, TX_PACKETS


def frame_ends(status: Dwords) -> Index:
    """The indices, int64[m], of entries that end a frame. `status`: uint32[n], the batch's column."""
    return np.flatnonzero(status & np.uint32(EOP))


class SegmentedRxBurst(Closable):
    """A receive ring and the batch of segments that it fills; `run` is the burst."""

    def __init__(
        self,
        ring: RingViews,
        pool: PoolViews,
        batch: BatchViews,
        *,
        counters: memoryview,
        rdt: memoryview,
    ) -> None:
        """Bind to a batch.

        `counters`: uint64[32], the port's block of the counters page. `rdt`: uint32[1],
        the tail register.
        """
        self.batch = batch
        self._ring = ring
        self._state = ring.state
        self._pool = pool
        self._counters = counters
        self._rdt = rdt
        self._mask = ring.entries - 1
        self._limit = min(batch.batch.capacity, self._mask)

    def run(self) -> int:
        """Receive a burst; see `engine.contract.RxQueue.burst`."""
        next_ = self._state[0]
        n = self._count_done(next_)
        if n > self._pool.state[0]:
            n = self._pool.state[0]
            self._counters[RX_NO_BUFFER] += 1
        ends = self._read(next_, n)
        # Without any EOP: not finished yet, or longer than any burst, and then dropped piece by piece.
        n = int(ends[-1]) + 1 if ends.size else n if n == self._limit else 0
        self.batch.words[0] = 0
        if n == 0:
            return 0
        # Together, and before the descriptors are overwritten: see segments.c.
        self._state[0] = (next_ + n) & self._mask
        self._counters[RX_PACKETS] += ends.size
        self._counters[RX_BYTES] += int(self.batch.cells[1, :n].sum())
        self._refill(next_, n)
        kept = self._drop_errors(n, ends)
        self.batch.words[0] = kept
        return kept

    def _count_done(self, next_: int) -> int:
        dwords, mask = self._ring.dwords, self._mask
        return count_leading(lambda i: dwords[4 * ((next_ + i) & mask) + 2] & RX_DD, self._limit)

    def _read(self, next_: int, n: int) -> Index:
        """Copy descriptors into the batch; returns the indices of those that end a frame."""
        ring, cells = self._ring, self.batch.cells
        for slot, count, at in split(next_, n, ring.entries):
            slots, entries = slice(slot, slot + count), slice(at, at + count)
            cells[0, entries] = ring.ids[slots]
            cells[1, entries] = ring.lengths[slots]
            cells[2:4, entries] = ring.hash_and_status[:, slots]
        return frame_ends(cells[3, :n])

    def _refill(self, next_: int, n: int) -> None:
        ring, free = self._ring, self._pool.state[0]
        for slot, count, at in split(next_, n, ring.entries):
            first, end = free - n + at, free - n + at + count
            ring.ids[slot : slot + count] = self._pool.stack[first:end]
            ring.slots(slot, count)[0][:] = self._pool.fresh[DESCRIPTOR_BYTES * first : DESCRIPTOR_BYTES * end]
        self._pool.state[0] = free - n
        self._state[1] = self._rdt[0] = (next_ + n - 1) & self._mask

    def _drop_errors(self, n: int, ends: Index) -> int:
        """Free frames with an error, and those that began in an earlier burst that could not hold them.

        Returns the number of entries that are left.
        """
        cells = self.batch.cells[:, :n]
        bad: NDArray[np.bool_] = np.ones(ends.size + 1, np.bool_)  # the last stands for what has no EOP
        bad[:-1] = cells[3, ends] & np.uint32(RXE)
        if self._state[3] and ends.size:
            bad[0] = True
        errors = int(np.count_nonzero(bad[:-1]))
        self._state[3] = 0 if ends.size else 1  # a burst ends with an EOP if it has one
        if ends.size and not errors:
            return n
        frame_of = np.searchsorted(ends, np.arange(n))
        unwanted = cells[0, bad[frame_of]]
        self._pool.push_all(unwanted)
        kept: int = n - unwanted.size
        cells[:, :kept] = cells[:, ~bad[frame_of]]
        self._counters[RX_ERRORS] += errors
        return kept


class SegmentedTxRing(Closable):
    """A transmit ring, and the return of its buffers to the pool, a frame of segments at a time."""

    def __init__(self, ring: RingViews, pool: PoolViews) -> None:
        self.views = ring
        self.state = ring.state
        self.mask = ring.entries - 1
        self.pool = pool

    def clean(self) -> int:
        """Free the buffers of finished descriptors; see `engine.contract.TxQueue.clean`.

        RS is in the frame that has an interval's last slot, at its EOP: the first DD
        from that slot on, if any.
        """
        dwords, mask, clean = self.views.dwords, self.mask, self.state[2]
        pending = (self.state[1] - clean) & mask
        freed = 0
        while True:
            at = freed + RS_INTERVAL - 1 - (clean + freed) % RS_INTERVAL
            stop = min(at + RS_INTERVAL, pending)
            while at < stop and not dwords[4 * ((clean + at) & mask) + 3] & TX_DD:
                at += 1
            if at >= stop:
                break
            freed = at + 1
        for slot, count, _ in split(clean, freed, mask + 1):
            self.pool.push_all(self.views.ids[slot : slot + count])
        self.state[2] = (clean + freed) & mask
        return freed


class SegmentedTxBurst(Closable):
    """A transmit ring and the batch of segments that it empties; `run` is the burst."""

    def __init__(
        self,
        ring: SegmentedTxRing,
        batch: BatchViews,
        *,
        addresses: Addresses,
        counters: memoryview,
        tdt: memoryview,
    ) -> None:
        """Bind to a batch.

        `addresses`: V16[buffers], by buffer id. `counters`: uint64[32], the port's
        block of the counters page. `tdt`: uint32[1], the tail register.
        """
        self.batch = batch
        self._ring = ring
        self._state = ring.state
        self._addresses = addresses
        self._counters = counters
        self._tdt = tdt
        self._mask = ring.mask

    def run(self) -> int:
        """Send a burst; see `engine.contract.TxQueue.burst`."""
        n = self.batch.words[0]
        if n == 0:
            return 0
        room = self._mask - ((self._state[1] - self._state[2]) & self._mask)
        if room < n or room <= self._mask // 2:
            room += self._ring.clean()
        ends = frame_ends(self.batch.cells[3, :n])
        if not ends.size or ends[-1] != n - 1:
            ends = np.append(ends, n - 1)  # the end of the batch ends a frame too
        frames = int(np.searchsorted(ends, room))  # an entry `room` would find none
        taken = int(ends[frames - 1]) + 1 if frames else 0
        if taken:
            frame_bytes = self._post(self._state[1], taken, ends[:frames])
            self._state[1] = self._tdt[0] = (self._state[1] + taken) & self._mask
            self._counters[TX_PACKETS] += frames
            self._counters[TX_BYTES] += frame_bytes
        if taken < n:
            self._ring.pool.push_all(self.batch.cells[0, taken:n])
            self._counters[TX_FULL] += ends.size - frames
        self.batch.words[0] = 0
        return taken

    def _post(self, tail: int, n: int, ends: Index) -> int:
        """Write the descriptors; returns the bytes of their frames.

        The device reads PAYLEN in the first descriptor of a frame, and RS is permitted
        only beside EOP (7.2.3.2.4).
        """
        ids, lengths = self.batch.cells[0, :n], self.batch.cells[1, :n]
        starts = np.zeros_like(ends)
        starts[1:] = ends[:-1] + 1
        frame_bytes = np.add.reduceat(lengths, starts)
        d2 = lengths + np.uint32(COMMAND & ~TX_EOP)
        d2[ends] |= np.uint32(TX_EOP)
        last_slots = np.arange(RS_INTERVAL - 1 - tail % RS_INTERVAL, n, RS_INTERVAL)
        d2[ends[np.searchsorted(ends, last_slots)]] |= np.uint32(RS)
        d3 = np.zeros(n, np.uint32)
        d3[starts] = frame_bytes << np.uint32(PAYLEN_SHIFT)
        ring = self._ring.views
        for slot, count, at in split(tail, n, self._mask + 1):
            slots, entries = slice(slot, slot + count), slice(at, at + count)
            ring.ids[slots] = ids[entries]
            ring.descriptors[slots] = self._addresses[ids[entries]]
            ring.d2[slots] = d2[entries]
            ring.d3[slots] = d3[entries]
        return int(frame_bytes.sum())
