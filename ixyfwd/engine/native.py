"""The `native` engine: bursts in C. Imports no numpy, so that a worker starts fast and stays small.

Each pair of queue and batch gets one C struct of raw pointers, so that a burst is a
call with one argument, to which `bound` binds it. The code here works on batches and
the pool. The rings are the NIC families', in C of their own cffi modules;
`NativeEngine` gives them addresses.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from ixyfwd.engine._native import ffi, lib
from ixyfwd.engine.batch import Batch
from ixyfwd.engine.bound.bind import Ffi, bind
from ixyfwd.engine.contract import EngineMemory, RxQueue, TxQueue
from ixyfwd.engine.native_traffic import NativeRecorder
from ixyfwd.engine.pool import FreeStack
from ixyfwd.engine.rings import CalledRings, bind_source, fusing, open_rings
from ixyfwd.engine.startup import adopt, device_addresses
from ixyfwd.engine.traffic import Frames, Recording
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.telemetry.counters import NO_PAUSES, PORT_BLOCK_WORD, PORT_BLOCK_WORDS, ProgramWord, program_word

CData = Any  # a C object of cffi's


class NativeEngine:
    """The engine in C. See `engine.contract.Engine`, `engine.contract.FusingEngine` and `engine.traffic.TrafficEngine`.

    Its further methods are for the C of NIC families and of programs. An address there
    is a number, since a C type belongs to one cffi module.
    """

    name = "native"

    def __init__(self, memory: EngineMemory) -> None:
        """Open. Raises IxyfwdError if the memory does not fit the layout, UsageError for a port without such rings."""
        adopt(memory)
        self.memory = memory
        layout = memory.layout
        # C works on bare pointers; this view keeps the arena mapped until `close`.
        self._held = [memory.arena[:]]
        self._arena = _address(memory.arena)
        self._addresses = {
            dma: ffi.new("uint64_t[]", device_addresses(memory, dma)) for dma in {port.dma for port in memory.ports}
        }
        self._offsets = ffi.new("uint64_t[]", layout.buffer_offsets())
        self._no_batch = ffi.new("struct batch *")  # capacity 0
        self._work: WeakKeyDictionary[CData, Ffi] = WeakKeyDictionary()  # what C may be called with, by its module
        self._pool = ffi.cast("struct pool *", self._arena + layout.pool)
        self._stack = FreeStack(memory.arena, layout)
        self._ports = [open_rings(self, port) for port in range(len(layout.rx))]

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
        """Release every view of the arena. A bound callable that is called later finds an empty batch and returns."""
        if self._pool == ffi.NULL:
            return
        for rings in self._ports:
            rings.close()
        nothing = _number(self._no_batch)
        for work, of in self._work.items():
            work.batch.head = of.cast("struct batch *", nothing)
        self._pool = ffi.NULL
        self._stack.close()
        for view in self._held:
            view.release()

    def check_open(self) -> None:
        """See `engine.contract.Engine`. Raises IxyfwdError after `close`."""
        if self._pool == ffi.NULL:
            raise IxyfwdError(f"worker {self.memory.layout.index}: the native engine was closed")

    def bind_frame_op(self, name: str, batch: Batch) -> Callable[[], int]:
        """A callable that applies the program `name`, which has a `frame.h`, to every frame of `batch`."""
        self.check_open()
        suffix = "burst_segmented" if self.memory.segmented else "burst"
        frames = ffi.new("struct frames *")
        self.place(ffi, frames)
        return self.call_named(ffi, lib, f"{name}_{suffix}", self.attach(ffi, frames, batch), batch)

    def bind_c(self, ffi: Ffi, function: CData, work: CData, batch: Batch) -> Callable[[], int]:
        """A callable for `function(work)`, for C of other modules.

        `function`: a pointer to a function `uint32_t (struct X *)`. `work`: a
        `struct X *` whose member `struct batch_view batch` is pointed at `batch`, and
        at an empty batch by `close`.
        """
        self.check_open()
        return self.call(ffi, function, self.attach(ffi, work, batch), batch)

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
        """See `engine.contract.FusingEngine`. Raises UsageError for links that cannot be fused."""
        self.check_open()
        rings = fusing(self.memory, self._ports, links)
        if rings is None:
            raise UsageError(
                "the fused loop is for links within one NIC family that offers it, at one set of addresses"
            )
        return rings.bind_forward(self._ports, links, batch, frame_op, limit, shared_cpu, pause_ns)

    def fuses(self, links: Sequence[tuple[int, int]]) -> bool:
        """See `engine.contract.FusingEngine`."""
        return fusing(self.memory, self._ports, links) is not None

    def bind_pass_all(self, batch: Batch) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        return self._bind_settlement("pass_all", batch, 0)

    def bind_settle(self, batch: Batch, program: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        return self._bind_settlement("settle", batch, program)

    def _bind_settlement(self, function: str, batch: Batch, program: int) -> Callable[[], int]:
        self.check_open()
        settlement = self.attach(ffi, ffi.new("struct settlement *"), batch)
        settlement.pool = self._pool
        settlement.ports = len(self._ports)
        counters = ffi.cast("uint64_t *", self.counters_address())
        settlement.block = counters + program_word(program, ProgramWord.IN)
        return self.call_named(ffi, lib, function, settlement, batch)

    def bind_dispatch(self, batch: Batch, passed_to: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self.check_open()
        outlets = ffi.new("struct outlet[]", len(self._ports))
        kept: list[object] = [batch, outlets]
        not_in_c: list[tuple[Batch, Callable[[], int]]] = []
        for outlet, rings in zip(outlets, self._ports, strict=True):
            cells = self.new_batch(batch.capacity)
            self._view(ffi, outlet.part, cells)
            kept.append(cells)
            if isinstance(rings, CalledRings):
                (send, whole), (_, part) = rings.tx_call(batch), rings.tx_call(cells)
                # Each is a function of another struct: what is called so takes one pointer.
                outlet.send = ffi.cast("uint32_t (*)(void *)", send)
                outlet.whole, outlet.part_work = (ffi.cast("void *", _number(work)) for work in (whole, part))
                kept += [whole, part]
            else:
                not_in_c.append((cells, rings.tx.bind(cells)))
        dispatch = self.attach(ffi, ffi.new("struct dispatch *"), batch)
        dispatch.outlets = outlets
        dispatch.ports = len(self._ports)
        dispatch.passed_to = passed_to
        run = self.call_named(ffi, lib, "dispatch", dispatch, kept)
        return _and_then(run, batch, not_in_c) if not_in_c else run

    def bind_source(self, port: int, batch: Batch, frames: Frames) -> Callable[[], int]:
        """See `engine.traffic.TrafficEngine`."""
        return bind_source(self, self._ports[port], port, batch, frames)

    def bind_recorder(self, batch: Batch, recording: Recording) -> NativeRecorder:
        """See `engine.traffic.TrafficEngine`."""
        self.check_open()
        recorder = NativeRecorder(recording, keeps=(self, batch))
        work = self.attach(ffi, recorder.work, batch)
        work.pool = self._pool
        work.page = ffi.cast("uint64_t *", self.counters_address())
        self.place(ffi, work)
        return recorder

    def counters_address(self) -> int:
        """The address of the worker's counters page."""
        return self.address_of(self.memory.layout.counters)

    def port_counters_address(self, port: int) -> int:
        """The address of a port's block of the counters page."""
        return self.counters_address() + 8 * (PORT_BLOCK_WORD + port * PORT_BLOCK_WORDS)

    def address_of(self, offset: int) -> int:
        """The address of the byte at `offset` of the arena. Raises IxyfwdError after `close`."""
        self.check_open()
        return _number(self._arena) + offset

    def device_addresses_address(self, port: int) -> int:
        """The address of a port's table of device addresses, uint64[buffers] by id; it lives as long as the engine."""
        return _number(self._addresses[self.memory.ports[port].dma])

    def hold(self, view: memoryview) -> int:
        """The address of the bytes of a view, uint8[n] or uint32[1], which is held until `close`."""
        self._held.append(view[:])
        return _number(_address(view))

    def place(self, of: Ffi, work: CData) -> None:
        """Fill `arena` and `offsets`, where frames are, of `work`: a `struct X *` of the cffi module `of`."""
        work.arena = of.cast("uint8_t *", _number(self._arena))
        work.offsets = of.cast("uint64_t *", _number(self._offsets))

    def attach(self, of: Ffi, work: CData, batch: Batch) -> CData:
        """Point the member `struct batch_view batch` of `work` at `batch`, until `close`; returns `work`.

        `work`: a `struct X *` of the cffi module `of`.
        """
        self._view(of, work.batch, batch)
        self._work[work] = of
        return work

    def call(self, of: Ffi, function: CData, work: CData, kept: object) -> Callable[[], int]:
        """A callable for `function(work)`, for functions of the cffi module `of` that return after a burst.

        `function`: a pointer to a function `uint32_t (struct X *)`. `work`: a
        `struct X *`. `kept` stays alive with the callable.
        """
        if self.memory.threaded:
            return self.call_unlocked(function, work, kept)
        return bind(of, function, work, (self, kept))

    def call_named(self, of: Ffi, lib: Any, name: str, work: CData, kept: object) -> Callable[[], int]:
        """A callable as `call` makes it, for the function `name` of `lib`; `work`: a `struct X *`.

        The module's own wrapper is quicker than a call of a pointer through cffi.
        """
        if self.memory.threaded:
            return self.call_unlocked(getattr(lib, name), work, kept)
        return bind(of, of.addressof(lib, name), work, (self, kept))

    def call_unlocked(self, function: Callable[[CData], int], work: CData, kept: object) -> Callable[[], int]:
        """A callable for `function(work)` that releases the interpreter lock, for calls that may take long.

        `work`: a `struct X *`. `kept` stays alive with the callable.
        """
        call = partial(function, work)
        # `work` holds raw pointers: the objects behind them must live as long as the callable.
        call.__dict__["keeps"] = (self, kept)
        return call

    def _view(self, of: Ffi, view: CData, batch: Batch) -> None:
        head = of.cast("struct batch *", _number(_address(batch.memory)))
        view.head = head
        names = ("ids", "lengths", "hashes", "status", "verdicts")
        for k, name in enumerate(names):
            setattr(view, name, head.cells + k * batch.capacity)


def _and_then(
    dispatch: Callable[[], int], batch: Batch, not_in_c: Sequence[tuple[Batch, Callable[[], int]]]
) -> Callable[[], int]:
    """A callable for `dispatch` and then for the bursts of rings without C, whose frames it leaves in own batches."""

    def run() -> int:
        if not batch.count:
            return 0
        taken = dispatch()
        for cells, send in not_in_c:
            if cells.count:
                taken += send()
        return taken

    return run


def _number(pointer: CData) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def _address(view: memoryview) -> CData:
    """The address of the bytes of `view`, as `uint8_t *`.

    A lasting `from_buffer` object would hold the view, but the garbage collector of
    CPython 3.11 crashes on a cycle that contains such an object and its memoryview.
    """
    with ffi.from_buffer("uint8_t[]", view, require_writable=True) as cells:
        return ffi.cast("uint8_t *", cells)
