"""The burst contract that both engines keep and one conformance suite checks.

An engine serves one worker: its rings at every port, its buffers, its free stack and the per-port words of its
counters page, all in the worker's run of the arena. Nothing here blocks, allocates per packet, or is called by two
threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ixyfwd.engine.batch import Batch
from ixyfwd.memory.layout import WorkerLayout
from ixyfwd.pci.function import DmaMap
from ixyfwd.telemetry.counters import NO_PAUSES

RS_INTERVAL = 32  # a tx descriptor asks for write-back when its index is 31 modulo 32


@dataclass(frozen=True)
class Doorbells:
    """The two tail registers of a queue pair: one-element 'I' views of BAR0. A store is one register write."""

    rdt: memoryview
    tdt: memoryview


@dataclass(frozen=True)
class EngineMemory:
    """What an engine works on. `arena` is the whole arena as a writable byte view; `dma` gives device addresses.

    `segmented`: frames may span several buffers. Each entry of a batch is then a segment; the last one of a frame has
    EOP in its status. Bursts take whole frames only and count frames; what they return counts entries.

    `threaded`: another Python thread works beside the one that calls the engine, so calls into C let go of the
    interpreter lock. Without it, bound callables may hold on to it.
    """

    arena: memoryview
    layout: WorkerLayout
    dma: DmaMap
    doorbells: Sequence[Doorbells]  # by port
    segmented: bool = False
    threaded: bool = False


class RxQueue(Protocol):
    """A receive ring."""

    def start(self) -> None:
        """Fill every descriptor with a buffer from the pool and write RDT = entries-1, once.

        The device owns entries-1 descriptors; the last is handed over by the first refill, so that a burst refills
        the very slots that it took, in whole cache lines. Raises IxyfwdError if the pool is too small.
        """

    def burst(self, batch: Batch) -> int:
        """Take up to `batch.capacity` finished frames into `batch` (replacing its content); returns how many.

        At most `capacity` descriptors are taken. Every taken slot is refilled from the pool and RDT written once, or
        not at all if nothing was taken. When the pool runs dry, frames stay in the ring and RX_NO_BUFFER counts the
        event. Frames with RXE and frames that span several descriptors (segmented: more than a burst can take) are
        freed, counted in RX_ERRORS (once, at their EOP) and not returned. RX_PACKETS counts all that were received,
        RX_ERRORS among them; RX_BYTES too.
        """

    def bind(self, batch: Batch) -> Callable[[], int]:
        """`burst(batch)` as the cheapest possible callable, for the poll loop."""


class TxQueue(Protocol):
    """A transmit ring."""

    def burst(self, batch: Batch) -> int:
        """Queue the frames of `batch` in order; returns how many were taken. The batch is empty afterwards.

        Reclaims finished descriptors first if the ring is half full or has no room for the batch (RS every
        RS_INTERVAL, whole intervals only; segmented: RS at the EOP of the frame that completes an interval). What finds
        no room is freed and counted in TX_FULL. TDT is written once, or not at all when nothing was taken.
        """

    def bind(self, batch: Batch) -> Callable[[], int]:
        """`burst(batch)` as the cheapest possible callable, for the poll loop."""

    def clean(self) -> int:
        """Give the buffers of finished whole intervals back to the pool; returns how many. For idle moments."""


@runtime_checkable
class FusingEngine(Protocol):
    """An engine that can run rx, a simple program and tx over all links by itself, burst after burst."""

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
        LOOKED_NS what was meant to be slept.
        """


class Engine(Protocol):
    """One worker's rings.

    Opening one rebuilds the free stack and the ring state from scratch: every buffer is free, every index 0. The
    worker's queues must be freshly enabled (head = tail = 0). Ring sizes are powers of two from 64 to 4096.
    """

    name: str

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
