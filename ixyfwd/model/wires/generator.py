"""The generator wire with its sink: set-up and account. The frames themselves are made and checked in C."""

from array import array
from typing import Any

from ixyfwd.errors import UsageError
from ixyfwd.model._datapath import ffi, lib
from ixyfwd.model.spec import GeneratorWire
from ixyfwd.model.wires.base import FRAME_BYTES_MAX, Plug, Pointer, check_memory, make_pace
from ixyfwd.model.wires.flows import FLOWS_MAX, make_schedule, template

ENDLESS = 2**64 - 1
SINK_COUNTS = ("received", "bytes", "lost", "reordered", "duplicated", "corrupted", "foreign", "touched")
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "p9999": 0.9999, "p99999": 0.99999}


class GeneratorPlug(Plug):
    """Generator into the port, sink for what the port sends."""

    kind = "generator"

    def __init__(self, port: Pointer, number: int, wire: GeneratorWire, mac: bytes | None) -> None:
        """`mac`: destination of the frames; a locally administered one by default. Raises UsageError."""
        super().__init__(port)
        self._wire = wire
        _check(wire)
        sizes, order = make_schedule(wire.frames, FRAME_BYTES_MAX)
        destination, source = mac or bytes((2, 0, 0, 0, 0, number)), bytes((2, 0, 0, 0, 1, number))
        templates = b"".join(
            template(flow, size + 4, number, destination, source) for flow in range(wire.flows) for size in sizes
        )
        result = lib.dp_plug_generator(
            port,
            wire.flows,
            len(sizes),
            ffi.new("uint16_t[]", sizes),
            len(order),
            ffi.from_buffer("uint8_t[]", order),
            ffi.from_buffer("uint8_t[]", templates),
            ENDLESS if wire.count is None else wire.count,
            wire.verify == "frame",
            make_pace(wire.rate),
        )
        check_memory(result, f"a generator of {wire.flows} flows")

    def stats(self) -> dict[str, Any]:
        """`generator` and `sink`; bytes include the CRC, latencies are ns."""
        generator = lib.dp_port_generator(self._port)
        sink = lib.dp_port_sink(self._port)
        return {
            "generator": {
                "flows": self._wire.flows,
                "rate": self._wire.rate,
                "sent": int(generator.sent),
                "sent_bytes": int(generator.sent_bytes),
                "shortfall": int(generator.pace.shortfall),
            },
            "sink": {
                **{key: int(getattr(sink, key)) for key in SINK_COUNTS},
                "flows_seen": int(sink.flows_seen),
                "flows_on_several_queues": int(sink.flows_on_several_queues),
                "latency_ns": _latency(sink),
            },
        }

    def restart_latency(self) -> None:
        """Forget the latencies so far; the other counts go on."""
        sink = lib.dp_port_sink(self._port)
        sink.latency_count = sink.latency_max = 0
        sink.sampled_every = 1
        histogram = ffi.buffer(sink.latency)
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


def _latency(sink: Any) -> dict[str, Any]:
    """Percentiles with at most 3.1 % error; None while nothing was measured. `buckets` are the histogram itself, as
    pairs of the largest value that falls into one and how many did; empty ones are left out."""
    count, maximum = int(sink.latency_count), int(sink.latency_max)
    found: dict[str, Any] = dict.fromkeys(PERCENTILES)
    buckets = array("Q", bytes(ffi.buffer(sink.latency)))
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
