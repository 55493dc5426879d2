"""The `vector` engine: bursts in numpy, without a compiler. The readable reference for `native`."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import EngineMemory
from ixyfwd.engine.queue import Rx, Tx
from ixyfwd.engine.startup import adopt, device_addresses, start_rx
from ixyfwd.engine.traffic import Frames, Recording, prepare_bodies
from ixyfwd.engine.vector_rx import RxBurst
from ixyfwd.engine.vector_segments import SegmentedRxBurst, SegmentedTxBurst, SegmentedTxRing
from ixyfwd.engine.vector_traffic import Source, VectorRecorder
from ixyfwd.engine.vector_tx import TxBurst, TxRing
from ixyfwd.engine.vector_verdicts import Dispatch, PassAll, Settle
from ixyfwd.engine.vector_views import (
    DESCRIPTOR,
    BatchViews,
    Closable,
    Descriptors,
    PoolViews,
    RingViews,
    port_counters,
)
from ixyfwd.errors import IxyfwdError
from ixyfwd.telemetry.counters import PROGRAM_BLOCK_WORDS, ProgramWord, program_word

Holder = TypeVar("Holder", bound=Closable)


class VectorEngine:
    """See `engine.contract.Engine`."""

    name = "vector"

    def __init__(self, memory: EngineMemory) -> None:
        """Raises IxyfwdError if the memory does not fit the layout."""
        adopt(memory)
        self._memory = memory
        self._open: list[Closable] = []  # everything that holds a view of the arena
        table = np.zeros((memory.layout.buffers, 2), np.uint64)
        table[:, 0] = device_addresses(memory)
        self._descriptors_by_id: Descriptors = table.view(DESCRIPTOR)[:, 0]
        self._pool: PoolViews | None = self.keep(PoolViews(memory.arena, memory.layout, self._descriptors_by_id))
        self._batches: dict[int, BatchViews] = {}  # by identity; the views keep the batch alive
        ports = range(len(memory.layout.rx))
        self._rx = [Rx(partial(self._bind_rx, port), partial(self._start_rx, port)) for port in ports]
        self._tx = [self._new_tx(port) for port in ports]

    def rx(self, port: int) -> Rx:
        """The receive ring of a port."""
        return self._rx[port]

    def tx(self, port: int) -> Tx:
        """The transmit ring of a port."""
        return self._tx[port]

    def new_batch(self, capacity: int) -> Batch:
        """A batch of `capacity` frames. Raises ValueError outside 1..4096."""
        return Batch(capacity)

    def free_buffers(self) -> int:
        """Buffers in the free stack."""
        return self._open_pool().state[0]

    def close(self) -> None:
        """Drop every view of the arena. Bound callables must not be called any more."""
        self._pool = None
        for queue in (*self._rx, *self._tx):
            queue.forget()
        for holder in self._open:
            holder.close()
        self._open.clear()
        self._batches.clear()

    def bind_pass_all(self, batch: Batch) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self._open_pool()
        return self.keep(PassAll(self.arrays(batch))).run

    def bind_settle(self, batch: Batch, program: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        memory, pool = self._memory, self._open_pool()
        first = memory.layout.counters + 8 * program_word(program, ProgramWord.IN)
        block = memory.arena[first : first + 8 * PROGRAM_BLOCK_WORDS].cast("Q")
        return self.keep(Settle(self.arrays(batch), pool, block, len(self._tx))).run

    def bind_dispatch(self, batch: Batch, passed_to: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        cells = [self.new_batch(batch.capacity) for _ in self._tx]
        parts = [(self.arrays(part), tx.bind(part)) for part, tx in zip(cells, self._tx, strict=True)]
        whole = [tx.bind(batch) for tx in self._tx]
        return self.keep(Dispatch(self.arrays(batch), passed_to, whole, parts)).run

    def bind_source(self, port: int, batch: Batch, frames: Frames) -> Callable[[], int]:
        """See `engine.traffic.TrafficEngine`."""
        pool = self._open_pool()
        prepare_bodies(self._memory, frames.sizes)
        views = self.keep(RingViews(self._memory.arena, self._memory.layout.tx[port]))
        ring = self.keep(TxRing(views, pool))
        return self.keep(Source(self._memory, ring, pool, BatchViews(batch), frames)).run

    def bind_recorder(self, batch: Batch, recording: Recording) -> VectorRecorder:
        """See `engine.traffic.TrafficEngine`."""
        return self.keep(VectorRecorder(self._memory, self._open_pool(), BatchViews(batch), recording))

    def _bind_rx(self, port: int, batch: Batch) -> Callable[[], int]:
        memory, pool = self._memory, self._open_pool()
        ring = self.keep(RingViews(memory.arena, memory.layout.rx[port]))
        counters = port_counters(memory.arena, memory.layout, port)
        rdt = memory.doorbells[port].rdt
        rx_burst = SegmentedRxBurst if memory.segmented else RxBurst
        burst = rx_burst(ring, pool, self.arrays(batch), counters=counters, rdt=rdt)
        return self.keep(burst).run

    def _bind_tx(self, ring: TxRing | SegmentedTxRing, port: int, batch: Batch) -> Callable[[], int]:
        memory = self._memory
        self._open_pool()
        counters = port_counters(memory.arena, memory.layout, port)
        tdt, by_id, views = memory.doorbells[port].tdt, self._descriptors_by_id, self.arrays(batch)
        if isinstance(ring, SegmentedTxRing):
            burst = SegmentedTxBurst(ring, views, descriptors_by_id=by_id, counters=counters, tdt=tdt)
            return self.keep(burst).run
        return self.keep(TxBurst(ring, views, descriptors_by_id=by_id, counters=counters, tdt=tdt)).run

    def _new_tx(self, port: int) -> Tx:
        memory = self._memory
        views = self.keep(RingViews(memory.arena, memory.layout.tx[port]))
        ring = self.keep((SegmentedTxRing if memory.segmented else TxRing)(views, self._open_pool()))
        return Tx(partial(self._bind_tx, ring, port), partial(self._clean, ring))

    def _start_rx(self, port: int) -> None:
        self._open_pool()
        start_rx(self._memory, port)

    def _clean(self, ring: TxRing | SegmentedTxRing) -> int:
        self._open_pool()
        return ring.clean()

    def arrays(self, batch: Batch) -> BatchViews:
        """The same views for all that work on a batch: one that sends knows what another received."""
        if id(batch) not in self._batches:
            self._batches[id(batch)] = BatchViews(batch)
        return self._batches[id(batch)]

    def _open_pool(self) -> PoolViews:
        """The pool, or IxyfwdError after `close`."""
        if self._pool is None:
            raise IxyfwdError(f"worker {self._memory.layout.index}: the vector engine was closed")
        return self._pool

    def keep(self, holder: Holder) -> Holder:
        """`holder`, which is closed with the engine."""
        self._open.append(holder)
        return holder
