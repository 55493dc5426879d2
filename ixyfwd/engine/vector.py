"""The `vector` engine: bursts in numpy, without a compiler. The readable reference for `native`."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import EngineMemory, RxQueue, TxQueue
from ixyfwd.engine.rings import PortRings, bind_source, open_rings
from ixyfwd.engine.startup import adopt, device_addresses
from ixyfwd.engine.traffic import Frames, Recording
from ixyfwd.engine.vector_traffic import VectorRecorder
from ixyfwd.engine.vector_verdicts import Dispatch, PassAll, Settle
from ixyfwd.engine.vector_views import ADDRESS, BatchViews, Closable, MappedPoolViews, PoolViews
from ixyfwd.errors import IxyfwdError
from ixyfwd.pci.function import DmaMap

Holder = TypeVar("Holder", bound=Closable)


class VectorEngine:
    """The engine in numpy. See `engine.contract.Engine` and `engine.traffic.TrafficEngine`."""

    name = "vector"

    def __init__(self, memory: EngineMemory) -> None:
        """Open. Raises IxyfwdError if the memory does not fit the layout, UsageError for a port without such rings."""
        adopt(memory)
        self.memory = memory
        self._open: list[Closable] = []  # everything that holds a view of the arena
        self._pools = self._open_pools()
        self._batches: dict[int, BatchViews] = {}  # by identity; the views keep the batch alive
        self._ports: list[PortRings] = []
        self._ports += [open_rings(self, port) for port in range(len(memory.layout.rx))]

    def rx(self, port: int) -> RxQueue:
        """The receive ring of a port."""
        return self._ports[port].rx

    def tx(self, port: int) -> TxQueue:
        """The transmit ring of a port."""
        return self._ports[port].tx

    @property
    def pool(self) -> PoolViews:
        """See `engine.contract.Engine`."""
        return self.pool_of(0)

    def pool_of(self, port: int) -> PoolViews:
        """The free stack with the device addresses of a port. Raises IxyfwdError after `close`."""
        if not self._pools:
            raise IxyfwdError(f"worker {self.memory.layout.index}: the vector engine was closed")
        return self._pools[self.memory.ports[port].dma]

    def _open_pools(self) -> dict[DmaMap, PoolViews]:
        """Views of the one free stack, by the device addresses that they give."""
        memory = self.memory
        maps = {port.dma for port in memory.ports}
        views = PoolViews if len(maps) == 1 else MappedPoolViews
        pools: dict[DmaMap, PoolViews] = {}
        for dma in maps:
            table = np.zeros((memory.layout.buffers, 2), np.uint64)
            table[:, 0] = device_addresses(memory, dma)
            pools[dma] = self.keep(views(memory.arena, memory.layout, table.view(ADDRESS)[:, 0]))
        for pool in pools.values():
            pool.others = [other for other in pools.values() if other is not pool]
        return pools

    def new_batch(self, capacity: int) -> Batch:
        """A batch of `capacity` frames. Raises ValueError outside 1..4096."""
        return Batch(capacity)

    def free_buffers(self) -> int:
        """Buffers in the free stack."""
        return len(self.pool)

    def close(self) -> None:
        """Release every view of the arena. Bound callables must not be called any more."""
        self._pools = {}
        for rings in self._ports:
            rings.close()
        for holder in self._open:
            holder.close()
        self._open.clear()
        self._batches.clear()

    def bind_pass_all(self, batch: Batch) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self.check_open()
        return self.keep(PassAll(self.arrays(batch))).run

    def bind_settle(self, batch: Batch, program: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        pool, block = self.pool, self.memory.program_words(program)
        return self.keep(Settle(self.arrays(batch), pool, block, len(self._ports))).run

    def bind_dispatch(self, batch: Batch, passed_to: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        cells = [self.new_batch(batch.capacity) for _ in self._ports]
        parts = [(self.arrays(part), rings.tx.bind(part)) for part, rings in zip(cells, self._ports, strict=True)]
        whole = [rings.tx.bind(batch) for rings in self._ports]
        return self.keep(Dispatch(self.arrays(batch), passed_to, whole, parts)).run

    def bind_source(self, port: int, batch: Batch, frames: Frames) -> Callable[[], int]:
        """See `engine.traffic.TrafficEngine`."""
        return bind_source(self, self._ports[port], port, batch, frames)

    def bind_recorder(self, batch: Batch, recording: Recording) -> VectorRecorder:
        """See `engine.traffic.TrafficEngine`."""
        return self.keep(VectorRecorder(self.memory, self.pool, BatchViews(batch), recording))

    def check_open(self) -> None:
        """See `engine.contract.Engine`."""
        _ = self.pool

    def arrays(self, batch: Batch) -> BatchViews:
        """The views of a batch, the same object for all that work on it: a sender reuses what a receiver computed."""
        if id(batch) not in self._batches:
            self._batches[id(batch)] = BatchViews(batch)
        return self._batches[id(batch)]

    def keep(self, holder: Holder) -> Holder:
        """Keep `holder`, which is closed with the engine, and return it."""
        self._open.append(holder)
        return holder
