"""What a driver costs by itself: the device is turned by hand, in the same thread, outside the timed part.

`python -m ixyfwd.engine.turn` prints ns per packet of rx + tx (and of rx + touch + tx) for both engines. No other core
takes part, so caches are warm and nothing waits: the figures compare drivers, they do not predict a throughput.
"""

import gc
import statistics
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from ixyfwd.engine.contract import RS_INTERVAL, Doorbells, EngineMemory
from ixyfwd.engine.native import NativeEngine
from ixyfwd.engine.open import open_engine
from ixyfwd.engine.vector import VectorEngine
from ixyfwd.errors import UsageError
from ixyfwd.memory.arena import Arena, create_arena
from ixyfwd.memory.layout import ARENA_PAGE_BYTES, RingLayout, WorkerLayout, compute_layout, minimum_buffers
from ixyfwd.pci.function import DmaMap

FIRST_ADDRESS = 1 << 32
FRAME_BYTES = 60  # without CRC
TOUCHED_BYTE = 48
RX_DONE = 0x3  # DD, EOP
TX_DONE = 0x1  # DD
WARM_UP_TURNS = 5


@dataclass(frozen=True)
class Cost:
    """ns per packet over `turns` turns of the ring."""

    engine: str
    batch: int
    ring: int
    touch: bool
    turns: int
    median: float
    minimum: float


class HandTurnedPort:
    """A device that finishes descriptors when told to."""

    def __init__(self, arena: memoryview, rx: RingLayout, tx: RingLayout) -> None:
        self.rdt, self.tdt = array("I", [0]), array("I", [0])
        self._rx, self._tx = _dwords(arena, rx), _dwords(arena, tx)
        self._rdh = self._tdh = 0

    def deliver(self, n: int) -> None:
        """Write `n` frames back. The driver must have given that many descriptors."""
        entries = len(self._rx)
        slots = (self._rdh + np.arange(n)) % entries
        self._rx[slots, 1] = slots.astype(np.uint32) * np.uint32(2654435761)
        self._rx[slots, 2] = RX_DONE
        self._rx[slots, 3] = FRAME_BYTES
        self._rdh = (self._rdh + n) % entries

    def send_all(self) -> None:
        """Finish whatever was given for transmission."""
        entries = len(self._tx)
        n = (self.tdt[0] - self._tdh) % entries
        slots = (self._tdh + np.arange(n)) % entries
        self._tx[slots[slots % RS_INTERVAL == RS_INTERVAL - 1], 3] |= np.uint32(TX_DONE)
        self._tdh = self.tdt[0]

    def close(self) -> None:
        """Let the arena go."""
        del self._rx, self._tx


class Turntable:
    """One worker between two hand-turned ports; `turn` forwards most of a ring from the first to the second."""

    def __init__(self, arena: Arena, layout: WorkerLayout, *, engine: str, batch: int, touch: bool) -> None:
        """Raises UsageError for an unknown engine or a batch that does not fit the ring."""
        entries = layout.rx[0].entries
        # A started interval waits for its RS, so that many slots of the tx ring may be taken at the start of a turn.
        self.frames = (entries - RS_INTERVAL) // batch * batch
        if not self.frames:
            raise UsageError(f"a batch of {batch} does not fit a ring of {entries}; at most {entries - RS_INTERVAL}")
        self.ports = [HandTurnedPort(arena.view, rx, tx) for rx, tx in zip(layout.rx, layout.tx, strict=True)]
        doorbells = [Doorbells(memoryview(p.rdt), memoryview(p.tdt)) for p in self.ports]
        pages = tuple(FIRST_ADDRESS + i * ARENA_PAGE_BYTES for i in range(arena.size // ARENA_PAGE_BYTES))
        memory = EngineMemory(arena.view, layout, DmaMap(ARENA_PAGE_BYTES, pages), doorbells)
        self._engine = open_engine(engine, memory)
        cells = self._engine.new_batch(batch)
        for port in range(len(self.ports)):
            self._engine.rx(port).start()
        self._bursts = self.frames // batch
        self._rx = self._engine.rx(0).bind(cells)
        self._tx = self._engine.tx(1).bind(cells)
        self._touch = None
        if touch and isinstance(self._engine, NativeEngine | VectorEngine):
            self._touch = self._engine.bind_touch(cells, TOUCHED_BYTE)

    def turn(self) -> int:
        """Forward `frames` frames; returns the ns that the driver took."""
        self.ports[0].deliver(self.frames)
        ns = self._timed_touch() if self._touch else self._timed()
        self.ports[1].send_all()
        return ns

    def _timed(self) -> int:
        rx, tx = self._rx, self._tx
        start = time.perf_counter_ns()
        for _ in repeat(None, self._bursts):
            if rx():
                tx()
        return time.perf_counter_ns() - start

    def _timed_touch(self) -> int:
        rx, touch, tx = self._rx, self._touch, self._tx
        assert touch is not None
        start = time.perf_counter_ns()
        for _ in repeat(None, self._bursts):
            if rx():
                touch()
                tx()
        return time.perf_counter_ns() - start

    def close(self) -> None:
        """Let the arena go."""
        self._engine.close()
        for port in self.ports:
            port.close()


def measure(engine: str, batch: int, *, ring: int = 512, touch: bool = False, seconds: float = 0.3) -> Cost:
    """Turn for about `seconds`. Raises UsageError for an unknown engine or a batch that does not fit the ring."""
    buffers = minimum_buffers(2, ring, batch)
    layout = compute_layout(ports=2, workers=1, ring_size=ring, buffers_per_worker=buffers)
    with create_arena(layout.size, "auto") as arena, _no_collections():
        table = Turntable(arena, layout.workers[0], engine=engine, batch=batch, touch=touch)
        try:
            for _ in range(WARM_UP_TURNS):
                table.turn()
            costs: list[float] = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end or not costs:
                costs.append(table.turn() / table.frames)
        finally:
            table.close()
    return Cost(engine, batch, ring, touch, len(costs), statistics.median(costs), min(costs))


def main(batches: Sequence[int] = (1, 4, 16, 32, 64, 256)) -> None:
    """Print a table; the median and, in brackets, the minimum."""
    print(f"{'engine':8}{'program':10}" + "".join(f"{f'batch {b}':>18}" for b in batches))
    for engine in ("native", "vector"):
        for touch in (False, True):
            costs = [measure(engine, batch, touch=touch) for batch in batches]
            cells = "".join(f"{f'{c.median:.1f} ({c.minimum:.1f})':>18}" for c in costs)
            print(f"{engine:8}{'touch' if touch else 'xconnect':10}{cells}", flush=True)
    print("ns per packet (rx + program + tx), ring 512; device turned by hand in the same thread")


def _dwords(arena: memoryview, ring: RingLayout) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint32]]":
    cells = np.frombuffer(arena[ring.descriptors : ring.descriptors + 16 * ring.entries], np.uint32)
    return cells.reshape(-1, 4)


@contextmanager
def _no_collections() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


if __name__ == "__main__":
    main()
