"""Transmit, in numpy."""

from typing import Final

import numpy as np

from ixyfwd.engine.contract import RS_INTERVAL
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

# 82599 datasheet 7.2.3.2.4
COMMAND: Final = 0x2330_0000  # d2: DEXT, IFCS, EOP, DTYP = 3
RS: Final = 1 << 27  # d2
DD: Final = 1 << 0  # d3
PAYLEN_SHIFT: Final = 14  # d3


class TxPiece:
    """Ready-made views of a run of slots and of as many entries of the batch."""

    def __init__(self, ring: "TxRing", batch: BatchViews, run: Run) -> None:
        slot, n, at = run
        views = ring.views
        slots, entries = slice(slot, slot + n), slice(at, at + n)
        self.ring_ids = views.ids[slots]
        self.descriptors = views.descriptors[slots]
        self.d2 = views.words[slots, 2]
        self.d3 = views.words[slots, 3]
        self.commands = ring.commands[slots]
        self.batch_ids = batch.cells[0, entries]
        self.batch_lengths = batch.cells[1, entries]
        self.index = np.empty(n, np.int64)
        self.ones = constant(1, n)
        self.payload_units = constant(1 << PAYLEN_SHIFT, n)


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
        self._pieces: dict[Run, TxPiece] = {}

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
        taken = min(n, room)
        if taken:
            total_bytes = 0
            for run in split(tail, taken, mask + 1):
                piece = self._pieces.get(run) or self._new_piece(run)
                total_bytes += self._post(piece)
            state[1] = self._tdt[0] = (tail + taken) & mask
            self._counters[PortWord.TX_PACKETS] += taken
            self._counters[PortWord.TX_BYTES] += total_bytes
        if taken < n:
            self._ring.give_back(self.batch.cells[0, taken:n])
            self._counters[PortWord.TX_FULL] += n - taken
        self._words[0] = 0
        return taken

    def _post(self, piece: TxPiece) -> int:
        """Write the descriptors of a piece; returns the bytes."""
        piece.ring_ids[...] = piece.batch_ids
        piece.index[...] = piece.batch_ids
        self._make(piece.index, 0, piece.descriptors, "clip")
        np.add(piece.batch_lengths, piece.commands, piece.d2)
        np.multiply(piece.batch_lengths, piece.payload_units, piece.d3)
        return int(piece.batch_lengths.dot(piece.ones))

    def _new_piece(self, run: Run) -> TxPiece:
        if len(self._pieces) >= MAX_PIECES:
            self._pieces.clear()
        piece = self._pieces[run] = TxPiece(self._ring, self.batch, run)
        return piece
