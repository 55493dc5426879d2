"""Transmit, in numpy."""

from typing import Final

import numpy as np
from numpy import add, multiply

from ixyfwd.engine.contract import RS_INTERVAL
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

# 82599 datasheet 7.2.3.2.4
COMMAND: Final = 0x2330_0000  # d2: DEXT, IFCS, EOP, DTYP = 3
RS: Final = 1 << 27  # d2
DD: Final = 1 << 0  # d3
PAYLEN_SHIFT: Final = 14  # d3

TX_PACKETS: Final = int(PortWord.TX_PACKETS)
TX_BYTES: Final = int(PortWord.TX_BYTES)
TX_FULL: Final = int(PortWord.TX_FULL)


RingPiece = tuple[Words, Descriptors, Words, Words, Words]


class TxPiece:
    """Ready-made views of `n` entries of the batch from `at` on, with what goes with them."""

    def __init__(self, batch: BatchViews, payload_units: Words, at: int, n: int) -> None:
        self.ids = batch.cells[0, at : at + n]
        self.lengths = batch.cells[1, at : at + n]
        self.dot_lengths = self.lengths.dot
        self.index = batch.index[:n]
        self.ones = batch.ones[:n]
        self.payload_units = payload_units[:n]


class TxRing(Closable):
    """A transmit ring and what comes back from it."""

    def __init__(self, ring: RingViews, pool: PoolViews) -> None:
        self.views = ring
        self.state = ring.state
        self.mask = ring.entries - 1
        self._dwords = ring.dwords
        self._free = pool.state
        self._stack = pool.stack
        self.commands = constant(COMMAND, ring.entries)  # d2 of each slot but for the length
        self.commands[RS_INTERVAL - 1 :: RS_INTERVAL] |= np.uint32(RS)

    def clean(self) -> int:
        """See `engine.contract.TxQueue.clean`."""
        dwords, mask = self._dwords, self.mask
        clean = self.state[2]
        if not dwords[4 * (clean + RS_INTERVAL - 1) + 3] & DD:  # the usual answer, and safe: DD is cleared at reuse
            return 0
        pending = (self.state[1] - clean) & mask
        last_d3 = 4 * (clean + RS_INTERVAL - 1) + 3  # of the oldest interval
        dword_mask = 4 * mask + 3
        intervals = count_leading(
            lambda i: dwords[(last_d3 + 4 * RS_INTERVAL * i) & dword_mask] & DD, pending // RS_INTERVAL
        )
        freed = intervals * RS_INTERVAL
        for slot, count, _ in split(clean, freed, mask + 1):
            self.give_back(self.views.ids[slot : slot + count])
        self.state[2] = (clean + freed) & mask
        return freed

    def give_back(self, ids: Words) -> None:
        """Push buffers on the free stack."""
        free = self._free[0]
        self._stack[free : free + ids.size] = ids
        self._free[0] = free + ids.size


class TxBurst(Closable):
    """A transmit ring and the batch that it empties; `run` is the burst."""

    def __init__(
        self,
        ring: TxRing,
        batch: BatchViews,
        *,
        descriptors_by_id: Descriptors,
        counters: memoryview,
        tdt: memoryview,
    ) -> None:
        """`descriptors_by_id`: buffer address and zero for each buffer id. `counters`: the port's block."""
        self.batch = batch
        self._ring = ring
        self._words = batch.words
        self._state = ring.state
        self._make = descriptors_by_id.take
        self._counters = counters
        self._tdt = tdt
        self._mask = ring.mask
        self._half = ring.mask // 2
        self._limit = batch.batch.capacity
        self._full: dict[int, RingPiece] = {}  # of full bursts, which recur, by first slot
        self._pieces: dict[tuple[int, int], TxPiece] = {}  # by first entry and number
        self._payload_units = constant(1 << PAYLEN_SHIFT, self._limit)

    def run(self) -> int:
        """See `engine.contract.TxQueue.burst`."""
        n = self._words[0]
        if n == 0:
            return 0
        state, mask = self._state, self._mask
        tail = state[1]
        room = mask - ((tail - state[2]) & mask)
        if room < n or room <= self._half:
            room += self._ring.clean()
        taken = n if n <= room else room
        if taken:
            frame_bytes = 0
            for slot, count, at in split(tail, taken, mask + 1):
                ids, descriptors, d2, d3, commands = self._full.get(
                    slot if count == self._limit else -1
                ) or self._slots(slot, count)
                piece = self._pieces.get((at, count)) or self._new_piece(at, count)
                ids[...] = piece.index[...] = piece.ids
                self._make(piece.index, 0, descriptors, "clip")
                add(piece.lengths, commands, d2)
                multiply(piece.lengths, piece.payload_units, d3)
                frame_bytes += int(piece.dot_lengths(piece.ones))
            state[1] = self._tdt[0] = (tail + taken) & mask
            self._counters[TX_PACKETS] += taken
            self._counters[TX_BYTES] += frame_bytes
        if taken < n:
            self._ring.give_back(self.batch.cells[0, taken:n])
            self._counters[TX_FULL] += n - taken
        self._words[0] = 0
        return taken

    def _slots(self, slot: int, n: int) -> RingPiece:
        """Views of `n` slots from `slot` on. Those of partial bursts hardly ever recur and are not kept."""
        ring, slots = self._ring.views, slice(slot, slot + n)
        views = (ring.ids[slots], ring.descriptors[slots], ring.d2[slots], ring.d3[slots], self._ring.commands[slots])
        if n == self._limit:
            self._full[slot] = views
        return views

    def _new_piece(self, at: int, n: int) -> TxPiece:
        if len(self._pieces) >= MAX_PIECES:
            self._pieces.clear()
        piece = self._pieces[at, n] = TxPiece(self.batch, self._payload_units, at, n)
        return piece
