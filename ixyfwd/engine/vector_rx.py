"""Receive, in numpy."""

from typing import Final

import numpy as np

from ixyfwd.engine.vector_views import (
    MAX_PIECES,
    BatchViews,
    Closable,
    Descriptors,
    PoolViews,
    RingViews,
    Run,
    Words,
    constant,
    count_leading,
    split,
)
from ixyfwd.telemetry.counters import PortWord

# 82599 datasheet 7.1.6.2, d2
DD: Final = 1 << 0
EOP: Final = 1 << 1
RXE: Final = 1 << 29


class RxPiece:
    """Ready-made views of a run of slots and of as many entries of the batch."""

    def __init__(self, ring: RingViews, batch: BatchViews, run: Run) -> None:
        slot, n, at = run
        slots, entries = slice(slot, slot + n), slice(at, at + n)
        self.ring_columns = ring.words[slots, 1:3].T  # hash and status, one row each
        self.ring_lengths = ring.halves[slots, 6]
        self.ring_ids = ring.ids[slots]
        self.descriptors = ring.descriptors[slots]
        self.batch_columns = batch.cells[2:4, entries]
        self.batch_lengths = batch.cells[1, entries]
        self.batch_ids = batch.cells[0, entries]
        self.batch_status = batch.cells[3, entries]
        self.index = np.empty(n, np.int64)
        self.ones = constant(1, n)
        self.checked = constant(EOP | RXE, n)
        self.found = np.empty(n, np.uint32)
        self.found_bytes = self.found.data.cast("B")
        self.good_bytes = constant(EOP, n).data.cast("B")


class RxBurst(Closable):
    """A receive ring and the batch that it fills; `run` is the burst."""

    def __init__(
        self,
        ring: RingViews,
        pool: PoolViews,
        batch: BatchViews,
        *,
        descriptors_by_id: Descriptors,
        counters: memoryview,
        rdt: memoryview,
    ) -> None:
        """`descriptors_by_id`: the read-format descriptor of each buffer id. `counters`: the port's block."""
        self.batch = batch
        self._ring = ring
        self._words = batch.words
        self._dwords = ring.dwords
        self._state = ring.state
        self._free = pool.state
        self._stack = pool.stack
        self._make = descriptors_by_id.take
        self._counters = counters
        self._rdt = rdt
        self._mask = ring.entries - 1
        self._limit = min(batch.batch.capacity, self._mask)
        self._pieces: dict[Run, RxPiece] = {}

    def run(self) -> int:
        """See `engine.contract.RxQueue.burst`."""
        state, mask = self._state, self._mask
        next_ = state[0]
        n = self._count_done(next_)
        free = self._free[0]
        if n > free:
            n = free
            self._counters[PortWord.RX_NO_BUFFER] += 1
        if n == 0:
            self._words[0] = 0
            return 0
        total_bytes, good = 0, not state[3]
        for run in split(next_, n, mask + 1):
            piece = self._pieces.get(run) or self._new_piece(run)
            total_bytes += self._take(piece)
            good = good and piece.found_bytes == piece.good_bytes
            first = free - n + run[2]
            self._refill(piece, self._stack[first : first + run[1]])
        self._free[0] = free - n
        state[0] = (next_ + n) & mask
        state[1] = self._rdt[0] = (next_ + n - 1) & mask
        return self._finish(n, total_bytes, good)

    def _count_done(self, next_: int) -> int:
        dwords, mask = self._dwords, self._mask
        if not dwords[4 * next_ + 2] & DD:
            return 0
        limit = self._limit
        if dwords[4 * ((next_ + limit - 1) & mask) + 2] & DD:
            return limit
        return count_leading(lambda i: dwords[4 * ((next_ + i) & mask) + 2] & DD, limit)

    def _take(self, piece: RxPiece) -> int:
        """Copy finished descriptors into the batch; returns the bytes."""
        piece.batch_columns[...] = piece.ring_columns
        piece.batch_lengths[...] = piece.ring_lengths
        piece.batch_ids[...] = piece.ring_ids
        np.bitwise_and(piece.batch_status, piece.checked, piece.found)
        return int(piece.batch_lengths.dot(piece.ones))

    def _refill(self, piece: RxPiece, fresh: Words) -> None:
        piece.ring_ids[...] = fresh
        piece.index[...] = fresh
        self._make(piece.index, 0, piece.descriptors, "clip")

    def _finish(self, n: int, total_bytes: int, good: bool) -> int:
        kept, frames = (n, n) if good else self._drop_errors(n)
        self._words[0] = kept
        counters = self._counters
        counters[PortWord.RX_PACKETS] += frames
        counters[PortWord.RX_BYTES] += total_bytes
        if frames != kept:
            counters[PortWord.RX_ERRORS] += frames - kept
        return kept

    def _drop_errors(self, n: int) -> tuple[int, int]:
        """Close the gaps that unwanted descriptors leave in the batch and free their buffers.

        Returns how many entries are left and how many frames ended here. A frame that spans several descriptors is
        one error, counted at its EOP.
        """
        cells = self.batch.cells[:, :n]
        status = cells[3]
        eop = (status & np.uint32(EOP)) != 0
        spanning = np.empty(n, np.bool_)
        spanning[0] = self._state[3]
        spanning[1:] = ~eop[:-1]
        wanted = eop & ~spanning & ((status & np.uint32(RXE)) == 0)
        unwanted = cells[0, ~wanted]
        free = self._free[0]
        self._stack[free : free + unwanted.size] = unwanted
        self._free[0] = free + unwanted.size
        self._state[3] = 0 if eop[-1] else 1
        kept = n - unwanted.size
        cells[:, :kept] = cells[:, wanted]
        return kept, int(np.count_nonzero(eop))

    def _new_piece(self, run: Run) -> RxPiece:
        if len(self._pieces) >= MAX_PIECES:
            self._pieces.clear()
        piece = self._pieces[run] = RxPiece(self._ring, self.batch, run)
        return piece
