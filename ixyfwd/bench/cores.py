"""The CPUs of a run: the distance of worker and model before and after it, and the time taken from them meanwhile.

A figure of two cores depends on the time that a cache line takes between them, which a
host may change at any moment. So it is measured right before and right after each run,
and runs of different distances never share a median.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ixyfwd.bench.result import Row, spread
from ixyfwd.config.placement import place
from ixyfwd.config.schema import Config
from ixyfwd.probe.distance import distance_of, round_trip_ns
from ixyfwd.supervisor.observer import Observer
from ixyfwd.supervisor.run import run_forwarder
from ixyfwd.telemetry.plain import to_plain

Report = dict[str, Any]

ENDS: Final = "core_distance_ns"  # of a report: the distance before and after the run, None where there is none
KINDS: Final = ("near", "mixed", "far", None)  # in the order of rows; "mixed": it changed during a run
NEAR_PATIENCE_S: Final = 120.0  # for waits and repetitions of one measurement, over all its runs
NEAR_LOOK_S: Final = 0.5


@dataclass
class Patience:
    """The seconds that a measurement still waits for CPUs that are near; 0: it takes them as they are."""

    left_s: float = 0.0

    def spend(self, seconds: float) -> None:
        """Count `seconds` that were spent."""
        self.left_s -= seconds


def worst_round_trip_ns(config: Config) -> float | None:
    """The longest round trip, in ns, of a cache line between a worker's CPU and the model's; None if they share one."""
    placement = place(config, os.sched_getaffinity(0))
    if placement.model is None:
        return None
    trips = [round_trip_ns(cpu, placement.model) for cpu in sorted({*placement.workers} - {placement.model})]
    return max((trip for trip in trips if trip is not None), default=None)


def run_measured(
    config: Config,
    *,
    duration_s: float | None,
    until_done: bool,
    observer: Observer,
    patience: Patience | None = None,
) -> Report:
    """Run the forwarder; its report has the distance of the CPUs before and after it, as `core_distance_ns`.

    With patience it waits for near CPUs, and repeats a run that did not end with near
    CPUs. `duration_s` None: without a limit. Raises what `run_forwarder` raises.
    """
    patience = patience or Patience()
    while True:
        before_ns = _await_near(config, patience)
        begun = time.monotonic()
        run = run_forwarder(config, duration_s=duration_s, until_done=until_done, observer=observer)
        report: Report = to_plain(run)
        report[ENDS] = (before_ns, worst_round_trip_ns(config))
        if patience.left_s <= 0 or was_interrupted(report) or distance_kind([report]) in {"near", None}:
            return report
        patience.spend(time.monotonic() - begun)


def was_interrupted(report: Report) -> bool:
    """Whether a signal or `ixyfwd stop` ended a run before its time."""
    reason: str = report["reason"]
    return reason == "stop command" or reason.endswith(" received")


def _await_near(config: Config, patience: Patience) -> float | None:
    while True:
        found_ns = worst_round_trip_ns(config)
        if found_ns is None or patience.left_s <= 0 or distance_of(found_ns) == "near":
            return found_ns
        time.sleep(NEAR_LOOK_S)
        patience.spend(NEAR_LOOK_S)


def distance_kind(reports: Iterable[Report]) -> str | None:
    """The kind of distance, "near" or "far", if it is the same before and after all runs, else "mixed".

    None if there is no distance.
    """
    kinds = {None if ns is None else distance_of(ns) for report in reports for ns in report.get(ENDS, (None,))}
    return kinds.pop() if len(kinds) == 1 else "mixed"


def by_distance(reports: Sequence[Report]) -> list[list[Report]]:
    """The runs in groups of one kind of distance, near ones first; no group is empty."""
    groups = [[report for report in reports if distance_kind([report]) == kind] for kind in KINDS]
    return [group for group in groups if group]


def core_columns(reports: Sequence[Report]) -> Row:
    """The keys of a row about the CPUs of its runs.

    `run_delay_share`, `steal_share`: by run, of the process (worker or model) that lost
    the largest share.
    """
    ends = [ns for report in reports for ns in report.get(ENDS, ()) if ns is not None]
    return {
        "core_distance": distance_kind(reports),
        "core_distance_ns": spread(ends, 1) if ends else None,
        "run_delay_share": _taken(reports, "run_delay_share"),
        "steal_share": _taken(reports, "steal_share"),
    }


def _taken(reports: Sequence[Report], key: str) -> dict[str, float] | None:
    most = [_most(report, lambda process: process.get(key)) for report in reports]
    known = [share for share in most if share is not None]
    return spread(known, 6) if known else None


def _most(report: Report, share_of: Callable[[Row], float | None]) -> float | None:
    processes = [*report["workers"], *([report["model_process"]] if report.get("model_process") else [])]
    return max((share for process in processes if (share := share_of(process)) is not None), default=None)
