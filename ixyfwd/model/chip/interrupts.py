"""Interrupt causes, masks, moderation and delivery (datasheet 7.3, 8.2.3.5).

Causes are kept as one number: bits 0 to 63 are the queue causes, of which EICR and its like show the first 16, and
what EICR shows as bits 16 to 31 is `OTHER_SHIFT` higher up.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ixyfwd.model.chip.msix import Messages
from ixyfwd.model.chip.regfile import RegisterFile
from ixyfwd.model.chip.routes import Routes, bits_of
from ixyfwd.vfiouser.protocol import Irq

if TYPE_CHECKING:
    from ixyfwd.model.datapath.binding import DatapathPort

GPIE_MSIX = 1 << 4
GPIE_OCD = 1 << 5
GPIE_EIAME = 1 << 30
QUEUE_CAUSES = 0xFFFF
OTHER_CAUSES = 0xFFFF0000
CLEARED_WITH_OCD = 0x3FFF0000
FLOW_DIRECTOR = 1 << 16
RX_MISS = 1 << 17
LSC = 1 << 20
TCP_TIMER = 1 << 30
OTHER_SHIFT = 64
ALL_QUEUES = 2**64 - 1
# Only the first 16 queue causes have bits in EICR and EIAC: the others can but be cleared by their message.
ALWAYS_CLEARED = ALL_QUEUES & ~QUEUE_CAUSES
EITR_INTERVAL = 0x1FF << 3
EITR_INTERVAL_NS = 2000  # at 10 Gb/s
EITR_KEEP_COUNTER = 1 << 31  # CNT_WDIS
EITR_MASK = 0x7FFF8FF8


def spread(name: str, index: int, bits: int) -> int:
    """The causes that the bits of a register stand for."""
    if name.endswith("_EX"):
        return bits << 32 * index
    return (bits & OTHER_CAUSES) << OTHER_SHIFT | bits & QUEUE_CAUSES


def gather(name: str, index: int, causes: int) -> int:
    """What a register shows of the causes."""
    if name.endswith("_EX"):
        return causes >> 32 * index & 0xFFFFFFFF
    return causes >> OTHER_SHIFT & OTHER_CAUSES | causes & QUEUE_CAUSES


class InterruptRegisters:
    """The interrupt registers (8.2.3.5).

    EICR, EICS, EIMS, EIMC, EIAM and their `_EX` forms share three sets of causes; EITR
    holds messages back.
    """

    def __init__(
        self, file: RegisterFile, messages: Messages, datapath: "DatapathPort", clock_ns: Callable[[], int]
    ) -> None:
        self._file = file
        self._messages = messages
        self._datapath = datapath
        self._clock_ns = clock_ns
        self._routes = Routes(file)
        self._wanted: tuple[bool, int, int] = (False, 0, 0)
        self.due_ns: int | None = None
        self.reset()
        file.bind(
            {"eicr": self._read_eicr, "eics": self._read_eics, "eims": self._read_eims, "eiam": self._read_eiam},
            {
                "eicr": self._write_eicr,
                "eics": self._write_eics,
                "eims": self._write_eims,
                "eimc": self._write_eimc,
                "eiam": self._write_eiam,
                "eitr": self._write_eitr,
            },
        )

    def reset(self) -> None:
        """Start over, after the registers were reset."""
        self._cause = self._mask = self._automask = 0
        self._fresh = 0  # causes that no message has told of yet
        self._quiet_until: dict[int, int] = {}  # vectors whose EITR interval is running
        self._routes.reset()

    def raise_cause(self, bits: int) -> None:
        """Set bits of EICR; `service` sends what is to be sent."""
        self._raise(spread("EICR", 0, bits))

    def _raise(self, causes: int) -> None:
        self._cause |= causes
        self._fresh |= causes

    # Registers

    def _read_eicr(self, name: str, index: int) -> int:
        value = gather(name, index, self._cause)
        gpie = self._file.peek("GPIE")
        self._cause &= ~spread(name, index, value & CLEARED_WITH_OCD if gpie & GPIE_OCD else value)
        if not gpie & GPIE_MSIX:
            self._mask &= ~self._automask
        return value

    def _write_eicr(self, name: str, index: int, value: int) -> None:
        self._cause &= ~spread(name, index, value)

    def _read_eics(self, name: str, index: int) -> int:
        """EICR without clearing it: Linux's handler of the other causes depends on that."""
        return gather(name, index, self._cause)

    def _write_eics(self, name: str, index: int, value: int) -> None:
        self._raise(spread(name, index, value))
        self.service()

    def _read_eims(self, name: str, index: int) -> int:
        return gather(name, index, self._mask)

    def _write_eims(self, name: str, index: int, value: int) -> None:
        """A cause that is still set interrupts again once it is enabled."""
        enabled = spread(name, index, value)
        self._mask |= enabled
        self._fresh |= enabled & self._cause
        self.service()

    def _write_eimc(self, name: str, index: int, value: int) -> None:
        self._mask &= ~spread(name, index, value)

    def _read_eiam(self, name: str, index: int) -> int:
        return gather(name, index, self._automask)

    def _write_eiam(self, name: str, index: int, value: int) -> None:
        self._automask = self._automask & ~spread(name, index, 0xFFFFFFFF) | spread(name, index, value)

    def _write_eitr(self, name: str, index: int, value: int) -> None:
        """Without CNT_WDIS the write also ends the interval that is running."""
        self._file.poke(name, index, value & EITR_MASK)
        if not value & EITR_KEEP_COUNTER:
            self._quiet_until.pop(index, None)

    # Delivery

    def service(self) -> None:
        """Look at what the queues did and at the time, send what is to be sent; called every round of the loop."""
        kind = self._messages.kind()
        if kind is None:
            self._want(False, 0, 0)
            self.due_ns = None
            return
        now = self._clock_ns()
        for vector in [v for v, until in self._quiet_until.items() if until <= now]:
            del self._quiet_until[vector]
        self._routes.refresh()
        vectors = bool(self._file.peek("GPIE") & GPIE_MSIX)
        self._collect(vectors)
        if vectors and kind is Irq.MSIX:
            self._send_vectors(now)
        else:
            self._send_level(kind, now)
        self._look_ahead(vectors)

    def _collect(self, vectors: bool) -> None:
        rx, tx = self._datapath.take_causes()
        if rx or tx:
            found = {self._routes.rx.get(queue) for queue in bits_of(rx)}
            found |= {self._routes.tx.get(queue) for queue in bits_of(tx)}
            for vector in found - {None}:
                self._raise(1 << (vector if vectors else vector & 15))  # type: ignore[operator]  # None is out

    def _by_vector(self, causes: int) -> dict[int, int]:
        """Causes by the vector that tells of them. A queue cause has the number of its vector."""
        found = {vector: 1 << vector for vector in bits_of(causes & ALL_QUEUES)}
        timer = causes & TCP_TIMER << OTHER_SHIFT
        for vector, part in ((self._routes.timer, timer), (self._routes.other, causes & ~ALL_QUEUES & ~timer)):
            if vector is not None and part:
                found[vector] = found.get(vector, 0) | part
        return found

    def _send_vectors(self, now: int) -> None:
        cleared = spread("EIAC", 0, self._file.peek("EIAC")) | ALWAYS_CLEARED
        automask = self._automask if self._file.peek("GPIE") & GPIE_EIAME else 0
        pending = 0
        for vector, causes in self._by_vector(self._fresh & self._cause & self._mask).items():
            if vector in self._quiet_until:
                continue
            if not self._messages.send(Irq.MSIX, vector):
                pending |= 1 << vector
                continue
            self._fresh &= ~causes
            self._cause &= ~(causes & cleared)
            self._mask &= ~(causes & automask)
            self._start_interval(vector, now)
        self._messages.show_pending(pending)

    def _send_level(self, kind: Irq, now: int) -> None:
        """INTx is a level, which the client's mask turns into events; a message goes out for every new cause."""
        asserted = self._cause & self._mask
        due = asserted if kind is Irq.INTX else asserted & self._fresh
        sent = bool(due) and 0 not in self._quiet_until and self._messages.send(kind, 0)
        if sent:
            self._fresh &= ~asserted
            self._start_interval(0, now)
        self._messages.show_pending(int(kind is Irq.MSIX and bool(due) and not sent and 0 not in self._quiet_until))

    def _start_interval(self, vector: int, now: int) -> None:
        interval = (self._file.peek("EITR", vector) & EITR_INTERVAL) >> 3
        if interval:
            self._quiet_until[vector] = now + interval * EITR_INTERVAL_NS

    def _look_ahead(self, vectors: bool) -> None:
        """Have the data path come back at once for a queue whose interrupt could be sent now, and no other."""
        enabled = self._mask & ALL_QUEUES
        self.due_ns = min(self._quiet_until.values(), default=None) if self._mask else None
        rx = tx = 0
        for vector, (rx_queues, tx_queues) in self._routes.queues.items():
            timer, bit = (vector, vector) if vectors else (0, vector & 15)
            if enabled >> bit & 1 and timer not in self._quiet_until:
                rx |= rx_queues
                tx |= tx_queues
        self._want(True, rx, tx)

    def _want(self, on: bool, rx: int, tx: int) -> None:
        if self._wanted != (on, rx, tx):
            self._wanted = (on, rx, tx)
            self._datapath.want_causes(on, rx, tx)
