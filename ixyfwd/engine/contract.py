"""The burst contract that all engines keep and one conformance suite checks.

An engine serves one worker: its rings at every port, its buffers, its free stack and
the per-port words of its counters page, all in the worker's run of the arena. No method
here blocks, allocates per packet, or is called by two threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.pool import Pool
from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.layout import WorkerLayout
from ixyfwd.pci.function import DmaMap
from ixyfwd.telemetry.counters import (
    NO_PAUSES,
    PORT_BLOCK_WORDS,
    PROGRAM_BLOCK_WORDS,
    PortWord,
    ProgramWord,
    port_word,
    program_word,
)


@dataclass(frozen=True)
class RegisterBell:
    """A register that notifies a queue by one store of `value`; None: of the ring's new tail.

    `view`: uint8[1], uint16[1], uint32[1] or uint64[1], the register.
    """

    view: memoryview
    value: int | None = None


@dataclass(frozen=True)
class CallBell:
    """A descriptor that notifies a queue by a system call, which the family's bursts choose."""

    fd: int


Bell = RegisterBell | CallBell


@dataclass(frozen=True)
class EnginePort:
    """A port as a worker sees it.

    `family`: the NIC family, whose rings it has. `dma`: the device addresses of the
    arena. `rx`, `tx`: how its two rings are notified.
    """

    family: str
    dma: DmaMap
    rx: Bell
    tx: Bell

    @property
    def rdt(self) -> memoryview:
        """The receive ring's tail register, uint32[1]. Raises IxyfwdError if the port has none."""
        return self._tail(self.rx)

    @property
    def tdt(self) -> memoryview:
        """The transmit ring's tail register, uint32[1]. Raises IxyfwdError if the port has none."""
        return self._tail(self.tx)

    def _tail(self, bell: Bell) -> memoryview:
        if isinstance(bell, RegisterBell) and bell.view.format == "I" and bell.value is None:
            return bell.view
        raise IxyfwdError(f"a queue of family {self.family} is notified by {bell}; expected a 32-bit tail register")


@dataclass(frozen=True)
class EngineMemory:
    """The memory that an engine works on. `arena`: uint8[size], the whole arena, writable.

    `segmented`: frames may span several buffers. Each entry of a batch is then a
    segment; the last one of a frame has EOP in its status. Bursts take whole frames
    only and count frames; the number that they return is one of entries.

    `threaded`: another Python thread works beside the one that calls the engine, so
    calls into C release the interpreter lock. Otherwise bound callables may hold it.
    """

    arena: memoryview
    layout: WorkerLayout
    ports: Sequence[EnginePort]  # of families whose rings are opened with the engine
    segmented: bool = False
    threaded: bool = False

    def port_words(self, port: int) -> memoryview:
        """A port's block of the counters page, uint64[32]."""
        return self._words(port_word(port, PortWord.RX_PACKETS), PORT_BLOCK_WORDS)

    def program_words(self, program: int) -> memoryview:
        """The block of program number `program` in the counters page, uint64[32]."""
        return self._words(program_word(program, ProgramWord.IN), PROGRAM_BLOCK_WORDS)

    def _words(self, word: int, count: int) -> memoryview:
        first = self.layout.counters + 8 * word
        return self.arena[first : first + 8 * count].cast("Q")


class RxQueue(Protocol):
    """A receive ring of one queue."""

    def start(self) -> None:
        """Fill every descriptor with a buffer from the pool and notify the device once.

        Raises IxyfwdError if the pool has too few buffers.

        Where a tail register is the doorbell, the device owns entries-1 descriptors
        (RDT = entries-1); the last is handed over by the first refill, so that a burst
        refills the very slots that it took, in whole cache lines.
        """

    def burst(self, batch: Batch) -> int:
        """Take up to `batch.capacity` finished frames into `batch`, in place of its content; returns how many.

        At most `capacity` descriptors are taken. Every taken slot is refilled from the
        pool and the doorbell rung once, or not at all if nothing was taken. When the
        pool runs dry, frames stay in the ring and RX_NO_BUFFER counts the event. Frames
        with a receive error and frames that span several descriptors (segmented: more
        than a burst can take) are freed, counted in RX_ERRORS (once, at their EOP) and
        not returned. RX_PACKETS counts all that were received, RX_ERRORS among them;
        RX_BYTES too.
        """

    def bind(self, batch: Batch) -> Callable[[], int]:
        """A callable for `burst(batch)` of little overhead, for the poll loop. Raises IxyfwdError after `close`."""


class TxQueue(Protocol):
    """A transmit ring of one queue."""

    def burst(self, batch: Batch) -> int:
        """Queue the frames of `batch` in order; returns how many were taken. The batch is empty afterwards.

        Reclaims finished descriptors first if the ring is half full or has no room for the batch. What finds no room
        is freed and counted in TX_FULL. The doorbell is rung once, or not at all when nothing was taken.
        """

    def bind(self, batch: Batch) -> Callable[[], int]:
        """A callable for `burst(batch)` of little overhead, for the poll loop. Raises IxyfwdError after `close`."""

    def clean(self) -> int:
        """Give the buffers of finished descriptors back to the pool, in idle moments; returns how many."""


@runtime_checkable
class FusingEngine(Protocol):
    """An engine that can run rx, a simple program and tx over all links by itself, burst after burst."""

    def fuses(self, links: Sequence[tuple[int, int]]) -> bool:
        """Whether the engine can fuse these links, given as (rx port, tx port).

        It can if all their ports are of one family, which offers such a loop, and share
        device addresses.
        """

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
        """A callable that forwards over `links` (rx port, tx port) in bursts of up to `batch` frames.

        `frame_op`: the program, one with a `frame.h`, that each frame goes through, or
        None. It returns after the round over all links that brings bursts and empty
        rounds to `limit`, or after some empty rounds in a row (one, with `shared_cpu`:
        other processes wait for the CPU). The result is bursts that had frames << 16 |
        empty rounds at the end. It counts POLLS, EMPTY_POLLS, BURSTS and BUSY_NS in the
        counters page, and PAUSES, PAUSED_NS and LONGEST_PAUSE_NS: times of more than
        `pause_ns` in which it did not poll the rings, those between two calls included.
        A caller that sleeps between calls adds the intended time to LOOKED_NS. Raises
        UsageError for links that it does not fuse.
        """


class Engine(Protocol):
    """One worker's rings, which may be of several NIC families, with one pool and one kind of batch.

    Opening one rebuilds the free stack and the ring state from scratch: every buffer is free, every index 0. The
    worker's queues must be freshly enabled (head = tail = 0). Ring sizes are powers of two from 64 to 4096.
    """

    name: str

    @property
    def memory(self) -> EngineMemory:
        """The memory that the engine works on."""

    @property
    def pool(self) -> Pool:
        """The free stack, a buffer at a time: for rings in plain Python. Raises IxyfwdError after `close`."""

    def check_open(self) -> None:
        """Check that the engine is open. Raises IxyfwdError after `close`."""

    def rx(self, port: int) -> RxQueue:
        """The receive ring of a port."""

    def tx(self, port: int) -> TxQueue:
        """The transmit ring of a port."""

    def new_batch(self, capacity: int) -> Batch:
        """A batch that this engine's queues accept."""

    def free_buffers(self) -> int:
        """The number of buffers in the free stack. Raises IxyfwdError after `close`."""

    def bind_pass_all(self, batch: Batch) -> Callable[[], int]:
        """A callable that gives every frame of `batch` the verdict PASS, before the first program that decides."""

    def bind_settle(self, batch: Batch, program: int) -> Callable[[], int]:
        """A callable that carries out the verdicts of program number `program` on the frames of `batch`.

        They are counted in the program's block of the counters page. Frames that it
        dropped, or gave an invalid verdict, are freed and leave the batch. The callable
        returns the entries that are left.
        """

    def bind_dispatch(self, batch: Batch, passed_to: int) -> Callable[[], int]:
        """A callable that queues each frame of `batch` for the port that its verdict names.

        Frames with PASS go to the port `passed_to`. The order is kept, and each port
        takes its frames as by `TxQueue.burst`; the callable returns how many entries
        were taken. Every verdict was settled: it is PASS, or OUT of a port that exists.
        """

    def close(self) -> None:
        """Release every view of the arena, so that it can be unmapped. Bound callables must not be called any more."""
