"""The `native` engine: bursts in C. Imports no numpy, so that a worker starts fast and stays small.

Each pair of queue and batch gets one C struct of raw pointers, so that a burst is a call with one argument.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ixyfwd.engine._native import ffi, lib
from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import EngineMemory
from ixyfwd.engine.native_traffic import NativeRecorder, new_source
from ixyfwd.engine.queue import Rx, Tx
from ixyfwd.engine.startup import adopt, device_addresses, start_rx
from ixyfwd.engine.traffic import Frames, Recording, prepare_bodies
from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.layout import RingLayout
from ixyfwd.telemetry.counters import NO_PAUSES, NOT_LOOKED, PORT_BLOCK_WORD, PORT_BLOCK_WORDS, Word

IDLE_ROUNDS: Final = 16  # of the fused loop before Python looks around: a round takes tens of ns, going there a hundred

CData = Any  # a C object of cffi's
Burst = Callable[[CData], int]

PLAIN: Final[tuple[Burst, ...]] = (lib.rx_burst, lib.tx_burst, lib.tx_clean, lib.touch_burst)
SEGMENTED: Final[tuple[Burst, ...]] = (
    lib.rx_burst_segmented,
    lib.tx_burst_segmented,
    lib.tx_clean_segmented,
    lib.touch_burst_segmented,
)


class NativeEngine:
    """See `engine.contract.Engine`."""

    name = "native"

    def __init__(self, memory: EngineMemory) -> None:
        """Raises IxyfwdError if the memory does not fit the layout."""
        adopt(memory)
        self._memory = memory
        layout = memory.layout
        # C works on bare pointers; these views keep what they point at from being unmapped until `close`.
        self._held = [memory.arena[:], *(view[:] for d in memory.doorbells for view in (d.rdt, d.tdt))]
        self._arena = _address(memory.arena)
        self._addresses = ffi.new("uint64_t[]", device_addresses(memory))
        self._offsets = ffi.new("uint64_t[]", layout.buffer_offsets())
        self._no_batch = ffi.new("struct batch *")  # capacity 0
        self._rx_burst, self._tx_burst, self._tx_clean, self._touch_burst = SEGMENTED if memory.segmented else PLAIN
        self._work: list[CData] = []  # every struct that C may be called with
        self._pool = ffi.cast("struct pool *", self._arena + layout.pool)
        ports = range(len(layout.rx))
        self._queues = [  # of rx and tx, by port
            (
                self._new_queue(port, layout.rx[port], memory.doorbells[port].rdt),
                self._new_queue(port, layout.tx[port], memory.doorbells[port].tdt),
            )
            for port in ports
        ]
        self._rx = [self._new_rx(port, rx) for port, (rx, _) in enumerate(self._queues)]
        self._tx = [self._new_tx(tx) for _, tx in self._queues]

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
        self._check_open()
        return int(self._pool.count)

    def close(self) -> None:
        """Drop every view of the arena. A bound callable that is called later finds an empty batch and does nothing."""
        if self._pool == ffi.NULL:
            return
        for ring in (*self._rx, *self._tx):
            ring.forget()
        for work in self._work:
            work.batch.head = self._no_batch
        self._pool = ffi.NULL
        for view in self._held:
            view.release()

    def _check_open(self) -> None:
        """Raises IxyfwdError after `close`."""
        if self._pool == ffi.NULL:
            raise IxyfwdError(f"worker {self._memory.layout.index}: the native engine was closed")

    def bind_touch(self, batch: Batch, at: int) -> Callable[[], int]:
        """A callable that increments byte `at` of every frame in `batch` that is longer than that."""
        self._check_open()
        return self._bound(self._touch_burst, self._frames(at), batch)

    def bind_forward(
        self,
        links: Sequence[tuple[int, int]],
        batch: int,
        touched_byte: int | None,
        limit: int,
        *,
        shared_cpu: bool = False,
        pause_ns: int = NO_PAUSES,
    ) -> Callable[[], int]:
        """See `engine.contract.FusingEngine`."""
        self._check_open()
        directions = ffi.new("struct direction[]", len(links))
        kept: list[object] = [self, directions]
        for direction, (rx_port, tx_port) in zip(directions, links, strict=True):
            cells = self.new_batch(batch)
            direction.rx = self._attach(ffi.new("struct queue *", self._queues[rx_port][0][0]), cells)
            direction.tx = self._attach(ffi.new("struct queue *", self._queues[tx_port][1][0]), cells)
            direction.limit = min(batch, direction.rx.mask)
            kept.append(cells)
            if touched_byte is not None:
                direction.touch = self._attach(self._frames(touched_byte), cells)
        forwarder = ffi.new("struct forwarder *")
        forwarder.directions = directions
        forwarder.count = len(links)
        forwarder.page = ffi.cast("uint64_t *", self._arena + self._memory.layout.counters)
        forwarder.page[Word.LOOKED_NS] = NOT_LOOKED
        forwarder.pause_ns = pause_ns
        forwarder.limit = min(limit, lib.MAX_BURSTS - len(links) * lib.SINGLES)
        forwarder.patience = 1 if shared_cpu else IDLE_ROUNDS
        # Where the CPU is shared, wall time would charge this worker for the others' turns.
        forwarder.clock = time.CLOCK_THREAD_CPUTIME_ID if shared_cpu else time.CLOCK_MONOTONIC
        call = partial(lib.forward, forwarder)
        call.__dict__["keeps"] = kept
        return call

    def bind_source(self, port: int, batch: Batch, frames: Frames) -> Callable[[], int]:
        """See `engine.traffic.TrafficEngine`."""
        self._check_open()
        prepare_bodies(self._memory, frames.sizes)
        kept: list[object] = [self, batch]
        source = self._attach(new_source(frames, kept), batch)
        source.queue = self._queues[port][1]
        self._place(source)
        call = partial(lib.source_burst, source)
        call.__dict__["keeps"] = kept
        return call

    def bind_recorder(self, batch: Batch, recording: Recording) -> NativeRecorder:
        """See `engine.traffic.TrafficEngine`."""
        self._check_open()
        recorder = NativeRecorder(recording)
        work = self._attach(recorder.work, batch)
        work.pool = self._pool
        self._place(work)
        return recorder

    def _place(self, work: CData) -> None:
        work.arena = self._arena
        work.offsets = self._offsets
        work.page = ffi.cast("uint64_t *", self._arena + self._memory.layout.counters)

    def _frames(self, at: int) -> CData:
        frames = ffi.new("struct frames *")
        frames.arena = self._arena
        frames.offsets = self._offsets
        frames.at = at
        return frames

    def _new_rx(self, port: int, queue: CData) -> Rx:
        return Rx(partial(self._bind_queue, self._rx_burst, queue), partial(self._start_rx, port))

    def _new_tx(self, queue: CData) -> Tx:
        return Tx(partial(self._bind_queue, self._tx_burst, queue), partial(self._clean, queue))

    def _bind_queue(self, function: Burst, queue: CData, batch: Batch) -> Callable[[], int]:
        """`function` of a copy of `queue` that works on `batch`."""
        self._check_open()
        return self._bound(function, ffi.new("struct queue *", queue[0]), batch)

    def _start_rx(self, port: int) -> None:
        self._check_open()
        start_rx(self._memory, port)

    def _clean(self, queue: CData) -> int:
        self._check_open()
        return self._tx_clean(queue)

    def _bound(self, function: Burst, work: CData, batch: Batch) -> Callable[[], int]:
        call = partial(function, self._attach(work, batch))
        # `work` holds raw pointers: what they point at must live as long as the callable.
        call.__dict__["keeps"] = (self, batch)
        return call

    def _attach(self, work: CData, batch: Batch) -> CData:
        """`work`, a struct with a batch view, pointed at `batch`; `close` takes it away again."""
        head = ffi.cast("struct batch *", _address(batch.memory))
        view = work.batch
        view.head = head
        names = ("ids", "lengths", "hashes", "status")
        for k, name in enumerate(names):
            setattr(view, name, head.cells + k * batch.capacity)
        self._work.append(work)
        return work

    def _new_queue(self, port: int, ring: RingLayout, doorbell: memoryview) -> CData:
        queue = ffi.new("struct queue *")
        queue.descriptors = ffi.cast("struct descriptor *", self._arena + ring.descriptors)
        queue.ids = ffi.cast("uint32_t *", self._arena + ring.ids)
        queue.state = ffi.cast("struct ring_state *", self._arena + ring.state)
        queue.pool = self._pool
        queue.addresses = self._addresses
        counters = ffi.cast("uint64_t *", self._arena + self._memory.layout.counters)
        queue.counters = counters + PORT_BLOCK_WORD + port * PORT_BLOCK_WORDS
        queue.doorbell = ffi.cast("uint32_t *", _address(doorbell))
        queue.batch.head = self._no_batch
        queue.mask = ring.entries - 1
        self._work.append(queue)
        return queue


def _address(view: memoryview) -> CData:
    """Where the bytes of `view` are, as `uint8_t *`.

    A lasting `from_buffer` object would hold the view, but the garbage collector of CPython 3.11 crashes on a cycle
    that contains such an object and its memoryview.
    """
    with ffi.from_buffer("uint8_t[]", view, require_writable=True) as cells:
        return ffi.cast("uint8_t *", cells)
