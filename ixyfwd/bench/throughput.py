"""Forwarding rate over batch size: 64-byte frames, both directions summed, the wires as fast as the ports take them.

A wire at rate "max" offers a frame only when the ring has room, so nothing is dropped and the rate is the
forwarder's (or the model's, where that is the slower of the two). Every run's account is checked: a figure from a
run that lost or damaged a frame is not printed.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from ixyfwd.bench.environment import environment
from ixyfwd.config.default import default_config
from ixyfwd.config.schema import Config, EngineName, ProgramName
from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.layout import frame_buffers
from ixyfwd.model.spec import GeneratorWire
from ixyfwd.supervisor.observer import Silent
from ixyfwd.supervisor.run import run_forwarder

SCHEMA = "ixyfwd-bench-1"


@dataclass(frozen=True)
class Trial:
    """One row of the table."""

    engine: EngineName
    program: ProgramName
    batch: int
    ring: int
    frame_bytes: int
    workers: int


@dataclass(frozen=True)
class Plan:
    """What to measure: every combination, `runs` times, the runs of all trials interleaved."""

    engines: Sequence[EngineName]
    programs: Sequence[ProgramName]
    batches: Sequence[int]
    ring: int
    frame_bytes: int
    workers: int
    duration_s: float
    runs: int

    def trials(self) -> list[Trial]:
        """Every combination. Raises IxyfwdError if a batch does not fit the ring or a frame not the batch."""
        for batch in self.batches:
            if batch > self.ring // 2:
                raise IxyfwdError(f"batch {batch} does not fit a ring of {self.ring}: at most half of it; use --ring")
            if batch < frame_buffers(self.frame_bytes):
                raise IxyfwdError(
                    f"batch {batch} cannot hold a frame of {self.frame_bytes} bytes, which fills "
                    f"{frame_buffers(self.frame_bytes)} buffers; use --batch"
                )
        return [
            Trial(engine, program, batch, self.ring, self.frame_bytes, self.workers)
            for engine, program, batch in itertools.product(self.engines, self.programs, self.batches)
        ]


def config_for(trial: Trial, instance: str) -> Config:
    """Two simulated ports with a generator each, linked."""
    wire = GeneratorWire(frames=((trial.frame_bytes, 1),), rate="max")
    base = default_config(sorted(os.sched_getaffinity(0))).named(instance)
    return replace(
        base,
        ports=tuple(replace(port, wire=wire) for port in base.ports),
        cpu=replace(base.cpu, workers=trial.workers),
        forward=replace(
            base.forward,
            engine=trial.engine,
            program=trial.program,
            batch=trial.batch,
            ring_size=trial.ring,
            max_frame=max(trial.frame_bytes, base.forward.max_frame),
        ),
    )


def measure(trial: Trial, duration_s: float, instance: str) -> dict[str, Any]:
    """One run's report. Raises IxyfwdError if its account does not close or a frame was damaged."""
    report = run_forwarder(config_for(trial, instance), duration_s=duration_s, until_done=False, observer=Silent())
    sink = report["sink"] or {}
    if report["error"]:
        raise IxyfwdError(f"{trial}: {report['error']}")
    damage = [key for key in ("lost", "reordered", "duplicated", "corrupted") if sink.get(key)]
    if damage:
        raise IxyfwdError(f"{trial}: the sink reports {', '.join(f'{key}: {sink[key]}' for key in damage)}")
    return report


def run_plan(plan: Plan, instance: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything; returns schema, environment and rows. Interleaved, so that drift hits all rows alike."""
    trials = plan.trials()
    reports: dict[Trial, list[dict[str, Any]]] = {trial: [] for trial in trials}
    for number, trial in _rounds(trials, plan.runs):
        progress(f"run {number}/{plan.runs}: {trial.engine} {trial.program} batch {trial.batch}")
        reports[trial].append(measure(trial, plan.duration_s, instance))
    rows = [_row(trial, found) for trial, found in reports.items()]
    return {"schema": SCHEMA, "command": "throughput", "environment": environment(), "rows": rows}


def _rounds(trials: Sequence[Trial], runs: int) -> Iterator[tuple[int, Trial]]:
    for number in range(1, runs + 1):
        for trial in trials:
            yield number, trial


def _row(trial: Trial, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    workers = [worker for report in reports for worker in report["workers"] if worker["rx_packets"]]
    return {
        "engine": trial.engine,
        "program": trial.program,
        "batch": trial.batch,
        "ring": trial.ring,
        "frame_bytes": trial.frame_bytes,
        "workers": trial.workers,
        "device": reports[0]["device"],
        "runs": len(reports),
        "mpps": _spread([report["rate_mpps"] for report in reports]),
        "ns_per_packet": _spread([worker["busy_ns_per_packet"] for worker in workers]),
        "packets_per_burst": _spread([worker["packets_per_burst"] for worker in workers]),
        "empty_poll_share": _spread([worker["empty_poll_share"] for worker in workers]),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(values), 3), "min": min(values), "max": max(values)}
