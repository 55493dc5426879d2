"""The worker processes and what they say of themselves in shared memory."""

import os
import signal
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from ixyfwd.kit.children import Child
from ixyfwd.memory.arena import Arena
from ixyfwd.memory.layout import RingLayout
from ixyfwd.memory.pool import empty_ring, reset_worker
from ixyfwd.nic.contract import QueueView, RingView
from ixyfwd.supervisor.ports import Port, ring_memory, set_up_rx_queue, set_up_tx_queue
from ixyfwd.supervisor.pulse import Pulse
from ixyfwd.telemetry.counters import (
    DROP_CAUSES,
    PAGE_BYTES,
    Command,
    PortWord,
    ProgramWord,
    State,
    Word,
    port_word,
    program_word,
)
from ixyfwd.telemetry.snapshot import WorkerState
from ixyfwd.worker.spec import WorkerSpec

READY_TIMEOUT_S = 60.0  # numpy on a crowded or emulated machine takes its time
DRAIN_TIMEOUT_S = 1.0
QUIT_TIMEOUT_S = 0.5
_DROPS = range(ProgramWord.DROPS, ProgramWord.DROPS + DROP_CAUSES)
_RING_STATE = struct.Struct("<3I")  # next, tail, clean
_MAIN = "from ixyfwd.worker.main import main; main()"


@dataclass(frozen=True)
class Totals:
    """One worker's counters at one moment, summed over its ports."""

    rx_packets: int
    rx_errors: int
    tx_packets: int
    tx_full: int
    program_drops: int
    lost_in_hand: int  # with processes whose rings were rebuilt

    @property
    def taken(self) -> int:
        """Frames taken from a ring without an error: what the first program gets."""
        return self.rx_packets - self.rx_errors

    @property
    def in_hand(self) -> int:
        """Frames taken from a ring and neither sent nor dropped; 0 unless the worker is inside a burst."""
        return self.taken - self.tx_packets - self.tx_full - self.program_drops - self.lost_in_hand


@dataclass(frozen=True)
class _Losses:
    """Frames that a worker's dead processes had in hand, and, by port, in rx rings and in tx rings."""

    in_hand: int = 0
    in_rx: tuple[int, ...] = ()
    in_tx: tuple[int, ...] = ()

    def untaken(self, port: int) -> int:
        """In the rx ring of a port."""
        return self.in_rx[port] if self.in_rx else 0

    def unsent(self, port: int) -> int:
        """In the tx ring of a port."""
        return self.in_tx[port] if self.in_tx else 0


class Worker:
    """One worker process with its counters page."""

    def __init__(self, spec: WorkerSpec, arena: Arena) -> None:
        self.spec = spec
        self.index = spec.index
        self._arena = arena
        start = spec.layout.counters
        self._page = arena.view[start : start + PAGE_BYTES].cast("Q")
        self._child: Child | None = None
        self._pid = 0
        self._losses = _Losses()
        self.lost = 0  # frames, with processes of it that have ended and whose rings were rebuilt
        self.restarts = 0
        self.last_death: str | None = None
        self.pulse = Pulse(0, lambda: None)

    @property
    def name(self) -> str:
        """For messages."""
        return f"worker {self.index}"

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._pid

    @property
    def pidfd(self) -> int:
        """Readable when the process ends."""
        return -1 if self._child is None else self._child.pidfd

    def start(self) -> None:
        """Start the process; `wait_ready` says when it polls. After a death, on rebuilt rings: see `bury`."""

        def arguments(order_fd: int, words_fd: int) -> list[str]:
            return ["-c", _MAIN, str(order_fd), str(words_fd), str(os.getpid())]

        self._page[Word.STATE], self._page[Word.COMMAND] = State.STARTING, Command.RUN
        self._child = Child(self.name, arguments, self.spec.as_json(), self.spec.inherited_fds())
        self._pid = self._child.pid
        # A turn of a slow engine may take long; the counts of its bursts move meanwhile.
        self.pulse = Pulse(self._pid, lambda: bytes(self._page))

    def restart(self) -> None:
        """Start a process in the place of one that has ended."""
        self._started().end(0)
        self.start()
        self.restarts += 1

    def empty_rx_queue(self, port: Port) -> None:
        """Enable its receive queue at a port again with an empty ring, which drops and counts; no process of it runs.

        The frames that were in it are lost; `bury` counts them.
        """
        port.driver.disable_rx_queue(self.index)
        empty_ring(self._arena.view, self.spec.layout.rx[port.index])
        set_up_rx_queue(port, self.spec.layout, self.spec.ports[port.index].dma, self._arena)

    def empty_tx_queue(self, port: Port) -> None:
        """Enable its transmit queue, which is disabled, at a port again with an empty ring; no process of it runs."""
        set_up_tx_queue(port, self.spec.layout, self.spec.ports[port.index].dma, self._arena)

    def kill(self) -> None:
        """Kill the process, also one that is stopped; `pidfd` becomes readable. Harmless if it has ended."""
        self._started().kill()

    def bury(self, ports: Sequence[Port]) -> int:
        """Count the frames lost with the process, and rebuild the free stack and the ring state; returns the count.

        The process has ended, its receive rings are empty and its transmit queues disabled, and the ports' statistics
        were read since. So what the ports gave it and did not get back was in its rings and in its hands.
        """
        totals, before = self.totals(), self.lost
        delivered = [port.driver.statistics.delivered(self.index) for port in ports]
        transmitted = [port.driver.statistics.transmitted(self.index) for port in ports]
        accounted = totals.rx_errors + totals.tx_full + totals.program_drops
        self.lost = sum(delivered) - sum(transmitted) - accounted
        self._losses = _Losses(
            totals.in_hand + totals.lost_in_hand,
            tuple(n - self.port_word(i, PortWord.RX_PACKETS) for i, n in enumerate(delivered)),
            tuple(self.port_word(i, PortWord.TX_PACKETS) - n for i, n in enumerate(transmitted)),
        )
        for program in range(self.spec.order.program_blocks):
            self._close_program(program)
        reset_worker(self._arena.view, self.spec.layout)
        return self.lost - before

    def _close_program(self, program: int) -> None:
        """Let a program have been given what it gave verdicts on: it died in the middle of the rest."""
        verdicts = (ProgramWord.PASSED, ProgramWord.OUT, ProgramWord.INVALID, *_DROPS)
        settled = sum(self.program_word(program, word) for word in verdicts)
        self._page[program_word(program, ProgramWord.IN)] = settled

    def wait_ready(self) -> None:
        """Wait until its rx rings are filled. Raises what `Child.wait_ready` does."""
        self._started().wait_ready(READY_TIMEOUT_S, lambda: self.state == State.READY)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.alive()

    def lost_memory(self) -> bool:
        """Whether it died of touching memory that was there when it mapped it: most likely a port's doorbells."""
        return self._started().killed_by() == signal.SIGBUS

    def obituary(self) -> str:
        """One sentence on how it ended."""
        return f"{self._started().name} {self._started().obituary()}"

    @property
    def state(self) -> State:
        """What it says of itself."""
        return State(self._page[Word.STATE])

    @property
    def said(self) -> WorkerState:
        """The state for reports: as the worker wrote it, or that it is dead, or held."""
        names: dict[State, WorkerState] = {
            State.STARTING: "starting",
            State.READY: "ready",
            State.DRAINED: "drained",
            State.FAILED: "failed",
        }
        return (self.pulse.glance() or names[self.state]) if self.alive() else "dead"

    def command(self, command: Command) -> None:
        """Write the word that the worker looks at every 128 rounds, and wake it if it waits for an interrupt."""
        self._page[Word.COMMAND] = command
        for fd in self.spec.interrupt_fds[:1]:
            with suppress(BlockingIOError):  # it counts more messages than it can: awake
                os.write(fd, (1).to_bytes(8, "little"))

    def go(self) -> None:
        """Let a generator send."""
        self._page[Word.GO] = 1

    def word(self, word: Word) -> int:
        """One word of its page."""
        return self._page[word]

    def port_word(self, port: int, word: PortWord) -> int:
        """One per-port word of its page."""
        return self._page[port_word(port, word)]

    def program_word(self, program: int, word: int) -> int:
        """One word of a program's block of its page."""
        return self._page[program_word(program, word)]

    def totals(self) -> Totals:
        """The worker's counters now, summed over its ports.

        Last things first: a frame that moves on meanwhile is seen as in hand, never as sent but not received.
        """
        ports = range(len(self.spec.ports))

        def total(word: PortWord) -> int:
            return sum(self.port_word(port, word) for port in ports)

        tx_packets, tx_full = total(PortWord.TX_PACKETS), total(PortWord.TX_FULL)
        dropped = (ProgramWord.INVALID, *_DROPS)
        drops = sum(
            self.program_word(index, word) for index in range(self.spec.order.program_blocks) for word in dropped
        )
        return Totals(
            total(PortWord.RX_PACKETS), total(PortWord.RX_ERRORS), tx_packets, tx_full, drops, self._losses.in_hand
        )

    def queue(self, port: Port) -> QueueView:
        """What it has left of its queue at a port, for the port's driver to read."""
        layout = self.spec.layout
        rx, tx = self._ring(layout.rx[port.index], port), self._ring(layout.tx[port.index], port)
        return QueueView(
            rx,
            tx,
            rx_packets=self.port_word(port.index, PortWord.RX_PACKETS) + self._losses.untaken(port.index),
            tx_packets=self.port_word(port.index, PortWord.TX_PACKETS) - self._losses.unsent(port.index),
            segmented=self.spec.segmented,
        )

    def _ring(self, ring: RingLayout, port: Port) -> RingView:
        state = self._arena.view[ring.state : ring.state + _RING_STATE.size]
        memory = ring_memory(self._arena, ring, port.driver.limits.ring)
        return RingView(memory, ring.entries, *_RING_STATE.unpack(state))

    def own_memory_mib(self) -> float:
        """Resident memory without the arena and the doorbell pages (which are shared files)."""
        try:
            memory = psutil.Process(self.pid).memory_info()
        except psutil.Error:
            return 0.0
        arena = 0 if self._arena.kind.startswith("huge") else _resident_shared_bytes(self.pid)
        return (memory.rss - arena) / 2**20

    def end(self, grace_s: float = QUIT_TIMEOUT_S) -> None:
        """QUIT, then wait, then kill; let the counters page go. Harmless when called twice."""
        if self._child is None:
            return
        self.command(Command.QUIT)
        self._child.end(grace_s)

    def close(self) -> None:
        """Let the counters page go, so that the arena can be unmapped."""
        self._page.release()

    def _started(self) -> Child:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child


def _resident_shared_bytes(pid: int) -> int:
    """Resident pages of memfds: the arena as ordinary pages counts in RSS, as hugepages it does not."""
    total = 0
    counting = False
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as smaps:
        for line in smaps:
            if "-" in line.split(" ", 1)[0]:
                counting = "/memfd:" in line
            elif counting and line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024
    return total
