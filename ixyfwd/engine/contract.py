"""The burst contract that all engines keep and one conformance suite checks.

An engine serves one worker: its rings at every port, its buffers, its free stack and the per-port words of its
counters page, all in the worker's run of the arena. Nothing here blocks, allocates per packet, or is called by two
threads.
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
    """A queue is notified by one store into `view`, which has one element of the register's width. `value`: what is
    stored; None: the ring's new tail."""

    view: memoryview
    value: int | None = None


@dataclass(frozen=True)
class CallBell:
    """A queue is notified by a system call on `fd`; which call, the family's bursts know."""

    fd: int


Bell = RegisterBell | CallBell


@dataclass(frozen=True)
class EnginePort:
    """A port as a worker sees it: its NIC family, whose rings it has, where its device finds the arena, and how its two
    rings are notified."""

    family: str
    dma: DmaMap
    rx: Bell
    tx: Bell

    @property
    def rdt(self) -> memoryview:
        """The receive ring's tail register. Raises IxyfwdError if the port has none."""
        return self._tail(self.rx)

    @property
    def tdt(self) -> memoryview:
        """The transmit ring's tail register. Raises IxyfwdError if the port has none."""
        return self._tail(self.tx)

    def _tail(self, bell: Bell) -> memoryview:
        if isinstance(bell, RegisterBell) and bell.view.format == "I" and bell.value is None:
            return bell.view
        raise IxyfwdError(f"a queue of family {self.family} is notified by {bell}; expected a 32-bit tail register")


@dataclass(frozen=True)
class EngineMemory:
    """What an engine works on. `arena` is the whole arena as a writable byte view.

    `segmented`: frames may span several buffers. Each entry of a batch is then a segment; the last one of a frame has
    EOP in its status. Bursts take whole frames only and count frames; what they return counts entries.

    `threaded`: another Python thread works beside the one that calls the engine, so calls into C let go of the
    interpreter lock. Without it, bound callables may hold on to it.
    """

    arena: memoryview
    layout: WorkerLayout
    ports: Sequence[EnginePort]  # of families whose rings are opened with the engine
    segmented: bool = False
    threaded: bool = False

    def port_words(self, port: int) -> memoryview:
        """A port's block of the counters page, as 'Q'."""
        return self._words(port_word(port, PortWord.RX_PACKETS), PORT_BLOCK_WORDS)

    def program_words(self, program: int) -> memoryview:
        """The block of program number `program` in the counters page, as 'Q'."""
        return self._words(program_word(program, ProgramWord.IN), PROGRAM_BLOCK_WORDS)

    def _words(self, word: int, count: int) -> memoryview:
        first = self.layout.counters + 8 * word
        return self.arena[first : first + 8 * count].cast("Q")


class RxQueue(Protocol):
    """A receive ring."""

    def start(self) -> None:
        """Fill every descriptor with a buffer from the pool and notify the device once. Raises IxyfwdError if the pool
        is too small.

        Where a tail register is the doorbell, the device owns entries-1 descriptors (RDT = entries-1); the last is
        handed over by the first refill, so that a burst refills the very slots that it took, in whole cache lines.
        """

    def burst(self, batch: Batch) -> int:
        """Take up to `batch.capacity` finished frames into `batch` (replacing its content); returns how many.

        At most `capacity` descriptors are taken. Every taken slot is refilled from the pool and the doorbell rung
        once, or not at all if nothing was taken. When the pool runs dry, frames stay in the ring and RX_NO_BUFFER
        counts the event. Frames with a receive error and frames that span several descriptors (segmented: more than a
        burst can take) are freed, counted in RX_ERRORS (once, at their EOP) and not returned. RX_PACKETS counts all
        that were received, RX_ERRORS among them; RX_BYTES too.
        """

    def bind(self, batch: Batch) -> Callable[[], int]:
        """`burst(batch)` as the cheapest possible callable, for the poll loop."""


class TxQueue(Protocol):
    """A transmit ring."""

    def burst(self, batch: Batch) -> int:
        """Queue the frames of `batch` in order; returns how many were taken. The batch is empty afterwards.

        Reclaims finished descriptors first if the ring is half full or has no room for the batch. What finds no room
        is freed and counted in TX_FULL. The doorbell is rung once, or not at all when nothing was taken.
        """

    def bind(self, batch: Batch) -> Callable[[], int]:
        """`burst(batch)` as the cheapest possible callable, for the poll loop."""

    def clean(self) -> int:
        """Give the buffers of finished descriptors back to the pool; returns how many. For idle moments."""


@runtime_checkable
class FusingEngine(Protocol):
    """An engine that can run rx, a simple program and tx over all links by itself, burst after burst."""

    def fuses(self, links: Sequence[tuple[int, int]]) -> bool:
        """Whether it can for these links: all ports of one family, which offers such a loop, and
        at one set of device addresses."""

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

        `frame_op`: the program, one with a `frame.h`, that each frame goes through, or None. It returns after the round
        over all links that brings bursts and empty rounds to `limit`, or after some empty rounds in a row (where others
        wait for the CPU, after one): bursts that had frames << 16 | empty rounds at the end. POLLS, EMPTY_POLLS, BURSTS
        and BUSY_NS of the counters page are kept by it, and PAUSES, PAUSED_NS and LONGEST_PAUSE_NS: times of more than
        `pause_ns` in which it did not look at the rings, between two calls too. Who rests between calls adds to
        LOOKED_NS what was meant to be slept. Raises UsageError for links that it does not fuse.
        """


class Engine(Protocol):
    """One worker's rings, which may be of several NIC families, with one pool and one kind of batch.

    Opening one rebuilds the free stack and the ring state from scratch: every buffer is free, every index 0. The
    worker's queues must be freshly enabled (head = tail = 0). Ring sizes are powers of two from 64 to 4096.
    """

    name: str

    @property
    def memory(self) -> EngineMemory:
        """What it works on."""

    @property
    def pool(self) -> Pool:
        """The free stack, a buffer at a time: for rings in plain Python. Raises IxyfwdError after `close`."""

    def check_open(self) -> None:
        """Raises IxyfwdError after `close`."""

    def rx(self, port: int) -> RxQueue: ...

    def tx(self, port: int) -> TxQueue: ...

    def new_batch(self, capacity: int) -> Batch:
        """A batch that this engine's queues accept."""

    def free_buffers(self) -> int:
        """Buffers in the free stack."""

    def bind_pass_all(self, batch: Batch) -> Callable[[], int]:
        """A callable that gives every frame of `batch` the verdict PASS, before the first program that decides."""

    def bind_settle(self, batch: Batch, program: int) -> Callable[[], int]:
        """A callable that carries out the verdicts of program number `program` on the frames of `batch`.

        They are counted in the program's block of the counters page; what it dropped, or gave a verdict that means
        nothing, is freed and leaves the batch. Returns the entries that are left.
        """

    def bind_dispatch(self, batch: Batch, passed_to: int) -> Callable[[], int]:
        """A callable that queues each frame of `batch` for the port that its verdict names, those with PASS for
        `passed_to`, in order; returns how many entries were taken. As `TxQueue.burst` does with one port.

        Every verdict was settled: it is PASS, or OUT of a port that there is.
        """

    def close(self) -> None:
        """Drop every view of the arena, so that it can be unmapped. Bound callables must not be called any more."""
