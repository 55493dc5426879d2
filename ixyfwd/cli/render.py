"""A status as tables: plain data here, text for pipes and reports in `lines`, a live view in `live.py`.

Tables fit 80 columns. A line with a rate says whether it was measured on the model or on a real wire.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ixyfwd.cli.loss import loss_rows
from ixyfwd.telemetry.counters import ProgramWord
from ixyfwd.telemetry.snapshot import (
    CaptureReport,
    GenerateReport,
    LinkRow,
    Report,
    SingleReport,
    Snapshot,
    WorkerRow,
)

WIDTH: Final = 80
TOTALS_WIDTH: Final = 56  # of the second column of the totals


@dataclass(frozen=True)
class Column:
    """`width`: the most characters that a cell may have; what is longer is cut and ends in `~`."""

    header: str
    width: int
    right: bool = True

    def cell(self, text: str) -> str:
        """A cell's text, cut to the width."""
        return text if len(text) <= self.width else text[: self.width - 1] + "~"


@dataclass(frozen=True)
class Grid:
    """A table: cells are text of at most their column's width."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def lines(self) -> list[str]:
        """The table as text: title, headers and a line per row; columns as wide as their content."""
        headers = tuple(column.header for column in self.columns)
        cells = [headers, *self.rows] if any(headers) else list(self.rows)
        widths = [max((len(row[i]) for row in cells), default=0) for i in range(len(self.columns))]
        table = [
            " ".join(
                text.rjust(width) if column.right else text.ljust(width)
                for text, width, column in zip(row, widths, self.columns, strict=True)
            ).rstrip()
            for row in cells
        ]
        return [self.title, *(f"  {line}" for line in table)]


def make_grid(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Grid:
    """A grid whose cells are cut to their columns."""
    cut = tuple(tuple(column.cell(text) for column, text in zip(columns, row, strict=True)) for row in rows)
    return Grid(title, tuple(columns), cut)


def count(value: int | None, width: int = 13) -> str:
    """A number of frames in at most `width` characters: grouped if it fits, else in M, G or T; `-` if unknown."""
    if value is None:
        return "-"
    text = f"{value:,}"
    for divisor, unit in ((1e6, "M"), (1e9, "G"), (1e12, "T")):
        for digits in (3, 1, 0):
            if len(text) <= width:
                return text
            text = f"{value / divisor:,.{digits}f} {unit}"
    return text


def figure(value: float | None, digits: int = 1) -> str:
    """A measured figure, without decimals from 1000 on; `-` if unknown."""
    if value is None:
        return "-"
    return f"{value:,.{digits if abs(value) < 1000 else 0}f}"


def device(status: Snapshot) -> str:
    """ "model", "wire" or "model+wire": what stands beside every rate."""
    return "model+wire" if status.device == "mixed" else status.device


def rate_text(status: Snapshot) -> str:
    """Sent and received rates with the device."""
    rx, tx = figure(status.rate_rx_mpps, 3), figure(status.rate_mpps, 3)
    return f"{tx} Mpps sent, {rx} Mpps received ({device(status)})"


def title_line(status: Snapshot) -> str:
    """The title of a status: the instance, its state and uptime, and the kind of its devices."""
    return f"{status.instance}: {status.state} for {figure(status.uptime_s)} s on the {device(status)}"


def tick_line(status: Snapshot) -> str:
    """One line of progress."""
    lost = f", lost {count(status.sink.lost)}" if status.sink and status.sink.lost is not None else ""
    faults = f", faults {status.faults:,}" if status.faults else ""
    refused = f", refused {count(number)}" if (number := sum(port.rx_errors for port in status.ports)) else ""
    return f"{status.uptime_s:.1f} s: {rate_text(status)}, dropped {count(status.dropped)}{refused}{lost}{faults}"


def account_line(report: Report | GenerateReport | CaptureReport) -> str:
    """Where every frame is."""
    rest = f"dropped {count(sum(report.drops.values()))}", f"in flight {count(report.in_flight)}"
    if isinstance(report, GenerateReport):
        found = " + ".join((f"sent {count(report.sent)}", *rest))
        return f"asked {count(report.asked)} = {found}; shortfall {count(report.shortfall)}"
    if isinstance(report, CaptureReport):
        found = " + ".join((f"written {count(report.written)}", f"filtered {count(report.filtered)}", *rest))
        return f"received {count(report.received)} = {found}"
    return ", ".join((f"received {count(report.rx_packets)}", f"sent {count(report.tx_packets)}", *rest))


def incomplete_lines(report: Report | SingleReport) -> list[str]:
    """What stands below an account that is not whole."""
    if report.incomplete is None:
        return []
    return textwrap.wrap(f"incomplete: {report.incomplete}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def status_grids(status: Snapshot) -> list[Grid]:
    """All tables of a status. The totals come first: a short terminal cuts from below."""
    found = (totals_grid(status), programs_grid(status), sink_grid(status), ports_grid(status), workers_grid(status))
    return [grid for grid in found if grid is not None]


def totals_grid(status: Snapshot) -> Grid:
    """Rates and totals; causes of drops that happened, and what is known of their reasons."""
    rows = [
        ("engine, program", f"{status.engine}, {status.program}"),
        *_model_rows(status),
        ("rate", rate_text(status)),
        ("received", count(status.rx_packets)),
        ("sent", count(status.tx_packets)),
        ("dropped", count(status.dropped)),
        *((f"  {cause}", count(number)) for cause, number in status.drops.items() if number),
        *loss_rows(status, TOTALS_WIDTH),
        ("in flight", count(status.in_flight)),
        *_refused_rows(status),
        *_restart_rows(status),
    ]
    if status.device != "wire":
        rows.append(("faults", count(status.faults)))
    columns = (Column("", 20, right=False), Column("", TOTALS_WIDTH, right=False))
    return make_grid(title_line(status), columns, rows)


def _restart_rows(status: Snapshot) -> Iterator[tuple[str, str]]:
    """How often workers have been started again, if any."""
    again = [worker for worker in status.workers if worker.restarts]
    if again:
        whose = f"worker {again[0].index}" if len(again) == 1 else f"{len(again)} workers"
        yield "restarts", f"{count(sum(worker.restarts for worker in again))} of {whose}"


def _refused_rows(status: Snapshot) -> Iterator[tuple[str, str]]:
    """Frames that never were received, and which of them a key of the configuration lets in."""
    refused, too_long = (sum(getattr(port, key) for port in status.ports) for key in ("rx_errors", "rx_too_long"))
    if refused:
        yield "refused by ports", count(refused)
    if too_long:
        yield "  too long", f"{count(too_long)} (longer than max_frame in [forward])"


def _model_rows(status: Snapshot) -> list[tuple[str, str]]:
    """Where the model does not go on, that it does not."""
    process = status.model_process
    if process is None or process.state == "running":
        return []
    return [("model", f"{process.state} (pid {process.pid}): its ports as they were last read")]


def programs_grid(status: Snapshot) -> Grid | None:
    """What programs did with frames, a row each; None if none of them decides."""
    if not any(program.drops for program in status.programs):
        return None
    widths = {ProgramWord.IN: 13, ProgramWord.PASSED: 13, ProgramWord.OUT: 13, ProgramWord.INVALID: 9}
    numbers = [Column(word.key, width) for word, width in widths.items()]
    columns = [Column("program", 14, right=False), *numbers, Column("dropped", 13)]
    rows = [
        [
            program.name,
            *(count(program.words[word], width) for word, width in widths.items()),
            count(program.dropped),
        ]
        for program in status.programs
    ]
    return make_grid(f"programs ({device(status)})", columns, rows)


def sink_grid(status: Snapshot) -> Grid | None:
    """What came back to the generators; None without one."""
    if not status.sink:
        return None
    names = {"sent": 13, "received": 13, "lost": 13, "reordered": 9, "duplicated": 10, "corrupted": 9}
    columns = [Column(name, width) for name, width in names.items()]
    return make_grid(
        f"generators and sinks ({device(status)})",
        columns,
        [[count(getattr(status.sink, name), width) for name, width in names.items()]],
    )


def workers_grid(status: Snapshot, *, with_pid: bool = False) -> Grid:
    """A row per worker."""
    columns = [
        Column("#", 2),
        Column("CPU", 4),
        *([Column("PID", 7)] if with_pid else []),
        Column("state", 8, right=False),
        Column("received", 13),
        Column("sent", 13),
        Column("ns/pkt", 7),
        Column("burst", 6),
        Column("idle", 4),
        Column("MiB", 5),
    ]
    rows = [_worker_row(worker, with_pid) for worker in status.workers]
    return make_grid(f"workers ({device(status)})", columns, rows)


def _worker_row(worker: WorkerRow, with_pid: bool) -> list[str]:
    share = worker.empty_poll_share
    return [
        str(worker.index),
        "-" if worker.cpu is None else str(worker.cpu),
        *([str(worker.pid)] if with_pid else []),
        worker.state,
        count(worker.rx_packets),
        count(worker.tx_packets),
        figure(worker.busy_ns_per_packet),
        figure(worker.packets_per_burst),
        "-" if share is None else f"{100 * share:.0f}%",
        figure(worker.rss_mib),
    ]


def ports_grid(status: Snapshot) -> Grid:
    """A row per port."""
    columns = (
        Column("port", 8, right=False),
        Column("device", 13, right=False),
        Column("link", 9, right=False),
        Column("received", 13),
        Column("sent", 13),
        Column("no room", 9),
        Column("missed", 7),
    )
    rows = [
        [
            port.name,
            port.device,
            link_text(port.link),
            count(port.rx_packets),
            count(port.tx_packets),
            count(port.rx_no_descriptor, 9),
            count(port.rx_missed, 7),
        ]
        for port in status.ports
    ]
    return make_grid(f"ports ({device(status)})", columns, rows)


def link_text(link: LinkRow) -> str:
    """ "10 Gb/s", "down" or "no module"."""
    if not link.up:
        return "no module" if "module" in link.reason else "down"
    return f"{link.speed_mbps / 1000:g} Gb/s" if link.speed_mbps >= 1000 else f"{link.speed_mbps} Mb/s"
