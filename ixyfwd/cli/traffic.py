"""`ixyfwd generate` and `ixyfwd capture`."""

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address
from typing import Final, TextIO

from ixyfwd.cli.live import PlainWatcher
from ixyfwd.cli.loss import HINT, rounded
from ixyfwd.cli.output import holding_nothing_up, write_report
from ixyfwd.cli.render import account_line, count, figure, incomplete_lines
from ixyfwd.cli.start import check_duration, replay_bindings
from ixyfwd.config.machine import this_machine
from ixyfwd.config.schema import Config
from ixyfwd.config.single import PortChoice, single_port
from ixyfwd.errors import UsageError
from ixyfwd.kit.outlet import check_open
from ixyfwd.kit.process import stop_signals_held
from ixyfwd.model.wires.registry import default_wire, no_wire
from ixyfwd.roles.capture.file import CaptureFile
from ixyfwd.roles.capture.request import capture_order
from ixyfwd.roles.generate.request import EndPoint, Traffic, generate_order
from ixyfwd.supervisor.observer import Observer
from ixyfwd.supervisor.run import run_role
from ixyfwd.telemetry.plain import to_plain
from ixyfwd.telemetry.snapshot import CaptureReport, Report, SingleReport, Snapshot
from ixyfwd.traffic.schedule import IMIX, SendRate

_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_TOP_RATE: Final = 1e9
TCPDUMP_S: Final = 2.0  # to print what it has read


@dataclass(frozen=True)
class GenerateOptions:
    """The options and arguments of the command, as typed."""

    frame: str
    rate: str
    flows: int
    count: int | None
    ends: Sequence[tuple[str | None, str | None]]  # source and destination: MAC, IP[:PORT]


def generate_command(choice: PortChoice, options: GenerateOptions, duration_s: float | None, json: bool) -> int:
    """Send until told to stop; returns the exit code."""
    check_duration(duration_s)
    _check_count(options.count)
    rate, share = _read_rate(options.rate)
    ends = [_read_end(name, mac, address) for name, (mac, address) in zip(("src", "dst"), options.ends, strict=True)]
    traffic = Traffic(_read_frames(options.frame), options.flows, rate, share, options.count, *ends)
    order = generate_order(traffic)  # says what is wrong before anything is touched
    # The far end of a simulated port only checks: the usual wire, which never sends.
    known = traffic.like_the_model
    sink = default_wire(flows=traffic.flows, frames=tuple(traffic.frames), count=0) if known else no_wire()
    config = single_port(choice, sink, this_machine())
    replay_bindings(config)
    watcher = _Watcher(sys.stderr if json else sys.stdout, "sent")
    with holding_nothing_up():
        report = run_role(config, order, duration_s, watcher)
    lines = [account_line(report)]
    if report.sink:
        lines.append("sink: " + ", ".join(f"{name} {number:,}" for name, number in to_plain(report.sink).items()))
    return _end(report, lines, sys.stdout, json)


@dataclass(frozen=True)
class CaptureOptions:
    """The options and arguments of the command, as typed."""

    write: str | None
    expression: str | None
    snaplen: int
    count: int | None
    verbose: bool


def capture_command(choice: PortChoice, options: CaptureOptions, duration_s: float | None, json: bool) -> int:
    """Record until told to stop; returns the exit code. Raises UsageError for options that exclude each other."""
    check_duration(duration_s)
    _check_count(options.count)
    if options.verbose and options.write is not None:
        raise UsageError("-v: found with -w, expected one of the two (tcpdump -n -r FILE shows a file)")
    capture_order(None, expression=options.expression, snaplen=options.snaplen, count=options.count)
    config = single_port(choice, default_wire(), this_machine())
    to_stdout = options.write == "-" or options.verbose
    if options.write == "-" and (json or sys.stdout.isatty()):
        raise UsageError("-w -: found --json or a terminal, expected standard output for the capture alone")
    if to_stdout:
        check_open(sys.stdout)
    replay_bindings(config)
    watcher = _Watcher(sys.stderr if json or to_stdout else sys.stdout, "received")
    with holding_nothing_up():
        report = _capture(config, options, duration_s, watcher)
    lines = [account_line(report)]
    if report.refused:
        long = f", {count(report.refused_too_long)} of them longer than 1518 bytes" if report.refused_too_long else ""
        lines.append(f"refused by the port: {count(report.refused)}{long}")
    return _end(report, lines, sys.stderr if to_stdout else sys.stdout, json)


def _capture(config: Config, options: CaptureOptions, duration_s: float | None, watcher: "_Watcher") -> CaptureReport:
    with _shown() if options.verbose else CaptureFile(options.write) as file:
        order = capture_order(
            file.fd,
            pcapng=file.pcapng,
            name=file.name,
            expression=options.expression,
            snaplen=options.snaplen,
            count=options.count,
        )
        report = run_role(config, order, duration_s, _FileWatcher(watcher, file), before_frames=file.begin)
        if file.removed:
            return replace(report, error=report.error or file.complaint, exit_code=1)
        return replace(report, notices=(*report.notices, file.complaint)) if file.complaint else report


@contextmanager
def _shown() -> Iterator[CaptureFile]:
    """A pipe to tcpdump, which prints a line for each frame."""
    tcpdump = shutil.which("tcpdump")
    if tcpdump is None:
        raise UsageError("-v needs tcpdump, which is not installed; write a file with -w instead")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # A signal ends the capture first, and tcpdump then finds the end of the pipe.
    with stop_signals_held():
        process = subprocess.Popen(  # noqa: S603
            [tcpdump, "-n", "-l", "-r", "-"], stdin=reading, stderr=subprocess.DEVNULL, start_new_session=True
        )
    os.close(reading)
    try:
        with CaptureFile.of_pipe(writing, "the pipe to tcpdump") as file:
            yield file
    finally:
        try:
            process.wait(TCPDUMP_S)
        except subprocess.TimeoutExpired:  # it waits for the reader of its lines
            process.kill()
            process.wait()


class _Watcher(PlainWatcher):
    """A line for each second, of a run with one port."""

    def __init__(self, stream: TextIO, verb: str) -> None:
        super().__init__(stream)
        self._verb = verb

    def started(self, status: Snapshot) -> None:
        """Frames flow."""
        port = status.ports[0]
        self._say(f"port {port.device} ({port.mac}), engine {status.engine}; end with Ctrl-C")

    def tick(self, status: Snapshot) -> None:
        """Rate and total."""
        sent = self._verb == "sent"
        rate = status.rate_mpps if sent else status.rate_rx_mpps
        total = status.tx_packets if sent else status.rx_packets
        self._say(f"{status.uptime_s:.1f} s: {figure(rate, 3)} Mpps ({status.device}), {self._verb} {count(total)}")


def _end(report: SingleReport, lines: Sequence[str], stream: TextIO, json: bool) -> int:
    title = f"{report.command}: {figure(report.uptime_s)} s ({report.reason})"
    rate = f"{figure(report.rate_mpps, 3)} Mpps ({report.device})"
    causes = [f"dropped, {cause}: {number:,}" for cause, number in report.drops.items() if number]
    if isinstance(report, CaptureReport) and report.drops_in_pauses:
        causes.append(f"of these about {rounded(report.drops_in_pauses):,} while the worker's CPU was away; {HINT}")
    text = [f"{title}, {rate}", *lines, *causes, *incomplete_lines(report)]
    write_report(to_plain(report), text, stream, json=json)
    return report.exit_code


def _check_count(number: int | None) -> None:
    if number is not None and number < 1:
        raise UsageError(f"--count: found {number}, expected at least 1")


def _read_frames(text: str) -> tuple[tuple[int, int], ...]:
    if text == "imix":
        return IMIX
    if not re.fullmatch(r"\d{1,5}(,\d{1,5})*", text):
        raise UsageError(f'--frame: found "{text}", expected bytes including CRC such as 64 or 64,1518, or imix')
    return tuple((int(size), 1) for size in text.split(","))


def _read_rate(text: str) -> tuple[SendRate, float]:
    if text in ("line", "max"):
        return ("line" if text == "line" else "max"), 1.0
    percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not 0 < number <= (100 if percent else _TOP_RATE):
        raise UsageError(f'--rate: found "{text}", expected line, max, frames per second such as 1e6, or 10% of line')
    return ("line", number / 100) if percent else (number, 1.0)


def _read_end(name: str, mac: str | None, address: str | None) -> EndPoint:
    if mac is not None and not _MAC.fullmatch(mac):
        raise UsageError(f'--{name}-mac: found "{mac}", expected an address such as 02:00:00:00:00:01')
    ip, _, port = (address or "").partition(":")
    try:
        found = IPv4Address(ip) if address is not None else None
        number = int(port) if port else None
    except (AddressValueError, ValueError):
        number = -1
        found = None
    if number is not None and not 0 <= number < 65536:
        raise UsageError(f'--{name}: found "{address}", expected IP or IP:PORT such as 10.0.0.1:4096')
    return EndPoint(bytes.fromhex(mac.replace(":", "")) if mac else None, found, number)


class _FileWatcher:
    """An observer that also looks after a capture file."""

    def __init__(self, observer: Observer, file: CaptureFile) -> None:
        self._observer = observer
        self._file = file
        self._told = False

    def notice(self, text: str) -> None:
        """See `Observer`."""
        self._observer.notice(text)

    def started(self, status: Snapshot) -> None:
        """See `Observer`."""
        self._observer.started(status)

    def tick(self, status: Snapshot) -> None:
        """What becomes of the file is told once."""
        self._observer.tick(status)
        complaint = None if self._told else self._file.complaint
        if complaint is not None:
            self._told = True
            self._observer.notice(complaint)

    def stopped(self, report: Report) -> None:
        """See `Observer`."""
        self._observer.stopped(report)
