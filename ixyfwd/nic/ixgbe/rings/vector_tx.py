"""Transmit bursts in numpy."""

from typing import Final

import numpy as np
from numpy import add, multiply

from ixyfwd.engine.vector_views import (
    ADDRESS,
    LENGTH_SHIFT,
    MAX_SLOTS,
    MAX_STAGES,
    Addresses,
    BatchViews,
    Closable,
    Dwords,
    PoolViews,
    constant,
    count_leading,
    split,
)
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES, RS_INTERVAL
from ixyfwd.nic.ixgbe.descriptors import TX_COMMAND as COMMAND
from ixyfwd.nic.ixgbe.descriptors import TX_DD as DD
from ixyfwd.nic.ixgbe.descriptors import TX_PAYLEN_SHIFT as PAYLEN_SHIFT
from ixyfwd.nic.ixgbe.descriptors import TX_RS as RS
from ixyfwd.nic.ixgbe.rings.vector_ring import RingViews
from ixyfwd.telemetry.counters import PortWord

TX_PACKETS: Final = int(PortWord.TX_PACKETS)
TX_BYTES: Final = int(PortWord.TX_BYTES)
TX_FULL: Final = int(PortWord.TX_FULL)


TxSlots = tuple[memoryview, memoryview, memoryview]  # descriptors, buffer ids, read-format descriptors

TxRun = tuple[memoryview, memoryview, memoryview, memoryview, memoryview]  # and what goes into the first two


class TxStage:
    """Views of the first `n` entries of the batch, and of the space through which descriptors go into the ring."""

    def __init__(self, space: "TxSpace", batch: BatchViews, n: int) -> None:
        self.ids = batch.batch.ids[:n]
        self.id_cells = batch.cells[0, :n]
        self.index = batch.index[:n]
        self.lengths = batch.cells[1, :n]
        self.length_bytes = batch.batch.lengths[:n].tobytes

        self.made = space.made[:n]
        self.made_bytes = self.made.view(np.uint8).data
        self.second_half = self.made.view(np.uint64).reshape(-1, 2)[:, 1]

        # The second halves for lengths and a first slot modulo RS_INTERVAL as they were seen last.
        self.orders: Dwords = np.zeros((n, 2), np.uint32)
        self.order_words = self.orders.view(np.uint64)[:, 0]
        self.last_lengths = b""
        self.last_phase = 0
        self.frame_bytes = 0


class TxSpace:
    """Memory for `n` descriptors on their way into the ring. `made`: V16[n]."""

    def __init__(self, n: int) -> None:
        self.made: Addresses = np.zeros(n, ADDRESS)


class TxRing(Closable):
    """A transmit ring, and the return of its buffers to the pool.

    It keeps the read-format descriptor of each slot's buffer.
    """

    def __init__(self, ring: RingViews, pool: PoolViews) -> None:
        self.views = ring
        self.state = ring.state
        self.mask = ring.entries - 1
        self._dwords = ring.dwords
        self.pool = pool
        self._fresh = memoryview(bytearray(DESCRIPTOR_BYTES * ring.entries))

    def slots(self, slot: int, n: int) -> TxSlots:
        """Views of `n` slots from `slot` on, which must not cross the end."""
        fresh = self._fresh[DESCRIPTOR_BYTES * slot : DESCRIPTOR_BYTES * (slot + n)]
        return *self.views.slots(slot, n), fresh

    def clean(self) -> int:
        """Free the buffers of finished descriptors; see `engine.contract.TxQueue.clean`."""
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
            _, ids, fresh = self.slots(slot, count)
            self.pool.push_known(ids, fresh)
        self.state[2] = (clean + freed) & mask
        return freed


class TxBurst(Closable):
    """A transmit ring and the batch that it empties; `run` is the burst."""

    def __init__(
        self,
        ring: TxRing,
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
        self._words = batch.words
        self._state = ring.state
        self._make = addresses.take
        self._counters = counters
        self._tdt = tdt
        self._mask = ring.mask
        self._half = ring.mask // 2
        self._limit = batch.batch.capacity
        # Of earlier bursts: lengths that recur bring a ring's slots back sooner or later.
        self._straight: dict[int, TxSlots] = {}
        self._around: dict[int, tuple[TxRun, ...]] = {}  # those that go around the end of the ring
        self._stages: dict[int, TxStage] = {}  # by number of descriptors
        self._space = TxSpace(self._limit)
        self._commands = constant(COMMAND, RS_INTERVAL + self._limit)  # d2 but for the length, from slot 0 on
        self._commands[RS_INTERVAL - 1 :: RS_INTERVAL] |= np.uint32(RS)
        self._payload_units = constant(1 << PAYLEN_SHIFT, self._limit)

    def run(self) -> int:
        """Send a burst; see `engine.contract.TxQueue.burst`."""
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
            frame_bytes = self._post(tail, taken)
            state[1] = self._tdt[0] = (tail + taken) & mask
            self._counters[TX_PACKETS] += taken
            self._counters[TX_BYTES] += frame_bytes
        if taken < n:
            self._ring.pool.push_all(self.batch.cells[0, taken:n])
            self._counters[TX_FULL] += n - taken
        self._words[0] = 0
        return taken

    def _post(self, tail: int, n: int) -> int:
        """Write the descriptors of the first `n` frames. Returns their bytes."""
        stage = self._stages.get(n) or self._new_stage(n)
        stage.index[...] = stage.id_cells
        self._make(stage.index, 0, stage.made, "clip")
        lengths, phase = stage.length_bytes(), tail & (RS_INTERVAL - 1)
        if lengths != stage.last_lengths or phase != stage.last_phase:
            self._order(stage, lengths, phase)
        if tail + n <= self._mask + 1:
            descriptors, ids, fresh = self._straight.get(tail | n << LENGTH_SHIFT) or self._slots(tail, n)
            fresh[:] = stage.made_bytes
            stage.second_half[...] = stage.order_words
            descriptors[:] = stage.made_bytes
            ids[:] = stage.ids
        else:
            self._put_around(stage, tail, n)
        return stage.frame_bytes

    def _order(self, stage: TxStage, lengths: bytes, phase: int) -> None:
        """Prepare the second halves of descriptors for these lengths."""
        add(stage.lengths, self._commands[phase : phase + stage.lengths.size], stage.orders[:, 0])
        multiply(stage.lengths, self._payload_units[: stage.lengths.size], stage.orders[:, 1])
        stage.frame_bytes = self.batch.total(lengths)
        stage.last_lengths, stage.last_phase = lengths, phase

    def _put_around(self, stage: TxStage, tail: int, n: int) -> None:
        """Put descriptors and ids into the slots, around the end of the ring."""
        runs = self._around.get(tail | n << LENGTH_SHIFT) or self._runs(stage, tail, n)
        for _, ids, fresh, made, sent_ids in runs:
            fresh[:] = made
            ids[:] = sent_ids
        stage.second_half[...] = stage.order_words
        for descriptors, _, _, made, _ in runs:
            descriptors[:] = made

    def _runs(self, stage: TxStage, tail: int, n: int) -> tuple[TxRun, ...]:
        """The two runs of `n` slots from `tail` on."""
        runs: list[TxRun] = []
        for slot, count, at in split(tail, n, self._mask + 1):
            made = stage.made_bytes[DESCRIPTOR_BYTES * at : DESCRIPTOR_BYTES * (at + count)]
            runs.append((*self._ring.slots(slot, count), made, stage.ids[at : at + count]))
        if len(self._around) >= MAX_SLOTS:
            self._around.clear()
        kept = self._around[tail | n << LENGTH_SHIFT] = tuple(runs)
        return kept

    def _slots(self, slot: int, n: int) -> TxSlots:
        """`n` slots from `slot` on, which do not go around the end."""
        if len(self._straight) >= MAX_SLOTS:
            self._straight.clear()
        slots = self._straight[slot | n << LENGTH_SHIFT] = self._ring.slots(slot, n)
        return slots

    def _new_stage(self, n: int) -> TxStage:
        if len(self._stages) >= MAX_STAGES:
            self._stages.clear()
            self._around.clear()  # which has views of stages
        stage = self._stages[n] = TxStage(self._space, self.batch, n)
        return stage
