"""Queue registers: enable, heads, tails, and what must not be written while a queue runs (8.2.3.8, 8.2.3.9)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ixyfwd.model.chip.regfile import RegisterFile

if TYPE_CHECKING:
    from ixyfwd.model.datapath.binding import DatapathPort

ENABLE = 1 << 25
SWFLSH = 1 << 26
DROP_EN = 1 << 28
TE = 1 << 0
ARBDIS = 1 << 6
PFQDE_VALUE = 1 << 0
PFQDE_WRITE = 1 << 16
RING_BITS = {"RDBAL": 0xFFFFFF80, "TDBAL": 0xFFFFFF80, "RDLEN": 0x000FFF80, "TDLEN": 0x000FFF80}
QUEUES = 128


class Queues:
    """Starts and stops the data path's queues, and tells `misuse(name, index, text)` what no driver should do."""

    def __init__(self, file: RegisterFile, datapath: "DatapathPort", misuse: Callable[[str, int, str], None]) -> None:
        self._file = file
        self._datapath = datapath
        self._misuse = misuse
        self._per_queue: dict[tuple[str, int], int] = {}
        self.reset()
        file.bind(
            {"head": self._read_head, "pfqde": self._read_pfqde, "per_queue": self._read_per_queue},
            {
                "qctl": self._write_control,
                "head": self._write_head,
                "tail": self._write_tail,
                "ring": self._write_ring,
                "srrctl": self._write_srrctl,
                "mtqc": self._write_mtqc,
                "pfqde": self._write_pfqde,
                "per_queue": self._write_per_queue,
            },
        )

    def reset(self, keep_limits: bool = False) -> None:
        """After the data path has stopped everything; `keep_limits`: of the queues' rates."""
        self._running: set[tuple[bool, int]] = set()
        self._force_drop = bytearray(QUEUES)
        if not keep_limits:
            self._per_queue.clear()

    # RXDCTL, TXDCTL

    def _write_control(self, name: str, index: int, value: int) -> None:
        rx = name == "RXDCTL"
        was = (rx, index) in self._running
        self._file.poke(name, index, value & ~(ENABLE | SWFLSH) | (ENABLE if was else 0))
        if value & ENABLE and not was:
            self._start(name, rx, index)
        elif was and not value & ENABLE:
            self._stop(name, rx, index)

    def _start(self, name: str, rx: bool, index: int) -> None:
        if not rx and not self._file.peek("DMATXCTL") & TE:
            self._misuse(name, index, "ENABLE set while DMATXCTL.TE is 0")
        if self._datapath.start_rx(index) if rx else self._datapath.start_tx(index):
            self._running.add((rx, index))
            self._file.poke(name, index, self._file.peek(name, index) | ENABLE)

    def _stop(self, name: str, rx: bool, index: int) -> None:
        head = self._head(rx, index)
        if rx:
            self._datapath.stop_rx(index)
        else:
            self._datapath.stop_tx(index)
        self._running.discard((rx, index))
        self._file.poke("RDH" if rx else "TDH", index, head)
        self._file.poke(name, index, self._file.peek(name, index) & ~ENABLE)

    # RDH, TDH, RDT, TDT

    def _head(self, rx: bool, index: int) -> int:
        return self._datapath.rx_head(index) if rx else self._datapath.tx_head(index)

    def _read_head(self, name: str, index: int) -> int:
        rx = name == "RDH"
        return self._head(rx, index) if (rx, index) in self._running else self._file.peek(name, index)

    def _write_head(self, name: str, index: int, value: int) -> None:
        rx = name == "RDH"
        self._file.poke(name, index, value & 0xFFFF)
        if (rx, index) in self._running and not self._datapath.head_written(rx, index):
            self._misuse(name, index, f"{value:#x} written while the queue is at work")
            self._file.poke(name, index, self._head(rx, index))

    def _write_tail(self, name: str, index: int, value: int) -> None:
        """A tail written while the queue is off is only stored; moving it then is a driver's mistake."""
        rx = name == "RDT"
        value &= 0xFFFF
        running = (rx, index) in self._running
        if not running:
            harmless = (0, self._file.peek("RDH" if rx else "TDH", index), self._file.peek(name, index))
            if value not in harmless:
                self._misuse(name, index, f"{value} written before the queue's ENABLE read 1")
        self._file.poke(name, index, value)
        if running:
            self._datapath.tail_written(rx, index)

    # Set-up

    def _write_ring(self, name: str, index: int, value: int) -> None:
        if (name.startswith("R"), index) in self._running:
            self._misuse(name, index, f"{value:#x} written while the queue is enabled")
        self._file.poke(name, index, value & RING_BITS.get(name, 0xFFFFFFFF))

    def _write_srrctl(self, name: str, index: int, value: int) -> None:
        changed = value ^ self._file.peek(name, index)
        if (True, index) in self._running and changed & ~DROP_EN:
            self._misuse(name, index, f"{value:#x} written while the queue is enabled")
        self._file.poke(name, index, value)

    def _write_mtqc(self, name: str, index: int, value: int) -> None:
        if not self._file.peek("RTTDCS") & ARBDIS:
            self._misuse(name, index, f"{value:#x} written while RTTDCS.ARBDIS is 0")
        self._file.poke(name, index, value)

    # Registers that select a queue by number

    def _read_pfqde(self, name: str, index: int) -> int:
        value = self._file.peek(name)
        return value & ~PFQDE_VALUE | self._force_drop[value >> 8 & 0x7F]

    def _write_pfqde(self, name: str, index: int, value: int) -> None:
        if value & PFQDE_WRITE:
            queue, on = value >> 8 & 0x7F, value & PFQDE_VALUE
            self._force_drop[queue] = on
            self._datapath.force_drop(queue, bool(on))
        self._file.poke(name, index, value)

    def _read_per_queue(self, name: str, index: int) -> int:
        return self._per_queue.get((name, self._file.peek("RTTDQSEL")), 0)

    def _write_per_queue(self, name: str, index: int, value: int) -> None:
        self._per_queue[name, self._file.peek("RTTDQSEL")] = value
