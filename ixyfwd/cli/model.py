"""`ixyfwd model`: the bundled 82599 for QEMU and for other people's drivers."""

import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from ixyfwd.cli.live import stop_this_run
from ixyfwd.cli.output import Progress, holding_nothing_up, write_report
from ixyfwd.cli.render import Column, Grid, count, figure, make_grid
from ixyfwd.cli.start import check_duration
from ixyfwd.config.machine import this_machine
from ixyfwd.config.standalone import StandaloneOptions, standalone_spec
from ixyfwd.model.spec import ModelSpec
from ixyfwd.telemetry.model_report import ModelReport, ModelStatus
from ixyfwd.telemetry.plain import to_plain

_SHOWN_FAULTS = 8


def model_command(options: StandaloneOptions, duration_s: float | None, json: bool, verbose: bool) -> int:
    """Serve until stopped; returns the exit code that the report asks for."""
    check_duration(duration_s)
    spec = standalone_spec(options, this_machine())

    from ixyfwd.supervisor.standalone import run_model  # noqa: PLC0415 - after the options are right

    out = sys.stderr if json else sys.stdout
    watcher = _Watcher(out, ticks=verbose or (not json and out.isatty()))
    with holding_nothing_up():
        report = run_model(spec, duration_s, watcher)
    watcher.leave_open()
    write_report(to_plain(report), [] if json else model_summary(report), sys.stdout, json=json)
    return report.exit_code


class _Watcher:
    """A line for each port, then one a second if `ticks`."""

    def __init__(self, stream: TextIO, *, ticks: bool) -> None:
        self._lines = Progress(stream, stop_this_run)
        self._ticks = ticks
        self._before = (0.0, 0, 0)
        self._told: set[str] = set()

    def started(self, spec: ModelSpec, pid: int) -> None:
        """Print where the model listens."""
        for port in spec.ports:
            directory = port.directory
            at = f"sysfs:{os.path.abspath(directory)}" if directory else f"vfio-user:{os.path.abspath(port.socket)}"
            self._lines.write(f"{port.name}: 8086:{port.device_id:04x} ({port.mac}) at {at}, wire {port.wire.kind}")
        self._lines.write(f"model: pid {pid}, control socket {os.path.abspath(spec.control)}; end with Ctrl-C")

    def notice(self, text: str) -> None:
        """Print a notice, one sentence."""
        self._lines.write(f"note: {text}")

    def tick(self, status: ModelStatus) -> None:
        """Rates since the last line, and what is wrong."""
        now = (status.uptime_s, *_totals(status))
        if self._ticks:
            self._lines.write(model_line(status, self._before))
        for port in status.ports:
            self._tell(port.name, port.wire)
        self._before = now

    def _tell(self, name: str, wire: Mapping[str, Any]) -> None:
        """What a wire says, once."""
        for text in (*wire.get("notices", ()), wire.get("error")):
            if text and text not in self._told:
                self._told.add(text)
                self._lines.write(f"note: port {name}: {text}")

    def leave_open(self) -> None:
        """The signal handlers are gone: a lost reader stops the model no more."""
        self._lines.leave_open()


def traffic(wire: Mapping[str, Any]) -> tuple[int, int]:
    """Frames that a wire brought into its port, and frames that it took from it."""
    totals = wire["totals"]
    return totals["in"], totals["out"]


def _totals(status: ModelStatus) -> tuple[int, int]:
    pairs = [traffic(port.wire) for port in status.ports]
    return sum(came for came, _ in pairs), sum(went for _, went in pairs)


def model_line(status: ModelStatus, before: tuple[float, int, int]) -> str:
    """One line of progress. `before`: uptime in seconds, frames in and frames out at the last line."""
    came, went = _totals(status)
    us = max(status.uptime_s - before[0], 1e-3) * 1e6
    rates = f"{figure((came - before[1]) / us, 3)} Mpps in, {figure((went - before[2]) / us, 3)} Mpps out (model)"
    clients = sum(port.connected for port in status.ports)
    totals = f"{came:,} in, {went:,} out"
    return f"{status.uptime_s:.1f} s: {rates}, {totals}, clients {clients}, faults {status.faults:,}"


def model_summary(report: ModelReport) -> list[str]:
    """The end of a run: a row per port, and the faults if there are any."""
    columns = (
        *(Column("port", 12, right=False), Column("wire", 9, right=False), Column("link", 4, right=False)),
        *(Column("in", 13), Column("out", 13), Column("faults", 9)),
    )
    rows = []
    for port in report.ports:
        came, went = traffic(port.wire)
        link = "up" if port.link else "down"
        rows.append((port.name, port.wire["kind"], link, count(came), count(went), count(port.faults.total, 9)))
    title = f"model: served for {figure(report.uptime_s)} s ({report.reason})"
    grids = [make_grid(title, columns, rows)]
    if report.faults:
        grids.append(_faults_grid(report))
    lines = [line for grid in grids for line in grid.lines()]
    return [*lines, *(_fault_line(fault) for fault in report.recent_faults[-_SHOWN_FAULTS:])]


def _faults_grid(report: ModelReport) -> Grid:
    rows = [(kind, f"{number:,}") for kind, number in sorted(report.faults_by_kind.items())]
    return make_grid("faults by kind, then the latest", (Column("", 40, right=False), Column("", 13)), rows)


def _fault_line(fault: Mapping[str, Any]) -> str:
    if fault["detail"]:
        return f"  {fault['port']}: {fault['kind']}: {fault['detail']}"
    place = f"{fault['direction']} queue {fault['queue']}, index {fault['index']}, address {fault['address']:#x}"
    return f"  {fault['port']}: {fault['kind']}: {place}"
