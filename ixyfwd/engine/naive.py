"""The `naive` engine: one frame at a time in plain Python.

It is the baseline that the other two are measured against, and the shortest description
of an engine's work on a batch. The rings are the NIC families', as with every engine.
"""

import struct
from collections.abc import Callable

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import EngineMemory, RxQueue, TxQueue
from ixyfwd.engine.pool import FreeStack
from ixyfwd.engine.rings import open_rings
from ixyfwd.engine.startup import adopt
from ixyfwd.engine.verdict import PASS
from ixyfwd.engine.verdicts import dispatch, settle
from ixyfwd.errors import IxyfwdError
from ixyfwd.telemetry.counters import program_word


class NaiveEngine:
    """The engine in plain Python. See `engine.contract.Engine`."""

    name = "naive"

    def __init__(self, memory: EngineMemory) -> None:
        """Open. Raises IxyfwdError if the memory does not fit the layout, or for frames over several buffers."""
        if memory.segmented:
            raise IxyfwdError("the naive engine takes no frames over several buffers; use native or vector")
        adopt(memory)
        self.memory = memory
        self._arena = memory.arena[:]
        self._closed = False
        self._stack = FreeStack(self._arena, memory.layout)
        self._ports = [open_rings(self, port) for port in range(len(memory.layout.rx))]

    def rx(self, port: int) -> RxQueue:
        """The receive ring of a port."""
        return self._ports[port].rx

    def tx(self, port: int) -> TxQueue:
        """The transmit ring of a port."""
        return self._ports[port].tx

    @property
    def pool(self) -> FreeStack:
        """See `engine.contract.Engine`."""
        self.check_open()
        return self._stack

    def new_batch(self, capacity: int) -> Batch:
        """A batch of `capacity` frames. Raises ValueError outside 1..4096."""
        return Batch(capacity)

    def free_buffers(self) -> int:
        """Buffers in the free stack."""
        return len(self.pool)

    def close(self) -> None:
        """Release every view of the arena. A bound callable that is called later does nothing."""
        if not self._closed:
            self._closed = True
            for rings in self._ports:
                rings.close()
            self._stack.close()
            self._arena.release()

    def bind_pass_all(self, batch: Batch) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self.check_open()

        def pass_all() -> int:
            for i in range(batch.count):
                batch.verdicts[i] = PASS
            return batch.count

        return pass_all

    def bind_settle(self, batch: Batch, program: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self.check_open()

        def count(word: int) -> None:
            at = self.memory.layout.counters + 8 * program_word(program, word)
            struct.pack_into("<Q", self._arena, at, struct.unpack_from("<Q", self._arena, at)[0] + 1)

        return lambda: 0 if self._closed else settle(batch, count, self._stack.push, len(self._ports))

    def bind_dispatch(self, batch: Batch, passed_to: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self.check_open()
        parts = [self.new_batch(batch.capacity) for _ in self._ports]
        send = [rings.tx.bind(part) for part, rings in zip(parts, self._ports, strict=True)]
        return lambda: 0 if self._closed else dispatch(batch, passed_to, parts, send)

    def check_open(self) -> None:
        """See `engine.contract.Engine`."""
        if self._closed:
            raise IxyfwdError(f"worker {self.memory.layout.index}: the naive engine was closed")
