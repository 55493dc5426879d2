"""Latency at given loads.

A frame is stamped when it is composed in a receive buffer, and the sink takes the time
when it finds it in a transmit ring. Every frame is measured up to 2 Mpps a direction,
every 16th above. The first second of a run warms up and does not count. The model's own
share is measured by the same wires without a forwarder: a loop in the model's own
thread moves each frame from the rx to the tx ring as soon as it is there
(`model/turn.py`). The machine's share are the pauses of the CPUs in use (`pauses.py`).
"""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from ixyfwd.bench.cores import NEAR_PATIENCE_S, Patience, by_distance, core_columns
from ixyfwd.bench.histogram import Histogram, of_sink
from ixyfwd.bench.loaded import DIRECTIONS, Interrupted, Load, run_load, worker_costs
from ixyfwd.bench.pauses import machine_alone_us
from ixyfwd.bench.result import Row, result, spread
from ixyfwd.bench.throughput import Trial, head_of_row
from ixyfwd.config.placement import place
from ixyfwd.config.schema import Idle
from ixyfwd.errors import IxyfwdError
from ixyfwd.model.client import ModelClient
from ixyfwd.model.turn import idle_latency
from ixyfwd.model.wires.generator import GeneratorWire
from ixyfwd.supervisor.observer import Silent
from ixyfwd.supervisor.places import runtime_dir
from ixyfwd.telemetry.snapshot import Snapshot
from ixyfwd.traffic.schedule import IMIX

WARM_UP_S: Final = 1.0  # a tick of the supervisor
MODEL_ALONE_S: Final = 1.0
MACHINE_ALONE_S: Final = 5.0  # at most: pauses of milliseconds come a few times a second


@dataclass(frozen=True)
class LatencyPlan:
    """The plan of a measurement of latency.

    `rates_pps`: frames per second, both directions summed, each with its share of PDR
    or None. `duration_s`: of a run.
    """

    trial: Trial
    rates_pps: Sequence[tuple[float, float | None]]
    idle: Idle
    collect_garbage: Sequence[bool]
    duration_s: float
    runs: int
    near: bool = False  # see `throughput.TrialPlan`


class _Warm(Silent):
    """An observer that ends the warm-up: at the first tick the sinks discard their measurements."""

    def __init__(self, instance: str) -> None:
        self._socket = str(runtime_dir(instance) / "model.sock")
        self.warm = False

    def tick(self, status: Snapshot) -> None:
        """End the warm-up at the first tick."""
        if not self.warm:
            with closing(ModelClient(self._socket)) as client:
                client.restart_latency()
            self.warm = True


def measure(
    plan: LatencyPlan, instance: str, progress: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Histogram]]:
    """Measure a plan; returns the result, and a histogram for each row by its name in a plot."""
    cases = [(rate, share, gc) for rate, share in plan.rates_pps for gc in plan.collect_garbage]
    found: dict[tuple[float, float | None, bool], list[dict[str, Any]]] = {case: [] for case in cases}
    problems: list[str] = []
    machine: dict[str, float] = {}
    patience = Patience(NEAR_PATIENCE_S if plan.near else 0.0)
    try:
        progress("the machine alone")
        machine = machine_alone_us(_cpus(plan, instance), min(MACHINE_ALONE_S, plan.duration_s))
        for number in range(1, plan.runs + 1):
            for case in cases:
                rate, _, gc = case
                progress(f"run {number}/{plan.runs}: {rate / 1e6:g} Mpps, idle {plan.idle}, gc {_on(gc)}")
                load = Load(plan.trial, rate / DIRECTIONS, plan.idle, gc)
                seconds = WARM_UP_S + plan.duration_s
                try:
                    found[case].append(run_load(load, seconds, instance, _Warm(instance), patience))
                except Interrupted:
                    raise
                except IxyfwdError as error:
                    problems.append(f"run {number}: {error}")
    except Interrupted as stop:
        problems.append(f"the measurement was stopped: {stop}")
    except KeyboardInterrupt as error:  # before a run took signals over
        problems.append(f"the measurement was stopped: {str(error) or 'SIGINT'} received")
    rows, histograms = [], {}
    for case, reports in found.items():
        rate, _, gc = case
        for group in by_distance(reports):
            row = _row(plan, case, group)
            apart = f", {row['core_distance']}" if row["core_distance"] else ""
            histograms[f"{rate / 1e6:g} Mpps, gc {_on(gc)}{apart}"] = _merged(group)
            alone = {"model_alone_us": model_alone(plan.trial, rate).summary_us(), "machine_alone_us": machine}
            rows.append({**row, **alone})
    return result("latency", rows, problems, duration_s=plan.duration_s), histograms


def _cpus(plan: LatencyPlan, instance: str) -> set[int]:
    """The CPUs that a run polls on."""
    placement = place(Load(plan.trial, plan.rates_pps[0][0], plan.idle).config(instance), os.sched_getaffinity(0))
    return {cpu for cpu in (*placement.workers, placement.model) if cpu is not None}


def _on(collects: bool) -> str:
    return "on" if collects else "off"


def model_alone(trial: Trial, rate_pps: float) -> Histogram:
    """The model's own share of the latencies at `rate_pps`, frames per second in both directions summed."""
    sizes = ((trial.frame, 1),) if isinstance(trial.frame, int) else IMIX
    wire = GeneratorWire(flows=trial.flows, frames=sizes, rate=rate_pps / DIRECTIONS)
    alone = Histogram()
    for stats in idle_latency(wire, duration_s=MODEL_ALONE_S, ring=trial.ring, batch=trial.batch):
        alone.add(of_sink(stats["sink"]))
    return alone


def _sinks(report: dict[str, Any]) -> dict[str, Histogram]:
    """By direction: a sink at a port sees what came in at the other."""
    names = [port["name"] for port in report["ports"]]
    return {
        f"{other}-{port['name']}": of_sink(port["wire"]["sink"])
        for port, other in zip(report["ports"], reversed(names), strict=True)
    }


def _merged(reports: Sequence[dict[str, Any]]) -> Histogram:
    together = Histogram()
    for report in reports:
        for histogram in _sinks(report).values():
            together.add(histogram)
    return together


def _spreads(histograms: Sequence[Histogram]) -> dict[str, dict[str, float]]:
    summaries = [histogram.summary_us() for histogram in histograms]
    return {key: spread([summary[key] for summary in summaries]) for key in summaries[0]}


def _row(plan: LatencyPlan, case: tuple[float, float | None, bool], reports: list[dict[str, Any]]) -> Row:
    rate, share, gc = case
    directions = {name: [_sinks(report)[name] for report in reports] for name in _sinks(reports[0])}
    sinks = [report["sink"] for report in reports]
    return {
        **head_of_row(plan.trial, reports[0]["device"]),
        "idle": plan.idle,
        "gc": _on(gc),
        "rate_pps": rate,
        "pdr_share": share,
        "runs": len(reports),
        **core_columns(reports),
        "mpps": spread([report["rate_mpps"] for report in reports]),
        "ns_per_packet": spread(worker_costs(reports)),
        "latency_us": _spreads([_merged([report]) for report in reports]),
        "directions": {name: _spreads(histograms) for name, histograms in directions.items()},
        "frames": _merged(reports).count,
        "sampled_every": max(p["wire"]["sink"]["latency_ns"]["sampled_every"] for r in reports for p in r["ports"]),
        "lost": sum(sink["lost"] for sink in sinks),
        "shortfall_share": round(
            sum(sink["shortfall"] for sink in sinks) / max(1, sum(sink["sent"] + sink["shortfall"] for sink in sinks)),
            6,
        ),
    }
