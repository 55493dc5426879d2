"""Runs with one port: a worker that generates, or one that captures. Bring-up and stop are the forwarder's."""

import errno
import os
import select
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

from ixyfwd.config.schema import Config
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.model.spec import default_mac
from ixyfwd.model.wires.contract import Rate
from ixyfwd.model.wires.flows import CRC_BYTES, make_schedule, template
from ixyfwd.supervisor.observer import Observer
from ixyfwd.supervisor.run import run_forwarder
from ixyfwd.telemetry.counters import Word
from ixyfwd.telemetry.plain import from_plain
from ixyfwd.telemetry.snapshot import CaptureReport, FarEndRow, GenerateReport, Report
from ixyfwd.worker.bpf import compile_filter
from ixyfwd.worker.order import CaptureOrder, GenerateOrder

FRAME_BYTES_MAX: Final = 1514  # without CRC
FLOWS_MAX: Final = 4096
PORT_NUMBERS: Final = 65536
SNAPLEN_MAX: Final = 262144
HEADER_S: Final = 5.0  # for the reader of a pipe to take what is in it
_OVERHEAD_BYTES: Final = 20  # preamble and gap
_BYTE_PS: Final = 800  # at 10 Gbit/s
_IP_HEADER: Final = slice(14, 34)
# As the generator wire of a model's first port has them, so that its sink knows the frames.
_DESTINATION_MAC: Final = bytes.fromhex(default_mac(0).replace(":", ""))
_SOURCE_MAC: Final = bytes((2, 0, 0, 0, 1, 0))
_DST_IP_AT, _SRC_IP_AT, _SRC_PORT_AT, _DST_PORT_AT = 30, 26, 34, 36
_PCAP_NS: Final = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAPLEN_MAX, 1)
_PCAPNG: Final = struct.pack("=IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + struct.pack(
    # Interface description: Ethernet, if_tsresol (option 9) of 10^-9 s.
    "=IIHHIHHB3xHHI",
    *(1, 32, 1, 0, SNAPLEN_MAX, 9, 1, 9, 0, 0, 32),
)


@dataclass(frozen=True)
class EndPoint:
    """One end of the generated flows; None: that of the model's own generator. Flow f has port + f."""

    mac: bytes | None = None
    ip: IPv4Address | None = None
    port: int | None = None


@dataclass(frozen=True)
class Traffic:
    """What to generate. `frames`: (bytes incl. CRC, weight). `rate`: frames per second, "line" or "max", or a share of
    "line" if `share` is not 1."""

    frames: Sequence[tuple[int, int]] = ((64, 1),)
    flows: int = 64
    rate: Rate = "line"
    share: float = 1.0
    count: int | None = None
    source: EndPoint = EndPoint()
    destination: EndPoint = EndPoint()

    @property
    def like_the_model(self) -> bool:
        """Whether the sink of a model's generator wire knows these frames."""
        return self.source == EndPoint() == self.destination


def generate_order(traffic: Traffic) -> GenerateOrder:
    """The worker's order. Raises UsageError."""
    if not 1 <= traffic.flows <= FLOWS_MAX:
        raise UsageError(f"--flows: found {traffic.flows}, expected 1 to {FLOWS_MAX}")
    sizes, order = make_schedule(traffic.frames, FRAME_BYTES_MAX)
    heads = [_head(traffic, flow, size + CRC_BYTES) for flow in range(traffic.flows) for size in sizes]
    return GenerateOrder(
        templates=b"".join(heads).hex(),
        flows=traffic.flows,
        sizes=tuple(sizes),
        frame_ps=tuple(_frame_ps(traffic, size) for size in sizes),
        schedule=tuple(order),
        count=traffic.count,
    )


def _frame_ps(traffic: Traffic, size: int) -> int:
    if traffic.rate == "max":
        return 0
    if traffic.rate == "line":
        return round((size + CRC_BYTES + _OVERHEAD_BYTES) * _BYTE_PS / traffic.share)
    return round(1e12 / float(traffic.rate))


def _head(traffic: Traffic, flow: int, frame_bytes: int) -> bytes:
    source, destination = traffic.source, traffic.destination
    head = bytearray(template(flow, frame_bytes, 0, destination.mac or _DESTINATION_MAC, source.mac or _SOURCE_MAC))
    for end, ip_at, port_at in ((source, _SRC_IP_AT, _SRC_PORT_AT), (destination, _DST_IP_AT, _DST_PORT_AT)):
        if end.ip is not None:
            head[ip_at : ip_at + 4] = end.ip.packed
        if end.port is not None:
            head[port_at : port_at + 2] = struct.pack(">H", (end.port + flow) % PORT_NUMBERS)
    head[24:26] = b"\0\0"
    total = sum(struct.unpack(">10H", head[_IP_HEADER]))
    total = (total & 0xFFFF) + (total >> 16)
    head[24:26] = struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF)
    return bytes(head)


def run_generate(config: Config, traffic: Traffic, duration_s: float | None, observer: Observer) -> GenerateReport:
    """Send until told to stop; returns the final report."""
    report = run_forwarder(
        config,
        duration_s=duration_s,
        until_done=True,
        observer=observer,
        traffic=generate_order(traffic),
        as_told=lambda report: _generated(report, traffic),
    )
    return _generated(report, traffic)


def _generated(report: Report, traffic: Traffic) -> GenerateReport:
    words = _words(report)
    return GenerateReport(
        **_head_of(report),
        command="generate",
        asked=words[Word.ASKED],
        sent=report.tx_packets,
        drops={"tx_full": report.drops["tx_full"]},
        shortfall=words[Word.SHORTFALL],
        rate_mpps=report.rate_mpps,
        sink=_sink(report, traffic),
    )


def _sink(report: Report, traffic: Traffic) -> FarEndRow | None:
    """What the far end's sink saw, if there is one that knows the frames."""
    sinks = [port.wire["sink"] for port in report.ports if port.wire and port.wire.get("sink")]
    if not sinks or not traffic.like_the_model:
        return None
    return from_plain(FarEndRow, {**sinks[0], "lost": report.tx_packets - sinks[0]["received"]})


def open_capture(path: str | None) -> tuple[int | None, bool]:
    """A new capture file (0600; "-" is standard output) with its header; whether it is pcapng. Raises UsageError."""
    if path is None:
        return None, False
    pcapng = path.endswith(".pcapng")
    try:
        fd = os.dup(1) if path == "-" else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"-w: cannot write {path} ({error.strerror})") from None
    write_header(fd, pcapng, path)
    return fd, pcapng


def write_header(fd: int, pcapng: bool, name: str) -> None:
    """What stands before the first record. Raises UsageError, or IxyfwdError if the reader of a pipe has no room."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if not poll.poll(1000 * HEADER_S):
        raise IxyfwdError(f"-w: the reader of {name} has taken nothing for {HEADER_S:g} s")
    try:
        os.write(fd, _PCAPNG if pcapng else _PCAP_NS)
    except OSError as error:
        raise UsageError(f"-w: cannot write {name} ({error.strerror})") from None


def capture_order(
    fd: int | None, pcapng: bool, expression: str | None, snaplen: int, count: int | None
) -> CaptureOrder:
    """The worker's order. Raises UsageError."""
    if not 1 <= snaplen <= SNAPLEN_MAX:
        raise UsageError(f"--snaplen: found {snaplen}, expected 1 to {SNAPLEN_MAX} bytes")
    program = compile_filter(expression) if expression else ()
    return CaptureOrder(fd, pcapng, snaplen, count, program, tuple(sorted(os.sched_getaffinity(0))))


def run_capture(
    config: Config, order: CaptureOrder, name: str, duration_s: float | None, observer: Observer
) -> CaptureReport:
    """Record until told to stop; returns the final report. `name` is the file's, for messages."""
    report = run_forwarder(
        config,
        duration_s=duration_s,
        until_done=True,
        observer=observer,
        traffic=order,
        as_told=lambda report: _captured(report, name),
    )
    return _captured(report, name)


def _captured(report: Report, name: str) -> CaptureReport:
    words = _words(report)
    drops = {
        **{cause: report.drops[cause] for cause in ("rx_no_descriptor", "rx_missed", "rx_error")},
        "file": words[Word.FILE_BUSY] + words[Word.FILE_FAILED],
        "after_count": words[Word.SURPLUS],
    }
    counted = words[Word.WRITTEN] + words[Word.FILTERED] + sum(drops.values())
    died = report.drops["worker_died"]  # a dead worker's page has lost what lay in its blocks
    if any(worker.state == "dead" for worker in report.workers) and report.in_flight is not None:
        died = report.rx_packets - counted - report.in_flight
    head = _head_of(report)
    if words[Word.ERRNO] == errno.EPIPE:
        head["reason"] = "the reader has gone"
    elif words[Word.ERRNO]:
        text = f"{name} cannot be written any more ({os.strerror(words[Word.ERRNO])}); the file so far is whole"
        head |= {"reason": "failure", "error": text, "exit_code": 1}
    return CaptureReport(
        **head,
        command="capture",
        received=report.rx_packets,
        written=words[Word.WRITTEN],
        filtered=words[Word.FILTERED],
        drops={**drops, "worker_died": died},
        drops_in_pauses=report.drops_in_pauses,
        rate_mpps=report.rate_rx_mpps,
    )


def _words(report: Report) -> Mapping[Word, int]:
    return report.workers[0].traffic or {}


def _head_of(report: Report) -> dict[str, Any]:
    """Fields of a `SingleReport`."""
    port = report.ports[0] if report.ports else None
    return {
        "port": port.device if port else None,
        "mac": port.mac if port else None,
        "device": report.device,
        "engine": report.engine,
        "uptime_s": report.uptime_s,
        "in_flight": report.in_flight,
        "faults": report.faults,
        "uncounted": report.uncounted,
        "incomplete": report.incomplete,
        "notices": report.notices,
        "reason": "count reached" if report.reason == "all wires done" else report.reason,
        "error": report.error,
        "exit_code": report.exit_code,
    }
