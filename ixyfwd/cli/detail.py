"""The long tables of `ixyfwd stats`, `ixyfwd ports` and `ixyfwd workers`: every counter by name."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ixyfwd.cli.loss import time_text
from ixyfwd.cli.render import Column, Grid, Status, count, device, figure, make_grid

_NAME = Column("counter", 36, right=False)
_VALUE = Column("value", 38)
_AWAY: Final = {"paused": "paused_share", "waited": "run_delay_share", "stolen": "steal_share"}


def rests_grid(status: Status) -> Grid:
    """What each worker did when nothing came."""
    names = ("yields", "sleeps", "wakeups")
    columns = (Column("#", 2), *(Column(name, 13) for name in names))
    rows = [
        [str(worker["index"]), *(count(worker.get(name)) for name in names)] for worker in status.get("workers", ())
    ]
    return make_grid("when nothing came", columns, rows)


def pauses_grid(status: Status) -> Grid:
    """When each worker's CPU was away: by the worker's own clock, behind other processes, by the hypervisor's word."""
    columns = (Column("#", 2), Column("pauses", 13), Column("longest", 9), *(Column(n, 7) for n in _AWAY))
    rows = [
        [
            str(worker["index"]),
            count(worker.get("pauses")),
            "-" if worker.get("longest_pause_us") is None else time_text(worker["longest_pause_us"]),
            *(_percent(worker.get(key)) for key in _AWAY.values()),
        ]
        for worker in status.get("workers", ())
    ]
    return make_grid("when its CPU was away for longer than a ring lasts", columns, rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}%"


def drops_grid(status: Status) -> Grid:
    """Every cause, also those that did not happen."""
    rows = [(cause, count(number)) for cause, number in status.get("drops", {}).items()]
    return make_grid("dropped frames by cause", (Column("cause", 36, right=False), Column("frames", 13)), rows)


def port_grids(status: Status) -> list[Grid]:
    """All counters of each port, its wire's among them."""
    return [
        make_grid(
            f"port {port['name']}, MAC {port.get('mac', '?')} ({device(status)})",
            (_NAME, _VALUE),
            [row for row in _flat("", port) if row[0] not in ("name", "mac")],
        )
        for port in status.get("ports", ())
    ]


def sink_detail_grid(status: Status) -> Grid | None:
    """Everything that the sinks counted; None without a generator."""
    sink = status.get("sink")
    if not sink:
        return None
    return make_grid(f"generators and sinks together ({device(status)})", (_NAME, _VALUE), list(_flat("", sink)))


def _flat(prefix: str, data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(f"{name}.", value)
        elif not isinstance(value, list | tuple):
            yield name, _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return figure(value, 3)
        case _:
            return str(value)
