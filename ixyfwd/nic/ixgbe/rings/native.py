"""The rings in C, for the native engine."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine
from ixyfwd.engine.native import NativeEngine
from ixyfwd.engine.queue import Rx, Tx
from ixyfwd.engine.rings import PortRings
from ixyfwd.engine.traffic import Frames
from ixyfwd.memory.layout import RingLayout
from ixyfwd.nic.ixgbe.rings._ixgbe import ffi, lib
from ixyfwd.nic.ixgbe.rings.start import start_rx
from ixyfwd.telemetry.counters import NOT_LOOKED, Word

IDLE_ROUNDS: Final = 16  # of the fused loop before Python runs: a round takes tens of ns, the way there a hundred

CData = Any  # a C object of cffi's

# Names of C functions.
PLAIN: Final = ("rx_burst", "tx_burst", "tx_clean")
SEGMENTED: Final = ("rx_burst_segmented", "tx_burst_segmented", "tx_clean_segmented")


def open_native(engine: Engine, port: int) -> PortRings:
    """Open the rings of a port. Raises TypeError for another engine."""
    if not isinstance(engine, NativeEngine):
        raise TypeError(f"expected the native engine, not {engine!r}")
    return NativeRings(engine, port)


class NativeRings:
    """The rings of a port in C.

    See `engine.rings.PortRings`, `engine.rings.CalledRings`, `engine.rings.FusingRings`
    and `engine.rings.SourceRings`.
    """

    def __init__(self, engine: NativeEngine, port: int) -> None:
        self._engine = engine
        self._port = port
        memory = engine.memory
        self._rx_burst, self._tx_burst, self._tx_clean = SEGMENTED if memory.segmented else PLAIN
        bells = memory.ports[port]
        self._rx_queue = self._new_queue(memory.layout.rx[port], bells.rdt)
        self._tx_queue = self._new_queue(memory.layout.tx[port], bells.tdt)
        self.rx = Rx(partial(self._bind, self._rx_burst, self._rx_queue), self._start)
        self.tx = Tx(partial(self._bind, self._tx_burst, self._tx_queue), self._clean)

    def close(self) -> None:
        """Release the bursts; the engine points every queue that has a batch at an empty one."""
        self.rx.forget()
        self.tx.forget()

    def tx_call(self, batch: Batch) -> tuple[int, CData]:
        """See `engine.rings.CalledRings`."""
        send = ffi.cast("uintptr_t", ffi.addressof(lib, self._tx_burst))
        return int(send), self.attached(self._tx_queue, batch)

    def bind_source(self, batch: Batch, frames: Frames) -> Callable[[], int]:
        """See `engine.rings.SourceRings`."""
        engine = self._engine
        kept: list[object] = [batch, self]
        source = engine.attach(ffi, _new_source(frames, kept), batch)
        source.queue = self._tx_queue
        source.page = ffi.cast("uint64_t *", engine.counters_address())
        engine.place(ffi, source)
        return engine.call_named(ffi, lib, "source_burst", source, kept)

    def bind_forward(  # noqa: PLR0917 - as the protocol has it
        self,
        ports: Sequence[PortRings],
        links: Sequence[tuple[int, int]],
        batch: int,
        frame_op: str | None,
        limit: int,
        shared_cpu: bool,
        pause_ns: int,
    ) -> Callable[[], int]:
        """See `engine.rings.FusingRings`."""
        engine = self._engine
        directions = ffi.new("struct direction[]", len(links))
        kept: list[object] = [directions]
        for direction, (rx_port, tx_port) in zip(directions, links, strict=True):
            cells = engine.new_batch(batch)
            direction.rx = rx = self._queue_of(ports[rx_port], cells, sends=False)
            direction.tx = tx = self._queue_of(ports[tx_port], cells, sends=True)
            direction.limit = min(batch, direction.rx.mask)
            kept += [cells, rx, tx]
            if frame_op is not None:
                frames = ffi.new("struct frames *")
                engine.place(ffi, frames)
                direction.frames = engine.attach(ffi, frames, cells)
                kept.append(frames)
        forwarder = ffi.new("struct forwarder *")
        forwarder.directions = directions
        forwarder.count = len(links)
        forwarder.page = ffi.cast("uint64_t *", engine.counters_address())
        forwarder.page[Word.LOOKED_NS] = NOT_LOOKED
        forwarder.pause_ns = pause_ns
        forwarder.limit = min(limit, lib.MAX_BURSTS - len(links) * lib.SINGLES)
        forwarder.patience = 1 if shared_cpu else IDLE_ROUNDS
        # Where the CPU is shared, wall time would charge this worker for other processes' time.
        forwarder.clock = time.CLOCK_THREAD_CPUTIME_ID if shared_cpu else time.CLOCK_MONOTONIC
        # Calls are few and may take hundreds of microseconds: another thread may run meanwhile.
        function = getattr(lib, f"{frame_op}_forward" if frame_op else "forward")
        return engine.call_unlocked(function, forwarder, kept)

    def attached(self, queue: CData, batch: Batch) -> CData:
        """A copy of `queue`, a `struct queue *`, that works on `batch`. Raises IxyfwdError if the engine is closed."""
        self._engine.check_open()
        return self._engine.attach(ffi, ffi.new("struct queue *", queue[0]), batch)

    def _queue_of(self, rings: PortRings, batch: Batch, *, sends: bool) -> CData:
        if not isinstance(rings, NativeRings):
            raise TypeError(f"expected rings of this family, not {rings!r}")
        return rings.attached(rings._tx_queue if sends else rings._rx_queue, batch)

    def _bind(self, function: str, queue: CData, batch: Batch) -> Callable[[], int]:
        return self._engine.call_named(ffi, lib, function, self.attached(queue, batch), batch)

    def _start(self) -> None:
        self._engine.check_open()
        start_rx(self._engine.memory, self._port)

    def _clean(self) -> int:
        self._engine.check_open()
        return int(getattr(lib, self._tx_clean)(self._tx_queue))

    def _new_queue(self, ring: RingLayout, doorbell: memoryview) -> CData:
        engine = self._engine
        queue = ffi.new("struct queue *")
        queue.descriptors = ffi.cast("struct descriptor *", engine.address_of(ring.descriptors))
        queue.ids = ffi.cast("uint32_t *", engine.address_of(ring.ids))
        queue.state = ffi.cast("struct ring_state *", engine.address_of(ring.state))
        queue.pool = ffi.cast("struct pool *", engine.address_of(engine.memory.layout.pool))
        queue.addresses = ffi.cast("uint64_t *", engine.device_addresses_address(self._port))
        queue.counters = ffi.cast("uint64_t *", engine.port_counters_address(self._port))
        queue.doorbell = ffi.cast("uint32_t *", engine.hold(doorbell))
        queue.mask = ring.entries - 1
        return queue


def _new_source(frames: Frames, kept: list[object]) -> CData:
    """A `struct source *` without the engine's part; the tables that it points at are added to `kept`."""
    source = ffi.new("struct source *")
    tables = {
        "templates": ffi.new("uint8_t[]", frames.templates),
        "sizes": ffi.new("uint16_t[]", frames.sizes),
        "frame_ps": ffi.new("uint64_t[]", frames.frame_ps),
        "schedule": ffi.new("uint8_t[]", frames.schedule),
    }
    for name, table in tables.items():
        setattr(source, name, table)
        kept.append(table)
    source.mean_ps = frames.mean_ps
    source.left = frames.count
    source.flows = frames.flows
    source.size_count = len(frames.sizes)
    source.schedule_length = len(frames.schedule)
    return source
