"""The `native` engine: bursts in C. Imports no numpy, so that a worker starts fast and stays small.

Each pair of queue and batch gets one C struct of raw pointers, so that a burst is a call with one argument, to which
`bound` binds it.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from ixyfwd.engine._native import ffi, lib
from ixyfwd.engine.batch import Batch
from ixyfwd.engine.bound.bind import Ffi, bind
from ixyfwd.engine.contract import EngineMemory
from ixyfwd.engine.native_traffic import NativeRecorder, new_source
from ixyfwd.engine.queue import Rx, Tx
from ixyfwd.engine.startup import adopt, device_addresses, start_rx
from ixyfwd.engine.traffic import Frames, Recording, prepare_bodies
from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.layout import RingLayout
from ixyfwd.telemetry.counters import (
    NO_PAUSES,
    NOT_LOOKED,
    PORT_BLOCK_WORD,
    PORT_BLOCK_WORDS,
    ProgramWord,
    Word,
    program_word,
)

IDLE_ROUNDS: Final = 16  # of the fused loop before Python looks around: a round takes tens of ns, going there a hundred

CData = Any  # a C object of cffi's

# Names of C functions.
PLAIN: Final = ("rx_burst", "tx_burst", "tx_clean")
SEGMENTED: Final = ("rx_burst_segmented", "tx_burst_segmented", "tx_clean_segmented")


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
        self._ffi_of: WeakKeyDictionary[CData, Ffi] = WeakKeyDictionary()  # of structs of other cffi modules
        self._rx_burst, self._tx_burst, self._tx_clean = SEGMENTED if memory.segmented else PLAIN
        self._work: WeakSet[CData] = WeakSet()  # every struct that C may be called with
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
        nothing = int(ffi.cast("uintptr_t", self._no_batch))
        for work, of in self._ffi_of.items():
            work.batch.head = of.cast("struct batch *", nothing)
        self._pool = ffi.NULL
        for view in self._held:
            view.release()

    def _check_open(self) -> None:
        """Raises IxyfwdError after `close`."""
        if self._pool == ffi.NULL:
            raise IxyfwdError(f"worker {self._memory.layout.index}: the native engine was closed")

    def bind_frame_op(self, name: str, batch: Batch) -> Callable[[], int]:
        """A callable that does to every frame of `batch` what the program `name` does, which has a `frame.h`."""
        self._check_open()
        suffix = "burst_segmented" if self._memory.segmented else "burst"
        return self._bound(f"{name}_{suffix}", self._attach(self._frames(), batch), batch)

    def bind_c(self, ffi: Ffi, function: CData, work: CData, batch: Batch) -> Callable[[], int]:
        """`function(work)` as a callable, for C of other modules. `work` points to a struct with a
        `struct batch_view batch`, which is pointed at `batch`, and at an empty batch by `close`."""
        self._check_open()
        self._attach(work, batch, ffi)
        if self._memory.threaded:
            return partial(function, work)
        return bind(ffi, function, work, (self, batch))

    def counters_address(self) -> int:
        """Where the worker's counters page is."""
        self._check_open()
        return int(ffi.cast("uintptr_t", self._arena)) + self._memory.layout.counters

    def bind_forward(
        self,
        links: Sequence[tuple[int, int]],
        batch: int,
        frame_op: str | None,
        limit: int,
        *,
        shared_cpu: bool = False,
        pause_ns: int = NO_PAUSES,
    ) -> Callable[[], int]:
        """See `engine.contract.FusingEngine`."""
        self._check_open()
        directions = ffi.new("struct direction[]", len(links))
        kept: list[object] = [directions]
        for direction, (rx_port, tx_port) in zip(directions, links, strict=True):
            cells = self.new_batch(batch)
            direction.rx = rx = self._attach(ffi.new("struct queue *", self._queues[rx_port][0][0]), cells)
            direction.tx = tx = self._attach(ffi.new("struct queue *", self._queues[tx_port][1][0]), cells)
            direction.limit = min(batch, direction.rx.mask)
            kept += [cells, rx, tx]
            if frame_op is not None:
                direction.frames = frames = self._attach(self._frames(), cells)
                kept.append(frames)
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
        # Calls are few and may take hundreds of microseconds: another thread may have the interpreter meanwhile.
        return self._through_cffi(f"{frame_op}_forward" if frame_op else "forward", forwarder, kept)

    def bind_pass_all(self, batch: Batch) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        return self._bind_settlement("pass_all", batch, 0)

    def bind_settle(self, batch: Batch, program: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        return self._bind_settlement("settle", batch, program)

    def _bind_settlement(self, function: str, batch: Batch, program: int) -> Callable[[], int]:
        self._check_open()
        settlement = self._attach(ffi.new("struct settlement *"), batch)
        settlement.pool = self._pool
        settlement.ports = len(self._queues)
        counters = ffi.cast("uint64_t *", self._arena + self._memory.layout.counters)
        settlement.block = counters + program_word(program, ProgramWord.IN)
        return self._bound(function, settlement, batch)

    def bind_dispatch(self, batch: Batch, passed_to: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self._check_open()
        outlets = ffi.new("struct outlet[]", len(self._queues))
        kept: list[object] = [batch, outlets]
        for outlet, (_, tx) in zip(outlets, self._queues, strict=True):
            cells = self.new_batch(batch.capacity)
            outlet.whole = whole = self._attach(ffi.new("struct queue *", tx[0]), batch)
            outlet.part = part = self._attach(ffi.new("struct queue *", tx[0]), cells)
            kept += [cells, whole, part]
        dispatch = self._attach(ffi.new("struct dispatch *"), batch)
        dispatch.outlets = outlets
        dispatch.send = ffi.addressof(lib, self._tx_burst)
        dispatch.ports = len(self._queues)
        dispatch.passed_to = passed_to
        return self._bound("dispatch", dispatch, kept)

    def bind_source(self, port: int, batch: Batch, frames: Frames) -> Callable[[], int]:
        """See `engine.traffic.TrafficEngine`."""
        self._check_open()
        prepare_bodies(self._memory, frames.sizes)
        kept: list[object] = [batch]
        source = self._attach(new_source(frames, kept), batch)
        source.queue = self._queues[port][1]
        self._place(source)
        return self._bound("source_burst", source, kept)

    def bind_recorder(self, batch: Batch, recording: Recording) -> NativeRecorder:
        """See `engine.traffic.TrafficEngine`."""
        self._check_open()
        recorder = NativeRecorder(recording, keeps=(self, batch))
        work = self._attach(recorder.work, batch)
        work.pool = self._pool
        self._place(work)
        return recorder

    def _place(self, work: CData) -> None:
        work.arena = self._arena
        work.offsets = self._offsets
        work.page = ffi.cast("uint64_t *", self._arena + self._memory.layout.counters)

    def _frames(self) -> CData:
        frames = ffi.new("struct frames *")
        frames.arena = self._arena
        frames.offsets = self._offsets
        return frames

    def _new_rx(self, port: int, queue: CData) -> Rx:
        return Rx(partial(self._bind_queue, self._rx_burst, queue), partial(self._start_rx, port))

    def _new_tx(self, queue: CData) -> Tx:
        return Tx(partial(self._bind_queue, self._tx_burst, queue), partial(self._clean, queue))

    def _bind_queue(self, function: str, queue: CData, batch: Batch) -> Callable[[], int]:
        """`function` of a copy of `queue` that works on `batch`."""
        self._check_open()
        return self._bound(function, self._attach(ffi.new("struct queue *", queue[0]), batch), batch)

    def _start_rx(self, port: int) -> None:
        self._check_open()
        start_rx(self._memory, port)

    def _clean(self, queue: CData) -> int:
        self._check_open()
        return int(getattr(lib, self._tx_clean)(queue))

    def _bound(self, function: str, work: CData, kept: object) -> Callable[[], int]:
        """The C function of that name on `work`, for functions that return after a burst."""
        if self._memory.threaded:
            return self._through_cffi(function, work, kept)
        return bind(ffi, ffi.addressof(lib, function), work, (self, kept))

    def _through_cffi(self, function: str, work: CData, kept: object) -> Callable[[], int]:
        """The same, without the interpreter lock during a call."""
        call = partial(getattr(lib, function), work)
        # `work` holds raw pointers: what they point at must live as long as the callable.
        call.__dict__["keeps"] = (self, kept)
        return call

    def _attach(self, work: CData, batch: Batch, of: Ffi = ffi) -> CData:
        """`work`, a struct with a batch view, pointed at `batch`; `close` takes it away again. `of`: its module's."""
        head = of.cast("struct batch *", int(ffi.cast("uintptr_t", _address(batch.memory))))
        view = work.batch
        view.head = head
        names = ("ids", "lengths", "hashes", "status", "verdicts")
        for k, name in enumerate(names):
            setattr(view, name, head.cells + k * batch.capacity)
        if of is ffi:
            self._work.add(work)
        else:
            self._ffi_of[work] = of
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
        self._work.add(queue)
        return queue


def _address(view: memoryview) -> CData:
    """Where the bytes of `view` are, as `uint8_t *`.

    A lasting `from_buffer` object would hold the view, but the garbage collector of CPython 3.11 crashes on a cycle
    that contains such an object and its memoryview.
    """
    with ffi.from_buffer("uint8_t[]", view, require_writable=True) as cells:
        return ffi.cast("uint8_t *", cells)
