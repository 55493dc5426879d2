"""The commands that talk to a running instance: `stop`, `status`, `stats`, `ports`, `workers`."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from ixyfwd.cli.output import Lines, complain
from ixyfwd.cli.render import (
    Grid,
    account_line,
    incomplete_lines,
    ports_grid,
    status_grids,
    totals_grid,
    workers_grid,
)
from ixyfwd.config.schema import NAME, NAME_EXPECTED
from ixyfwd.errors import UsageError
from ixyfwd.telemetry.plain import from_plain
from ixyfwd.telemetry.snapshot import CaptureReport, GenerateReport, Report, Snapshot

_REPORTS: Final[Mapping[str, type[Report | GenerateReport | CaptureReport]]] = {
    "start": Report,
    "generate": GenerateReport,
    "capture": CaptureReport,
}
View = Literal["status", "stats", "ports", "workers"]

_HEAD: Final = ("instance", "state", "device", "engine", "program", "uptime_s")
_TOTALS: Final = (
    "rate_mpps",
    "rate_rx_mpps",
    "rx_packets",
    "tx_packets",
    "drops",
    "drops_in_pauses",
    "in_flight",
    "faults",
    "sink",
)
_KEYS: Final = {
    "stats": (*_HEAD, *_TOTALS, "ports"),
    "ports": (*_HEAD, "ports"),
    "workers": (*_HEAD, "workers"),
}


def stop_command(instance: str, timeout_s: float, json: bool) -> None:
    """Ask for the stop and wait for the final report."""
    _check_name(instance)
    from ixyfwd.supervisor.client import stop  # noqa: PLC0415

    answer = stop(instance, timeout_s)
    out = Lines(sys.stdout)
    if json:
        out.write_json(answer or {"instance": instance, "state": "stopped", "error": None, "exit_code": 0})
        return
    out.write(stopped_line(instance, answer or {}))


def stopped_line(instance: str, answer: Mapping[str, Any]) -> str:
    """What became of an instance, from its final report: that of a run, of an `ixyfwd model`, or none."""
    if not answer:
        return f"{instance}: has ended, before it heard of this `ixyfwd stop`"
    if answer.get("error"):
        complain(str(answer["error"]))
    kind = _REPORTS.get(str(answer.get("command", "start"))) if "engine" in answer else None
    if kind is None:  # of an `ixyfwd model`, or of a role that a package brought with it
        return f"{instance}: stopped" + (f" after {answer['uptime_s']:.1f} s" if "uptime_s" in answer else "")
    report = from_plain(kind, answer)
    return "\n".join([f"{instance}: stopped; {account_line(report)}", *incomplete_lines(report)])


def schema_command() -> None:
    """The JSON schema of what `status`, `start`, `stop`, `generate` and `capture` print."""
    from ixyfwd.telemetry.schema import SCHEMA_FILE  # noqa: PLC0415

    Lines(sys.stdout).write(SCHEMA_FILE.read_text(encoding="utf-8").rstrip("\n"))


def show_command(view: View, instance: str, json: bool) -> None:
    """Ask for the status and show one view of it."""
    answer = _ask(instance, "status", 5.0)
    out = Lines(sys.stdout)
    if json:
        keys = _KEYS.get(view, tuple(answer))
        out.write_json({key: answer[key] for key in keys if key in answer})
    else:
        status = from_plain(Snapshot, answer)
        for grid in _grids(view, status):
            out.write(*grid.lines())
        if view == "status":
            out.write(*(f"note: {text}" for text in status.notices))


def _ask(instance: str, command: str, timeout_s: float) -> dict[str, Any]:
    _check_name(instance)
    from ixyfwd.supervisor.client import request  # noqa: PLC0415

    answer: dict[str, Any] = request(instance, command, timeout_s=timeout_s)
    return answer


def _check_name(instance: str) -> None:
    if not NAME.fullmatch(instance):
        raise UsageError(f"--instance: found {instance!r}, expected {NAME_EXPECTED}")


def _grids(view: View, status: Snapshot) -> list[Grid]:
    from ixyfwd.cli.detail import drops_grid, pauses_grid, port_grids, rests_grid, sink_detail_grid  # noqa: PLC0415

    found: Sequence[Grid | None]
    match view:
        case "status":
            found = status_grids(status)
        case "stats":
            found = [totals_grid(status), drops_grid(status), sink_detail_grid(status), *port_grids(status)]
        case "ports":
            found = [ports_grid(status)]
        case "workers":
            found = [workers_grid(status, with_pid=True), rests_grid(status), pauses_grid(status)]
    return [grid for grid in found if grid is not None]
