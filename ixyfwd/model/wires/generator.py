"""The generator wire with its sink: set-up and account. The frames themselves are made and checked in C."""

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

from ixyfwd.errors import UsageError
from ixyfwd.model.wires.contract import (
    FRAME_BYTES_MAX,
    Full,
    Jack,
    Plug,
    Rate,
    Wire,
    WireTotals,
    check_memory,
    read_full,
    read_rate,
)
from ixyfwd.settings.reader import Table, is_integer, shown
from ixyfwd.traffic.flows import FLOWS_MAX, template
from ixyfwd.traffic.format import CRC_BYTES, generator_mac
from ixyfwd.traffic.schedule import IMIX, make_schedule

ENDLESS = 2**64 - 1
SINK_COUNTS = ("received", "bytes", "lost", "reordered", "duplicated", "corrupted", "foreign", "touched")
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "p9999": 0.9999, "p99999": 0.99999}


MAX_FLOWS: Final = 65_536  # in a configuration
MAX_SIZES: Final = 16
MIN_FRAME_BYTES: Final = 64  # with CRC, as all frame sizes here
MAX_FRAME_BYTES: Final = 9728  # what the 82599 is specified for (datasheet 1.3)
_FRAME_EXPECTED = f'bytes with CRC from {MIN_FRAME_BYTES} to {MAX_FRAME_BYTES}, a list of them, or "imix"'


@dataclass(frozen=True)
class GeneratorWire(Wire):
    """Numbered, time-stamped UDP/IPv4 flows into the port, and a sink that checks what the port sends.

    Flow f of every generator has the same two end points, seen from the two ends: what one port's generator sends as
    A to B, the other's sends as B to A, so that a symmetric RSS key brings both directions to one worker.
    """

    kind: ClassVar = "generator"
    how_to_end: ClassVar = "give its generator a count"

    flows: int = 64
    frames: tuple[tuple[int, int], ...] = ((64, 1),)  # (bytes incl. CRC, weight)
    rate: Rate = "line"
    count: int | None = None  # frames to send in all; None = until stopped
    verify: Literal["frame", "payload"] = "frame"  # what the sink compares
    full: Full = "drop"  # with rate "max" it waits all the same

    @classmethod
    def read(cls, table: Table, folder: Path) -> Self:
        """Read the wire's table: keys `rate`, `flows`, `frame`, `count`, `verify` and `full`."""
        rate = read_rate(table, "line", ("line", "max"))
        return cls(
            flows=table.integer("flows", 64, 1, MAX_FLOWS),
            frames=_read_frames(table),
            rate=rate,
            count=table.integer("count", None, 1, 2**48),
            verify=table.choice("verify", "frame", ("frame", "payload")),
            full=read_full(table, rate),
        )

    @property
    def longest_frame(self) -> tuple[str, int] | None:
        """See `Wire.longest_frame`; None where the sizes could not be read."""
        return ("frame", max(size for size, _ in self.frames)) if self.frames else None

    @property
    def ends(self) -> bool | None:
        """Whether it ends: with a count."""
        return self.count is not None

    def attach(self, jack: Jack) -> Plug:
        """Plug the generator in. Raises UsageError for frames that cannot be sent."""
        return GeneratorPlug(jack, self)


def _read_frames(table: Table) -> tuple[tuple[int, int], ...]:
    value: Any = table.get("frame", 64, _FRAME_EXPECTED, lambda v: v == "imix" or isinstance(v, list) or is_integer(v))
    if value == "imix":
        return IMIX
    sizes = value if isinstance(value, list) else [value]
    if not 1 <= len(sizes) <= MAX_SIZES:
        table.wrong("frame", f"1 to {MAX_SIZES} sizes")
    for index, size in enumerate(sizes):
        if is_integer(size) and MIN_FRAME_BYTES <= size <= MAX_FRAME_BYTES:
            continue
        if not isinstance(value, list):
            table.wrong("frame", _FRAME_EXPECTED)
        else:
            expected = f"bytes with CRC from {MIN_FRAME_BYTES} to {MAX_FRAME_BYTES}"
            table.notes.add((*table.path, "frame", index), f"found {shown(size)}, expected {expected}")
    return tuple((size, 1) for size in sizes if is_integer(size) and MIN_FRAME_BYTES <= size <= MAX_FRAME_BYTES)


class GeneratorPlug(Plug):
    """Generator into the port, sink for what the port sends."""

    def __init__(self, jack: Jack, wire: GeneratorWire) -> None:
        """Frames go to the jack's address; to a locally administered one by default."""
        super().__init__(jack)
        self._wire = wire
        _check(wire)
        number, ffi = jack.number, jack.ffi
        sizes, order = make_schedule(wire.frames, FRAME_BYTES_MAX)
        destination, source = jack.mac or bytes((2, 0, 0, 0, 0, number)), generator_mac(number)
        templates = b"".join(
            template(flow, size + CRC_BYTES, number, destination, source)
            for flow in range(wire.flows)
            for size in sizes
        )
        result = jack.lib.dp_plug_generator(
            jack.port,
            wire.flows,
            len(sizes),
            ffi.new("uint16_t[]", sizes),
            len(order),
            ffi.from_buffer("uint8_t[]", order),
            ffi.from_buffer("uint8_t[]", templates),
            ENDLESS if wire.count is None else wire.count,
            wire.verify == "frame",
            jack.make_pace(wire.rate, wire.full),
        )
        check_memory(result, f"a generator of {wire.flows} flows")

    def totals(self) -> WireTotals:
        """Frames generated, frames that reached the sink."""
        generator = self._jack.lib.dp_port_generator(self._jack.port)
        sink = self._jack.lib.dp_port_sink(self._jack.port)
        return WireTotals(int(generator.sent), int(sink.received), int(generator.pace.shortfall))

    def stats(self) -> dict[str, Any]:
        """`generator` and `sink`; bytes include the CRC, latencies are ns."""
        generator = self._jack.lib.dp_port_generator(self._jack.port)
        sink = self._jack.lib.dp_port_sink(self._jack.port)
        return {
            "generator": {
                "flows": self._wire.flows,
                "rate": self._wire.rate,
                "full": "wait" if generator.pace.waits else "drop",
                "sent": int(generator.sent),
                "sent_bytes": int(generator.sent_bytes),
                "shortfall": int(generator.pace.shortfall),
            },
            "sink": {
                **{key: int(getattr(sink, key)) for key in SINK_COUNTS},
                "flows_seen": int(sink.flows_seen),
                "flows_on_several_queues": int(sink.flows_on_several_queues),
                "latency_ns": _latency(sink, bytes(self._jack.ffi.buffer(sink.latency))),
            },
        }

    def flow_queues(self) -> dict[int, tuple[int, ...]]:
        """Whichever port's generator a flow's frames are from."""
        lib, port = self._jack.lib, self._jack.port
        words = self._jack.ffi.new("uint64_t[2]")
        found: dict[int, tuple[int, ...]] = {}
        for flow in range(lib.dp_flows(port)):
            lib.dp_flow_queues(port, flow, words)
            bits = int(words[0]) | int(words[1]) << 64
            if bits:
                found[flow] = tuple(queue for queue in range(128) if bits >> queue & 1)
        return found

    def restart_latency(self) -> None:
        """Forget the latencies so far; the other counts go on."""
        sink = self._jack.lib.dp_port_sink(self._jack.port)
        sink.latency_count = sink.latency_max = 0
        sink.sampled_every = 1
        histogram = self._jack.ffi.buffer(sink.latency)
        histogram[:] = bytes(len(histogram))


def _check(wire: GeneratorWire) -> None:
    if not 1 <= wire.flows <= FLOWS_MAX:
        raise UsageError(f"a generator of {wire.flows} flows: expected 1 to {FLOWS_MAX}")
    if wire.count is not None and wire.count < 0:
        raise UsageError(f"a generator of {wire.count} frames: expected a count of at least 0, or none")
    if wire.rate == "recorded":
        raise UsageError(
            "a generator's rate is 'recorded', which only capture files have; expected 'line', 'max' or pps"
        )


def upper_edge(index: int) -> int:
    """The largest value that falls into a bucket: 32 steps to each power of two."""
    if index < 32:
        return index
    exponent, step = divmod(index, 32)
    return (32 + step + 1 << (exponent - 1)) - 1


def _latency(sink: Any, histogram: bytes) -> dict[str, Any]:
    """Percentiles with at most 3.1 % error; None while nothing was measured. `buckets` are the histogram itself, as
    pairs of the largest value that falls into one and how many did; empty ones are left out."""
    count, maximum = int(sink.latency_count), int(sink.latency_max)
    found: dict[str, Any] = dict.fromkeys(PERCENTILES)
    buckets = array("Q", histogram)
    wanted = [(name, share * count) for name, share in PERCENTILES.items()] if count else []
    seen = 0
    for index, here in enumerate(buckets):
        seen += here
        while wanted and here and seen >= wanted[0][1]:
            found[wanted.pop(0)[0]] = min(upper_edge(index), maximum)
    return {
        **found,
        "max": maximum if count else None,
        "count": count,
        "sampled_every": int(sink.sampled_every),
        "buckets": [(upper_edge(index), here) for index, here in enumerate(buckets) if here],
    }
