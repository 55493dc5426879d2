"""The turntable: a driver between two devices that are turned by hand, in the same thread, outside the timed part.

It is the base of `ixyfwd bench cost`. No other core takes part, so caches are warm,
unless `bench.cachestate` changes them, and the driver never waits: the figures compare
drivers, they do not predict a throughput.
"""

import gc
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ixyfwd.engine.contract import EngineMemory, EnginePort, FusingEngine, RegisterBell
from ixyfwd.engine.open import open_engine
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.memory.arena import Arena, create_arena
from ixyfwd.memory.layout import ARENA_PAGE_BYTES, RingLayout, WorkerLayout, compute_layout, minimum_buffers
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES, RS_INTERVAL, RX_DD, RX_EOP, TX_DD
from ixyfwd.pci.function import DmaMap
from ixyfwd.programs.contract import ProgramOptions
from ixyfwd.programs.registry import DEFAULT_PROGRAM, frame_op, fusible, programs
from ixyfwd.roles.contract import ProgramSpec
from ixyfwd.roles.forward.steps import program_step
from ixyfwd.telemetry.counters import DROP_CAUSES, ProgramWord, program_word
from ixyfwd.worker.rounds import Turn, new_turn

FIRST_ADDRESS = 1 << 32
FAMILY = "ixgbe"  # whose descriptors are turned
FRAME_BYTES = 60  # without CRC
WARM_UP_TURNS = 5


class HandTurnedPort:
    """A device that finishes descriptors when told to."""

    def __init__(self, arena: memoryview, rx: RingLayout, tx: RingLayout) -> None:
        """View two rings. `arena`: uint8[size], the memory that the layouts speak of."""
        self.rdt, self.tdt = array("I", [0]), array("I", [0])
        self._rx, self._tx = _dwords(arena, rx), _dwords(arena, tx)
        self._rdh = self._tdh = 0

    def deliver(self, n: int) -> None:
        """Write `n` frames back. The driver must have given as many descriptors."""
        entries = len(self._rx)
        slots = (self._rdh + np.arange(n)) % entries
        self._rx[slots, 1] = slots.astype(np.uint32) * np.uint32(2654435761)
        self._rx[slots, 2] = RX_DD | RX_EOP
        self._rx[slots, 3] = FRAME_BYTES
        self._rdh = (self._rdh + n) % entries

    def send_all(self) -> int:
        """Finish all descriptors that were given for transmission; returns the number of frames."""
        entries = len(self._tx)
        n = (self.tdt[0] - self._tdh) % entries
        slots = (self._tdh + np.arange(n)) % entries
        self._tx[slots[slots % RS_INTERVAL == RS_INTERVAL - 1], 3] |= np.uint32(TX_DD)
        self._tdh = self.tdt[0]
        return int(n)

    def close(self) -> None:
        """Release the views of the arena."""
        del self._rx, self._tx


class Turntable:
    """One worker between two hand-turned ports; `turn` forwards most of a ring from the first to the second."""

    def __init__(
        self,
        arena: Arena,
        layout: WorkerLayout,
        *,
        engine: str,
        batch: int,
        program: str,
        loop: str = "python",
        bursts: int | None = None,
    ) -> None:
        """Set the worker up. `batch`: frames per burst. `bursts`: at most so many per turn.

        Raises UsageError for an unknown engine or loop, or a batch that does not fit
        the ring.
        """
        entries = layout.rx[0].entries
        # A started interval waits for its RS, so that many slots of the tx ring may be taken at the start of a turn.
        fitting = (entries - RS_INTERVAL) // batch
        self._bursts = min(fitting, bursts or fitting)
        self.frames = self._bursts * batch
        if not self.frames:
            raise UsageError(f"a batch of {batch} does not fit a ring of {entries}; at most {entries - RS_INTERVAL}")
        self.ports = [HandTurnedPort(arena.view, rx, tx) for rx, tx in zip(layout.rx, layout.tx, strict=True)]
        bells = [(RegisterBell(memoryview(p.rdt)), RegisterBell(memoryview(p.tdt))) for p in self.ports]
        pages = tuple(FIRST_ADDRESS + i * ARENA_PAGE_BYTES for i in range(arena.size // ARENA_PAGE_BYTES))
        ports = [EnginePort(FAMILY, DmaMap(ARENA_PAGE_BYTES, pages), rx, tx) for rx, tx in bells]
        self.memory = memory = EngineMemory(arena.view, layout, ports)
        self.prepare: Callable[[], object] | None = None  # called in each turn before the driver's part begins
        self._engine = open_engine(engine, memory)
        for port in range(len(self.ports)):
            self._engine.rx(port).start()
        options = programs()[program]()
        spec = ProgramSpec(options.name, options.as_json(), options.decides)
        self._turn = new_turn([program_step((spec,), self._engine, batch, (0, 1))], self._bursts)
        self._dropped = 0
        try:
            self._forward = self._fuse(batch, options) if loop == "fused" else None
        except UsageError:
            self.close()
            raise

    def _fuse(self, batch: int, program: ProgramOptions) -> Callable[[], int]:
        if not (isinstance(self._engine, FusingEngine) and fusible((program,))):
            raise UsageError(f"the {self._engine.name} engine cannot fuse the {program.name} program into its loop")
        return self._engine.bind_forward([(0, 1)], batch, frame_op((program,)), self._bursts)

    def surround(self, wrap: Callable[[Turn], Turn]) -> None:
        """Replace the timed callable of the Python loop by `wrap` of it."""
        self._turn = wrap(self._turn)

    def warm_up(self) -> None:
        """Turn a few times, for caches, branch predictors and prepared views."""
        for _ in range(WARM_UP_TURNS):
            self.turn()

    def turn(self) -> int:
        """Forward `frames` frames; returns the time, in ns, that the driver took.

        Raises IxyfwdError if it did not send all of them.
        """
        self.ports[0].deliver(self.frames)
        if self.prepare:
            self.prepare()
        ns = self._timed_fused(self._forward) if self._forward else self._timed()
        before, self._dropped = self._dropped, self._drops()
        left = self.ports[1].send_all() + self._dropped - before
        if left != self.frames:
            raise IxyfwdError(f"the driver sent or dropped {left} of the {self.frames} frames that it was given")
        return ns

    def _drops(self) -> int:
        """The number of frames that the program has dropped so far."""
        first = self.memory.layout.counters + 8 * program_word(0, ProgramWord.DROPS)
        return sum(self.memory.arena[first : first + 8 * DROP_CAUSES].cast("Q"))

    def _timed(self) -> int:
        turn = self._turn
        start = time.perf_counter_ns()
        turn(_go_on)
        return time.perf_counter_ns() - start

    def _timed_fused(self, forward: Callable[[], int]) -> int:
        start = time.perf_counter_ns()
        bursts = forward() >> 16
        ns = time.perf_counter_ns() - start
        if bursts != self._bursts:
            raise IxyfwdError(f"the fused loop made {bursts} bursts of what should be {self._bursts}")
        return ns

    def close(self) -> None:
        """Release the views of the arena."""
        self._engine.close()
        for port in self.ports:
            port.close()


@contextmanager
def open_turntable(
    engine: str,
    batch: int,
    *,
    ring: int = 512,
    program: str = DEFAULT_PROGRAM,
    loop: str = "python",
    bursts: int | None = None,
) -> Iterator[Turntable]:
    """A turntable with an arena of its own, and without garbage collections, while the context is open.

    `batch`: frames per burst. `ring`: descriptors. `bursts`: at most so many per turn.

    Raises UsageError for an unknown engine or loop, or a batch that does not fit the
    ring.
    """
    buffers = minimum_buffers(2, ring, batch)
    layout = compute_layout(ports=2, workers=1, ring_size=ring, buffers_per_worker=buffers)
    with create_arena(layout.size, "auto") as arena, _no_collections():
        table = Turntable(
            arena, layout.workers[0], engine=engine, batch=batch, program=program, loop=loop, bursts=bursts
        )
        try:
            yield table
        finally:
            table.close()


def _go_on(bursts: int) -> bool:
    return False


def _dwords(arena: memoryview, ring: RingLayout) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint32]]":
    cells = np.frombuffer(arena[ring.descriptors : ring.descriptors + DESCRIPTOR_BYTES * ring.entries], np.uint32)
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
