"""Receive bursts in numpy."""

from typing import Final

import numpy as np

from ixyfwd.engine.vector_views import (
    LENGTH_SHIFT,
    MAX_SLOTS,
    MAX_STAGES,
    BatchViews,
    Closable,
    Dwords,
    PoolViews,
    constant,
    count_leading,
    split,
)
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES
from ixyfwd.nic.ixgbe.descriptors import RX_DD as DD
from ixyfwd.nic.ixgbe.descriptors import RX_EOP as EOP
from ixyfwd.nic.ixgbe.descriptors import RX_RXE as RXE
from ixyfwd.nic.ixgbe.rings.vector_ring import RingViews, Slots
from ixyfwd.telemetry.counters import PortWord

# Plain ints: looking a member of an enumeration up and using it as an index costs as much as a memory copy.
RX_PACKETS: Final = int(PortWord.RX_PACKETS)
RX_BYTES: Final = int(PortWord.RX_BYTES)
RX_ERRORS: Final = int(PortWord.RX_ERRORS)
RX_NO_BUFFER: Final = int(PortWord.RX_NO_BUFFER)


# Descriptors and ids of a run of slots, where they go, and which of a burst's they are: as bytes and as entries.
RxRun = tuple[memoryview, memoryview, memoryview, memoryview, slice, slice]


class RxStage:
    """Views of the first `n` entries of the batch, and of the descriptors that they come from."""

    def __init__(self, space: "RxSpace", batch: BatchViews, n: int) -> None:
        self.ids = batch.batch.ids[:n]
        self.lengths = batch.cells[1, :n]
        self.hash_and_status = batch.cells[2:4, :n]
        self.status = batch.cells[3, :n]
        self.length_bytes = batch.batch.lengths[:n].tobytes
        self.status_bytes = batch.batch.status[:n].tobytes

        self.found = space.found[:n].data.cast("B")
        self.found_lengths = space.found.view(np.uint16)[:n, 6]
        self.found_hash_and_status = space.found[:n, 1:3].T
        self.checked = space.checked[:n]
        self.good = constant(EOP, n).tobytes()
        self.good_status = b""  # as it was seen last
        self.last_lengths = b""
        self.frame_bytes = 0  # of last_lengths


class RxSpace:
    """Memory for `n` descriptors on their way out of the ring. `found`: uint32[n, 4]. `checked`: uint32[n]."""

    def __init__(self, n: int) -> None:
        self.found: Dwords = np.zeros((n, 4), np.uint32)
        self.checked = constant(EOP | RXE, n)


class RxBurst(Closable):
    """A receive ring and the batch that it fills; `run` is the burst."""

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
        self._words = batch.words
        self._dwords = ring.dwords
        self._state = ring.state
        self._free = pool.state
        self._pool = pool
        self._free_ids = pool.ids
        self._fresh = pool.fresh
        self._counters = counters
        self._rdt = rdt
        self._mask = ring.entries - 1
        self._limit = min(batch.batch.capacity, self._mask)
        # Of earlier bursts: lengths that recur bring a ring's slots back sooner or later.
        self._straight: dict[int, Slots] = {}
        self._around: dict[int, tuple[RxRun, ...]] = {}  # those that go around the end of the ring
        self._last = 1  # length of the burst before: where a device fills in steps, this one has as many
        self._stages: dict[int, RxStage] = {}  # by number of descriptors
        self._space = RxSpace(self._limit)

    def run(self) -> int:
        """Receive a burst; see `engine.contract.RxQueue.burst`."""
        state, dwords, mask = self._state, self._dwords, self._mask
        next_ = state[0]
        if not dwords[4 * next_ + 2] & DD:
            self._words[0] = 0
            return 0
        n = self._limit
        if not dwords[4 * ((next_ + n - 1) & mask) + 2] & DD:
            n = self._last
            if not dwords[4 * ((next_ + n - 1) & mask) + 2] & DD or dwords[4 * ((next_ + n) & mask) + 2] & DD:
                n = count_leading(lambda i: dwords[4 * ((next_ + i) & mask) + 2] & DD, self._limit)
            self._last = n
        free = self._free[0]
        if n > free:
            n = free
            self._counters[RX_NO_BUFFER] += 1
            if n == 0:
                self._words[0] = 0
                return 0
        stage = self._stages.get(n) or self._new_stage(n)
        end, free = next_ + n, free - n
        fresh_ids = self._free_ids[free : free + n]
        fresh = self._fresh[DESCRIPTOR_BYTES * free : DESCRIPTOR_BYTES * (free + n)]
        if end <= mask + 1:
            descriptors, ids = self._straight.get(next_ | n << LENGTH_SHIFT) or self._slots(next_, n)
            stage.found[:] = descriptors
            descriptors[:] = fresh
            stage.ids[:] = ids
            ids[:] = fresh_ids
        else:
            self._exchange_around(stage, next_, fresh_ids, fresh)
        self._free[0] = free
        state[0] = end & mask
        state[1] = self._rdt[0] = (end - 1) & mask
        return self._account(stage, n)

    def _account(self, stage: RxStage, n: int) -> int:
        """Fill the batch from what was found, and count. Returns the frames that are in it."""
        stage.hash_and_status[...] = stage.found_hash_and_status
        stage.lengths[...] = stage.found_lengths
        # Bursts mostly look like the one before, and comparing bytes is a sixth of numpy's cheapest operation.
        lengths = stage.length_bytes()
        if lengths != stage.last_lengths:
            stage.frame_bytes = self.batch.total(lengths)
            stage.last_lengths = lengths
        status = stage.status_bytes()
        if (status == stage.good_status or self._is_good(stage, status)) and not self._state[3]:
            kept = frames = n
        else:
            kept, frames = self._drop_errors(n)
        self._words[0] = kept
        counters = self._counters
        counters[RX_PACKETS] += frames
        counters[RX_BYTES] += stage.frame_bytes
        if frames != kept:
            counters[RX_ERRORS] += frames - kept
        return kept

    def _is_good(self, stage: RxStage, status: bytes) -> bool:
        """Whether each descriptor holds a whole frame without error; if so, remembers what that looks like."""
        if (stage.status & stage.checked).tobytes() != stage.good:
            return False
        stage.good_status = status
        return True

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
        self._pool.push_all(unwanted)
        self._state[3] = 0 if eop[-1] else 1
        kept = n - unwanted.size
        cells[:, :kept] = cells[:, wanted]
        return kept, int(np.count_nonzero(eop))

    def _exchange_around(self, stage: RxStage, next_: int, fresh_ids: memoryview, fresh: memoryview) -> None:
        """Take descriptors and ids out of the slots and put fresh ones in, around the end of the ring."""
        n = len(fresh_ids)
        runs = self._around.get(next_ | n << LENGTH_SHIFT) or self._runs(stage, next_, n)
        for descriptors, ids, found, found_ids, raw, entries in runs:
            found[:] = descriptors
            descriptors[:] = fresh[raw]
            found_ids[:] = ids
            ids[:] = fresh_ids[entries]

    def _runs(self, stage: RxStage, next_: int, n: int) -> tuple[RxRun, ...]:
        """The two runs of `n` slots from `next_` on."""
        runs: list[RxRun] = []
        for slot, count, at in split(next_, n, self._mask + 1):
            entries = slice(at, at + count)
            raw = slice(DESCRIPTOR_BYTES * at, DESCRIPTOR_BYTES * (at + count))
            runs.append((*self._ring.slots(slot, count), stage.found[raw], stage.ids[entries], raw, entries))
        if len(self._around) >= MAX_SLOTS:
            self._around.clear()
        kept = self._around[next_ | n << LENGTH_SHIFT] = tuple(runs)
        return kept

    def _slots(self, slot: int, n: int) -> Slots:
        """`n` slots from `slot` on, which do not go around the end."""
        if len(self._straight) >= MAX_SLOTS:
            self._straight.clear()
        slots = self._straight[slot | n << LENGTH_SHIFT] = self._ring.slots(slot, n)
        return slots

    def _new_stage(self, n: int) -> RxStage:
        if len(self._stages) >= MAX_STAGES:
            self._stages.clear()
            self._around.clear()  # which has views of stages
        stage = self._stages[n] = RxStage(self._space, self.batch, n)
        return stage
