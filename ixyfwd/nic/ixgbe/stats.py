"""The chip's counters (8.2.3.23): 32 bits, cleared by reading, added up here in Python's integers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.register import ALL_ONES, Field, Location, Mode, Register, one
from ixyfwd.nic.ixgbe.registers import RQSMR, TQSM

QUEUE_COUNTERS: Final = 16
_ALL_QUEUES: Final = 0x10  # RXDSTATCTRL.QSEL bit 4


class RXDSTATCTRL(Register, at=one(0x02F40), section="8.2.3.23"):
    QSEL = Field(4, 0)


@dataclass(frozen=True)
class Counter:
    """A counter by its datasheet name. `high`: the offset of its upper bits, which are read after the lower ones."""

    name: str
    low: int
    high: int | None = None


@dataclass(frozen=True)
class CounterArray:
    """An array of `count` counters, `stride` bytes apart."""

    name: str
    low: int
    stride: int
    count: int
    high: int | None = None


COUNTERS: Final = (
    Counter("CRCERRS", 0x04000),
    Counter("ILLERRC", 0x04004),
    Counter("ERRBC", 0x04008),
    Counter("MSPDC", 0x04010),
    Counter("MLFC", 0x04034),
    Counter("MRFC", 0x04038),
    Counter("RLEC", 0x04040),
    Counter("PRC64", 0x0405C),
    Counter("PRC127", 0x04060),
    Counter("PRC255", 0x04064),
    Counter("PRC511", 0x04068),
    Counter("PRC1023", 0x0406C),
    Counter("PRC1522", 0x04070),
    # Before RXNFGPC: what arrives between two reads must not make more frames pass the filters than arrived.
    Counter("GPRC", 0x04074),
    Counter("BPRC", 0x04078),
    Counter("MPRC", 0x0407C),
    Counter("GPTC", 0x04080),
    Counter("GORC", 0x04088, 0x0408C),
    Counter("GOTC", 0x04090, 0x04094),
    Counter("RUC", 0x040A4),
    Counter("RFC", 0x040A8),
    Counter("ROC", 0x040AC),
    Counter("RJC", 0x040B0),
    Counter("MNGPRC", 0x040B4),
    Counter("MNGPDC", 0x040B8),
    Counter("TOR", 0x040C0, 0x040C4),
    Counter("TPR", 0x040D0),
    Counter("TPT", 0x040D4),
    Counter("PTC64", 0x040D8),
    Counter("PTC127", 0x040DC),
    Counter("PTC255", 0x040E0),
    Counter("PTC511", 0x040E4),
    Counter("PTC1023", 0x040E8),
    Counter("PTC1522", 0x040EC),
    Counter("MPTC", 0x040F0),
    Counter("BPTC", 0x040F4),
    Counter("XEC", 0x04120),
    Counter("LXONRXCNT", 0x041A4),
    Counter("LXOFFRXCNT", 0x041A8),
    Counter("RXNFGPC", 0x041B0),
    Counter("RXNFGBC", 0x041B4, 0x041B8),
    Counter("LXONTXC", 0x03F60),
    Counter("LXOFFTXC", 0x03F68),
    Counter("MNGPTC", 0x0CF90),
    Counter("RXDGPC", 0x02F50),
    Counter("RXDGBC", 0x02F54, 0x02F58),
    Counter("TXDGPC", 0x087A0),
    Counter("TXDGBC", 0x087A4, 0x087A8),
)

PACKET_BUFFER_MISSES: Final = CounterArray("RXMPC", 0x03FA0, 4, 8)

PER_QUEUE: Final = (
    CounterArray("QPRC", 0x01030, 0x40, QUEUE_COUNTERS),
    CounterArray("QBRC", 0x01034, 0x40, QUEUE_COUNTERS, high=0x01038),
    CounterArray("QPRDC", 0x01430, 0x40, QUEUE_COUNTERS),
    CounterArray("QPTC", 0x06030, 0x40, QUEUE_COUNTERS),
    CounterArray("QBTC", 0x08700, 8, QUEUE_COUNTERS, high=0x08704),
)

_PAUSE_FRAMES: Final = (
    ("xon_received", "LXONRXCNT"),
    ("xoff_received", "LXOFFRXCNT"),
    ("xon_sent", "LXONTXC"),
    ("xoff_sent", "LXOFFTXC"),
)
_RX_ERRORS: Final = ("CRCERRS", "ILLERRC", "ERRBC", "RLEC", "RUC", "RFC", "ROC", "RJC")


@dataclass
class PortStatistics:
    """The totals of a port since bring-up. See `nic.contract.Statistics`.

    counters: by datasheet name, L/H pairs under the name without suffix. queues: by
    datasheet name, one entry per queue in use. saturated: names of counters that were
    once found at their limit, whose totals are lower bounds.
    """

    counters: dict[str, int] = field(default_factory=dict)
    queues: dict[str, list[int]] = field(default_factory=dict)
    saturated: set[str] = field(default_factory=set)

    def _of_queue(self, name: str, queue: int) -> int:
        return self.queues[name][queue] if name in self.queues else 0

    def _queue_sum(self, name: str) -> int:
        return sum(self.queues.get(name, ()))

    @property
    def rx_packets(self) -> int:
        """Frames that passed the filters: delivered to a ring or dropped for want of room."""
        return self.rx_delivered + self.rx_no_descriptor + self.rx_missed

    @property
    def rx_delivered(self) -> int:
        """Frames written to a ring; part of `rx_packets`."""
        return self._queue_sum("QPRC")

    def delivered(self, queue: int) -> int:
        """Frames written to the ring of one queue; 0 before the first reading."""
        return self._of_queue("QPRC", queue)

    def transmitted(self, queue: int) -> int:
        """Frames sent from the ring of one queue; 0 before the first reading."""
        return self._of_queue("QPTC", queue)

    def no_descriptor(self, queue: int) -> int:
        """Frames dropped because the ring of one queue had no free descriptor; 0 before the first reading."""
        return self._of_queue("QPRDC", queue)

    @property
    def rx_bytes(self) -> int:
        """Bytes of the frames delivered, without CRC."""
        return self._queue_sum("QBRC")

    @property
    def rx_no_descriptor(self) -> int:
        """Frames dropped because their ring had no free descriptor."""
        return self._queue_sum("QPRDC")

    @property
    def rx_missed(self) -> int:
        """Frames dropped because the packet buffer was full."""
        return self.counters.get("RXMPC", 0)

    @property
    def rx_filtered(self) -> int:
        """Good frames on the wire that no address filter took."""
        return max(0, self.counters.get("RXNFGPC", 0) - self.counters.get("GPRC", 0))

    @property
    def rx_errors(self) -> int:
        """Frames that the MAC refused: CRC, length, symbol errors."""
        return sum(self.counters.get(name, 0) for name in _RX_ERRORS)

    @property
    def rx_too_long(self) -> int:
        """Frames that the MAC refused as longer than MAXFRS; part of `rx_errors`."""
        return self.counters.get("ROC", 0)

    @property
    def pause_frames(self) -> dict[str, int]:
        """Pause frames of this link, by kind and direction; frames of a ring are never among them."""
        return {name: self.counters.get(register, 0) for name, register in _PAUSE_FRAMES}

    @property
    def tx_packets(self) -> int:
        """Frames sent from the rings."""
        return self._queue_sum("QPTC")

    @property
    def tx_bytes(self) -> int:
        """Bytes sent from the rings, as the chip counts them."""
        return self._queue_sum("QBTC")

    def as_json(self) -> dict[str, Any]:
        """The totals as plain data: those of the contract, then all counters by datasheet name."""
        friendly = (
            "rx_packets",
            "rx_delivered",
            "rx_bytes",
            "rx_no_descriptor",
            "rx_missed",
            "rx_filtered",
            "rx_errors",
            "rx_too_long",
            "tx_packets",
            "tx_bytes",
        )
        return {
            **{name: getattr(self, name) for name in friendly},
            "counters": dict(self.counters),
            "queues": {name: list(values) for name, values in self.queues.items()},
            "saturated": sorted(self.saturated),
        }


def map_queue_counters(regs: Registers) -> None:
    """Map queue q to counter q modulo 16, for all 128 queues (8.2.3.23.71, 8.2.3.23.73)."""
    for n in range(RQSMR.count):
        counters = bytes((4 * n + j) % QUEUE_COUNTERS for j in range(4))
        regs.write(RQSMR[n], int.from_bytes(counters, "little"))
        regs.write(TQSM[n], int.from_bytes(counters, "little"))
    regs.write(RXDSTATCTRL, RXDSTATCTRL.QSEL(_ALL_QUEUES))


def clear_statistics(regs: Registers) -> None:
    """Clear all counters by reading them (4.6.5)."""
    collect(regs, PortStatistics(), QUEUE_COUNTERS)


def collect(regs: Registers, into: PortStatistics, queues: int) -> None:
    """Read every counter, of the first `queues` queues, and add it to the totals.

    It must be called more often than the 36-bit byte counters fill: every 50 s at 10
    Gbit/s.
    """
    for name, value in _read_all(regs, COUNTERS, into.saturated):
        into.counters[name] = into.counters.get(name, 0) + value
    missed = sum(value for _, value in _read_all(regs, _expand(PACKET_BUFFER_MISSES, 8), into.saturated))
    into.counters["RXMPC"] = into.counters.get("RXMPC", 0) + missed
    for row in PER_QUEUE:
        totals = into.queues.setdefault(row.name, [])
        totals.extend([0] * (queues - len(totals)))
        for queue, (_, value) in enumerate(_read_all(regs, _expand(row, queues), into.saturated)):
            totals[queue] += value


def _expand(row: CounterArray, count: int) -> tuple[Counter, ...]:
    return tuple(
        Counter(f"{row.name}[{n}]", row.low + n * row.stride, None if row.high is None else row.high + n * row.stride)
        for n in range(count)
    )


def _read_all(regs: Registers, rows: tuple[Counter, ...], saturated: set[str]) -> Iterator[tuple[str, int]]:
    for row in rows:
        value = regs.read(Location(row.name, row.name, row.low, Mode.RC))
        if row.high is not None:
            value |= regs.read(Location(row.name, row.name, row.high, Mode.RC)) << 32
        elif value == ALL_ONES:
            saturated.add(row.name)
        yield row.name, value
