"""Tables: what they say, that they fit 80 columns, and that a figure on the model never looks like one on the wire."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.cli.detail import drops_grid, port_grids, rests_grid, sink_detail_grid
from ixyfwd.cli.live import live_tables, started_line, watcher_for
from ixyfwd.cli.render import (
    WIDTH,
    count,
    figure,
    link_text,
    ports_grid,
    sink_grid,
    status_grids,
    tick_line,
    title_line,
    totals_grid,
    workers_grid,
)
from ixyfwd.cli.start import summary_lines
from ixyfwd.errors import IxyfwdError
from ixyfwd.telemetry.snapshot import LinkRow, Report, Snapshot
from tests.testing.cli_samples import largest_status, port, report, status, worker


def test_totals_say_how_often_workers_were_started_again() -> None:
    for restarts, said in (((0, 0), None), ((0, 2), "2 of worker 1"), ((3, 2), "5 of 2 workers")):
        workers = [worker(index, restarts=number) for index, number in enumerate(restarts)]
        found = [line.strip() for line in totals_grid(status(workers=workers)).lines() if "restarts" in line]
        assert [line.split(maxsplit=1)[1] for line in found] == ([said] if said else [])


def test_totals() -> None:
    assert totals_grid(status()).lines() == [
        "default: running for 12.3 s on the model",
        "  engine, program    native, xconnect",
        "  rate               29.762 Mpps sent, 29.762 Mpps received (model)",
        "  received           2,469,134",
        "  sent               2,469,120",
        "  dropped            7",
        "    rx_no_descriptor 5",
        "    tx_full          2",
        "  in flight          7",
        "  faults             0",
    ]


def test_workers() -> None:
    assert workers_grid(status(workers=[worker(0), worker(10, busy_ns_per_packet=None)])).lines() == [
        "workers (model)",
        "   # CPU state  received      sent ns/pkt burst idle  MiB",
        "   0   0 ready 1,234,567 1,234,560   14.2  31.9  12% 21.5",
        "  10  10 ready 1,234,567 1,234,560      -  31.9  12% 21.5",
    ]
    assert workers_grid(status(), with_pid=True).lines()[2].split()[:3] == ["0", "0", "4000"]


def test_what_workers_did_when_nothing_came() -> None:
    assert rests_grid(status(workers=[worker(0), worker(10, wakeups=10**6)])).lines() == [
        "when nothing came",
        "   # yields sleeps   wakeups",
        "   0  1,234     56         7",
        "  10  1,234     56 1,000,000",
    ]


def test_ports() -> None:
    down = port("p1", link={"up": False, "speed_mbps": 0, "reason": ""})
    assert ports_grid(status(ports=[port("p0"), down])).lines() == [
        "ports (model)",
        "  port device link     received      sent no room missed",
        "  p0   sim:p0 10 Gb/s 1,234,567 1,234,560       5      0",
        "  p1   sim:p1 down    1,234,567 1,234,560       5      0",
    ]


def test_sink() -> None:
    grid = sink_grid(status())
    assert grid is not None
    assert grid.lines() == [
        "generators and sinks (model)",
        "       sent  received lost reordered duplicated corrupted",
        "  2,469,139 2,469,120    0         0          0         0",
    ]
    assert sink_grid(status(sink=None)) is None


def test_lines_of_a_run() -> None:
    assert tick_line(status()) == "12.3 s: 29.762 Mpps sent, 29.762 Mpps received (model), dropped 7, lost 0"
    assert tick_line(status(sink=None, faults=3)).endswith("(model), dropped 7, faults 3")
    refusing = status(ports=[port("p0", rx_errors=4, rx_too_long=3)])
    assert tick_line(refusing).endswith("(model), dropped 7, refused 4, lost 0")
    assert totals_grid(refusing).lines()[-3:-1] == [
        "  refused by ports   4",
        "    too long         3 (longer than max_frame in [forward])",
    ]
    assert started_line(status(workers=[worker(0), worker(1)])) == (
        "default: forwarding on the model, 2 workers (CPU 0-1); end with Ctrl-C or `ixyfwd stop`"
    )
    assert started_line(status(instance="b")).endswith(
        "1 worker (CPU 0); end with Ctrl-C or `ixyfwd stop --instance b`"
    )


COUNTS: list[tuple[int | None, int, str]] = [
    (None, 13, "-"),
    (0, 13, "0"),
    (9_999_999_999, 13, "9,999,999,999"),
    (10**10, 13, "10,000.000 M"),
    (10**15 - 1, 13, "1,000,000.0 G"),
    (1_234_567, 9, "1,234,567"),
    (12_345_678, 9, "12.346 M"),
    (1_234_567, 7, "1.235 M"),
    (123_456_789, 7, "123.5 M"),
    (10**15 - 1, 7, "1,000 T"),
]


@pytest.mark.parametrize(("value", "width", "text"), COUNTS)
def test_counts(value: int | None, width: int, text: str) -> None:
    assert count(value, width) == text


@given(st.integers(0, 10**15), st.integers(7, 13))
def test_counts_are_never_cut(value: int, width: int) -> None:
    assert len(count(value, width)) <= width


def test_figures_and_links() -> None:
    assert (figure(None), figure(1234.56), figure(0.5, 3)) == ("-", "1,235", "0.500")
    assert link_text(LinkRow(up=True, speed_mbps=10000, reason="")) == "10 Gb/s"
    assert link_text(LinkRow(up=True, speed_mbps=2500, reason="")) == "2.5 Gb/s"
    assert link_text(LinkRow(up=True, speed_mbps=100, reason="")) == "100 Mb/s"
    assert link_text(LinkRow(up=False, speed_mbps=10000, reason="")) == "down"
    assert link_text(LinkRow(up=False, speed_mbps=0, reason="no SFP+ module in the cage")) == "no module"


def rich_text(found: Snapshot, width: int = WIDTH) -> str:
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(live_tables(found))
    return stream.getvalue()


def every_line(found: Snapshot) -> list[str]:
    grids = [
        totals_grid(found),
        ports_grid(found),
        workers_grid(found, with_pid=True),
        drops_grid(found),
        rests_grid(found),
    ]
    grids += [grid for grid in (sink_grid(found), sink_detail_grid(found)) if grid] + port_grids(found)
    lines = [line for grid in grids for line in grid.lines()]
    return [*lines, *(summary_lines(found) if isinstance(found, Report) else ()), *rich_text(found).splitlines()]


@pytest.mark.parametrize(
    "found",
    [status(), report(), largest_status(), report(in_flight=None, uncounted=None, incomplete="a word " * 40)],
    ids=["usual", "report", "largest", "incomplete"],
)
def test_everything_fits_80_columns(found: Snapshot) -> None:
    for line in every_line(found):
        assert len(line.rstrip()) <= WIDTH, line


def test_the_live_view_says_what_the_text_says() -> None:
    found = largest_status()
    live = rich_text(found)
    for line in (line for grid in status_grids(found) for line in grid.lines()):
        for word in line.split():
            assert word in live
        assert "~" not in line.removeprefix("  xxxxxxx~ vfio-user:/y~"), "a number was cut"
    assert "…" not in live, "rich had to cut: the columns are too wide"


@pytest.mark.parametrize(("device", "says"), [("model", "model"), ("wire", "wire"), ("mixed", "model+wire")])
def test_every_rate_says_where_it_was_measured(device: str, says: str) -> None:
    found = status(device=device)
    rates = [line for line in [*every_line(found), tick_line(found)] if "Mpps" in line]
    assert len(rates) >= 3
    assert all(f"({says})" in line for line in rates)
    assert title_line(found).endswith(f"on the {says}")
    titles = [workers_grid(found).title, ports_grid(found).title]
    assert titles == [f"workers ({says})", f"ports ({says})"]


@pytest.mark.parametrize("found", [None, "card"])
def test_a_device_that_is_not_known_is_never_taken_for_the_wire(found: str | None) -> None:
    with pytest.raises(IxyfwdError, match=rf"^device is {found!r}, expected .*wire"):
        status(device=found)


def test_details_have_every_counter() -> None:
    (grid, _) = port_grids(status())
    rows = {row[0]: row[1] for row in grid.rows}
    assert grid.title == "port p0, MAC 02:69:78:79:00:00 (model)"
    assert rows["rx_bytes"] == "74,073,720"
    assert rows["link.up"] == "yes"
    assert rows["wire.sink.latency_ns.p99"] == "3,400"
    assert rows["wire.generator.rate"] == "line"
    assert {row[0]: row[1] for row in drops_grid(status()).rows} == {
        "rx_no_descriptor": "5",
        "rx_missed": "0",
        "rx_error": "0",
        "tx_full": "2",
        "worker_died": "0",
    }


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return Terminal()


def watch(stream: Terminal) -> str:
    with watcher_for(stream, json=False, quiet=False, progress=io.StringIO()) as watcher:
        watcher.notice("odd [bold]brackets[/bold]")
        watcher.started(status())
        watcher.tick(status(rx_packets=42))
        watcher.stopped(report())
    return stream.getvalue()


def test_a_terminal_gets_a_live_table(terminal: Terminal) -> None:
    written = watch(terminal)
    assert "note: odd [bold]brackets[/bold]" in written
    assert "\x1b[36m" in written  # cyan headers
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor must be visible again"


def test_no_color_means_no_colour(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    written = watch(terminal)
    assert "Mpps" in written
    assert "\x1b[36m" not in written and "\x1b[3" not in written


def test_the_cursor_comes_back_after_a_failure(terminal: Terminal) -> None:
    with (
        pytest.raises(RuntimeError),
        watcher_for(terminal, json=False, quiet=False, progress=io.StringIO()) as watcher,
    ):
        watcher.started(status())
        raise RuntimeError
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")


@pytest.mark.parametrize("kind", ["dumb", ""])
def test_a_terminal_that_cannot_draw_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("TERM", kind)
    written = watch(terminal)
    assert "\x1b" not in written
    assert len(written.splitlines()) == 3
