"""The long tables of `ixyfwd stats`, `ixyfwd ports` and `ixyfwd workers`: every counter by name."""

from collections.abc import Iterator, Mapping
from typing import Any

from ixyfwd.cli.loss import time_text
from ixyfwd.cli.render import Column, Grid, count, device, figure, make_grid
from ixyfwd.telemetry.counters import Word
from ixyfwd.telemetry.plain import to_plain
from ixyfwd.telemetry.snapshot import Snapshot, WorkerRow

_NAME = Column("counter", 36, right=False)
_VALUE = Column("value", 38)


def rests_grid(status: Snapshot) -> Grid:
    """The table of what each worker did when no frames came."""
    words = (Word.YIELDS, Word.SLEEPS, Word.WAKEUPS)
    columns = (Column("#", 2), *(Column(word.key, 13) for word in words))
    rows = [[str(worker.index), *(count(worker.words[word]) for word in words)] for worker in status.workers]
    return make_grid("when nothing came", columns, rows)


def pauses_grid(status: Snapshot) -> Grid:
    """The table of the times in which a worker had no CPU.

    By the worker's own clock, behind other processes, and by the hypervisor's word.
    """
    away = (Column(name, 7) for name in ("paused", "waited", "stolen"))
    columns = (Column("#", 2), Column("pauses", 13), Column("longest", 9), *away)
    rows = [_pauses_row(worker) for worker in status.workers]
    return make_grid("when its CPU was away for longer than a ring lasts", columns, rows)


def _pauses_row(worker: WorkerRow) -> list[str]:
    return [
        str(worker.index),
        count(worker.pauses[Word.PAUSES] if worker.pauses else None),
        "-" if worker.longest_pause_us is None else time_text(worker.longest_pause_us),
        *(_percent(share) for share in (worker.paused_share, worker.run_delay_share, worker.steal_share)),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}%"


def drops_grid(status: Snapshot) -> Grid:
    """The table of all causes of drops, also those that did not happen."""
    rows = [(cause, count(number)) for cause, number in status.drops.items()]
    return make_grid("dropped frames by cause", (Column("cause", 36, right=False), Column("frames", 13)), rows)


def port_grids(status: Snapshot) -> list[Grid]:
    """All counters of each port, its wire's among them."""
    return [
        make_grid(
            f"port {port.name}, MAC {port.mac} ({device(status)})",
            (_NAME, _VALUE),
            [row for row in _flat("", to_plain(port)) if row[0] not in ("name", "mac")],
        )
        for port in status.ports
    ]


def sink_detail_grid(status: Snapshot) -> Grid | None:
    """The table of all that the sinks counted; None without a generator."""
    if not status.sink:
        return None
    return make_grid(
        f"generators and sinks together ({device(status)})", (_NAME, _VALUE), list(_flat("", to_plain(status.sink)))
    )


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
