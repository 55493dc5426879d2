"""Receive, in numpy."""

from typing import Final

import numpy as np
from numpy import bitwise_and
from numpy.typing import NDArray

from ixyfwd.engine.vector_views import (
    MAX_PIECES,
    BatchViews,
    Closable,
    Descriptors,
    PoolViews,
    RingViews,
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

# Plain ints: looking a member of an enumeration up and using it as an index costs as much as a memory copy.
RX_PACKETS: Final = int(PortWord.RX_PACKETS)
RX_BYTES: Final = int(PortWord.RX_BYTES)
RX_ERRORS: Final = int(PortWord.RX_ERRORS)
RX_NO_BUFFER: Final = int(PortWord.RX_NO_BUFFER)


RingPiece = tuple[Words, NDArray[np.uint16], Words, Descriptors]


class RxPiece:
    """Ready-made views of `n` entries of the batch from `at` on, with what goes with them."""

    def __init__(self, batch: BatchViews, checked: Words, scratch: Words, good: bytes, at: int, n: int) -> None:  # noqa: PLR0917
        entries = slice(at, at + n)
        self.hash_and_status = batch.cells[2:4, entries]
        self.lengths = batch.cells[1, entries]
        self.dot_lengths = self.lengths.dot  # with ones: the cheapest sum that numpy has
        self.ids = batch.cells[0, entries]
        self.status = batch.cells[3, entries]
        self.index = batch.index[:n]
        self.ones = batch.ones[:n]
        self.checked = checked[:n]
        self.found = scratch[:n]
        self.found_bytes = self.found.tobytes  # comparing bytes is one memcmp, comparing memoryviews is not
        self.good_bytes = good[: 4 * n]


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
        self._full: dict[int, RingPiece] = {}  # of full bursts, which recur, by first slot
        self._pieces: dict[tuple[int, int], RxPiece] = {}  # by first entry and number
        self._checked = constant(EOP | RXE, self._limit)
        self._scratch = constant(0, self._limit)
        self._good = constant(EOP, self._limit).tobytes()

    def run(self) -> int:
        """See `engine.contract.RxQueue.burst`."""
        state, free_count = self._state, self._free
        n = self._count_done(next_ := state[0])
        free = free_count[0]
        if n > free:
            n = free
            self._counters[RX_NO_BUFFER] += 1
        if n == 0:
            self._words[0] = 0
            return 0
        frame_bytes, good = 0, not state[3]
        for slot, count, at in split(next_, n, self._mask + 1):
            columns, lengths, ids, descriptors = self._full.get(slot if count == self._limit else -1) or self._slots(
                slot, count
            )
            piece = self._pieces.get((at, count)) or self._new_piece(at, count)
            piece.hash_and_status[...] = columns
            piece.lengths[...] = lengths
            piece.ids[...] = ids
            bitwise_and(piece.status, piece.checked, piece.found)
            good = good and piece.found_bytes() == piece.good_bytes
            frame_bytes += int(piece.dot_lengths(piece.ones))
            first = free - n + at
            ids[...] = piece.index[...] = self._stack[first : first + count]
            self._make(piece.index, 0, descriptors, "clip")
        free_count[0] = free - n
        state[0] = (next_ + n) & self._mask
        state[1] = self._rdt[0] = (next_ + n - 1) & self._mask
        kept, frames = (n, n) if good else self._drop_errors(n)
        self._words[0] = kept
        counters = self._counters
        counters[RX_PACKETS] += frames
        counters[RX_BYTES] += frame_bytes
        if frames != kept:
            counters[RX_ERRORS] += frames - kept
        return kept

    def _count_done(self, next_: int) -> int:
        dwords, mask, limit = self._dwords, self._mask, self._limit
        if not dwords[4 * next_ + 2] & DD:
            return 0
        if dwords[4 * ((next_ + limit - 1) & mask) + 2] & DD:
            return limit
        return count_leading(lambda i: dwords[4 * ((next_ + i) & mask) + 2] & DD, limit)

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

    def _slots(self, slot: int, n: int) -> RingPiece:
        """Views of `n` slots from `slot` on. Those of partial bursts hardly ever recur and are not kept."""
        ring, slots = self._ring, slice(slot, slot + n)
        views = (ring.hash_and_status[:, slots], ring.lengths[slots], ring.ids[slots], ring.descriptors[slots])
        if n == self._limit:
            self._full[slot] = views
        return views

    def _new_piece(self, at: int, n: int) -> RxPiece:
        if len(self._pieces) >= MAX_PIECES:
            self._pieces.clear()
        piece = self._pieces[at, n] = RxPiece(self.batch, self._checked, self._scratch, self._good, at, n)
        return piece
