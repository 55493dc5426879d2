"""Watchers of a run: plain lines for pipes and `--json`, a live table for terminals."""

import signal
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from ixyfwd.cli.output import REPORT_S, Progress, complain, set_patience
from ixyfwd.cli.render import Grid, status_grids, tick_line
from ixyfwd.config.cpus import format_cpu_list
from ixyfwd.kit.outlet import Outlet, can_draw, unwritable
from ixyfwd.supervisor.observer import Observer
from ixyfwd.telemetry.snapshot import Report, Snapshot


def stop_this_run() -> None:
    """Stop this run in order, as on SIGTERM: the reader of our output has gone (`| head`)."""
    signal.raise_signal(signal.SIGTERM)


class Watcher(Observer, Protocol):
    """A supervisor's observer that is entered around the run, so that a terminal is left in order."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainWatcher:
    """A line per event. With `quiet` nothing at all."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._lines = Progress(stream, stop_this_run)
        self._quiet = quiet

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._lines.write(text)

    def notice(self, text: str) -> None:
        """Print a notice, one sentence."""
        self._say(f"note: {text}")

    def started(self, status: Snapshot) -> None:
        """The first line: what runs, and how to stop it."""
        self._say(started_line(status))

    def tick(self, status: Snapshot) -> None:
        """A line of progress."""
        self._say(tick_line(status))

    def stopped(self, report: Report) -> None:
        """The run is over: its signal handlers are gone, so a lost reader stops it no more."""
        self._lines.leave_open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.leave_open()


def started_line(status: Snapshot) -> str:
    """What runs where, and how to stop it."""
    count, name = len(status.workers), status.instance
    cpus = format_cpu_list(sorted({worker.cpu for worker in status.workers if worker.cpu is not None}))
    many = "worker" if count == 1 else "workers"
    where = {"wire": "on the wire", "mixed": "on model and wire", "model": "on the model"}[status.device]
    option = "" if name == "default" else f" --instance {name}"
    return f"{name}: forwarding {where}, {count} {many} (CPU {cpus}); end with Ctrl-C or `ixyfwd stop{option}`"


class LiveWatcher:
    """Tables that are drawn anew at every tick."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - 50 ms that only a terminal pays for
        from rich.live import Live  # noqa: PLC0415

        self._stream = stream
        self._shown = True
        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def notice(self, text: str) -> None:
        """A sentence above the tables."""
        self._draw(lambda: self._console.print(f"note: {text}", markup=False, soft_wrap=True))

    def started(self, status: Snapshot) -> None:
        """The first tables."""
        self._draw(self._live.start)
        self.tick(status)

    def tick(self, status: Snapshot) -> None:
        """New numbers, if the terminal has taken the last ones (Ctrl-S)."""
        if not (isinstance(self._stream, Outlet) and self._stream.behind):
            self._draw(lambda: self._live.update(live_tables(status), refresh=True))

    def _draw(self, call: Callable[[], None]) -> None:
        """A terminal that is gone ends no run: SIGHUP tells of it, unless that is ignored (`nohup`, `setsid`)."""
        if not self._shown:
            return
        try:
            call()
        except OSError as error:
            self._shown = False
            complain(f"{unwritable(error)}; the run goes on without it")

    def stopped(self, report: Report) -> None:
        """Remove the tables; the summary follows."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        set_patience(REPORT_S, self._stream)  # the cursor is to come back
        self._draw(self._live.stop)


def live_tables(status: Snapshot) -> Any:
    """All tables of a status as one rich renderable."""
    from rich.console import Group  # noqa: PLC0415

    return Group(*map(_rich_table, status_grids(status)))


def _rich_table(grid: Grid) -> Any:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        title=Text(grid.title, style="bold"),
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="cyan",
        show_header=any(column.header for column in grid.columns),
    )
    for column in grid.columns:
        justify: Any = "right" if column.right else "left"
        table.add_column(column.header, justify=justify, no_wrap=True, overflow="ellipsis")
    for row in grid.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def watcher_for(stream: TextIO, *, json: bool, quiet: bool, progress: TextIO) -> Watcher:
    """The watcher that suits `stream`: live tables on a terminal that can show them, otherwise lines.

    With `json`, standard output is left to the one object, and lines go to `progress`.
    """
    if json or quiet:
        return PlainWatcher(progress, quiet=quiet)
    if can_draw(stream):
        return LiveWatcher(stream)
    return PlainWatcher(stream)
