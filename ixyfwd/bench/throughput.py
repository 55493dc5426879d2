"""Forwarding rate on the model: both directions summed, the wires as fast as the ports take frames.

A wire at rate "max" offers a frame only when the ring has room, so nothing is dropped and the rate is the
forwarder's (or the model's, where that is the slower of the two). Every run's account is checked: a figure from a
run that lost or damaged a frame is not printed.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ixyfwd.bench.cores import NEAR_PATIENCE_S, Patience, by_distance, core_columns, run_measured, was_interrupted
from ixyfwd.bench.cost import has_loop
from ixyfwd.bench.environment import tsc_mhz
from ixyfwd.bench.result import Row, result, spread
from ixyfwd.config.default import default_config
from ixyfwd.config.schema import Config, EngineName, Loop
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.memory.layout import frame_buffers
from ixyfwd.model.wires.generator import GeneratorWire
from ixyfwd.programs.registry import programs
from ixyfwd.supervisor.observer import Silent
from ixyfwd.traffic.schedule import IMIX

DAMAGE = ("lost", "reordered", "duplicated", "corrupted")


@dataclass(frozen=True)
class Trial:
    """A trial: the forwarder and the traffic that one row measures.

    `batch`: frames per burst. `ring`: descriptors. `frame`: bytes with CRC, or "imix";
    frames of several buffers go through as segments.
    """

    engine: EngineName
    loop: Loop
    program: str
    batch: int
    ring: int
    frame: int | str
    flows: int
    workers: int

    def __str__(self) -> str:
        size = f"{self.frame} bytes" if isinstance(self.frame, int) else self.frame
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self.engine} ({self.loop}), {self.program}, batch {self.batch}, ring {self.ring}, {size}, {workers}"


@dataclass(frozen=True)
class TrialPlan:
    """The plan of a measurement: every combination, `runs` times, the runs of all trials interleaved.

    `near`: wait for CPUs that are near each other, and repeat runs during which they
    moved apart.
    """

    engines: Sequence[EngineName]
    loops: Sequence[Loop]
    programs: Sequence[str]
    batches: Sequence[int]
    rings: Sequence[int]
    frames: Sequence[int | str]
    flows: int
    workers: Sequence[int]
    duration_s: float
    runs: int
    near: bool = False

    def trials(self) -> list[Trial]:
        """The combinations that exist. Raises UsageError if a batch fits none of the rings or cannot hold a frame."""
        for batch in self.batches:
            if all(batch > ring // 2 for ring in self.rings):
                raise UsageError(
                    f"batch {batch} does not fit a ring of {max(self.rings)}: at most half of it; use --ring"
                )
            for size in map(largest, self.frames):
                if batch < frame_buffers(size):
                    raise UsageError(
                        f"batch {batch} cannot hold a frame of {size} bytes, which fills {frame_buffers(size)} "
                        "buffers; use --batch"
                    )
        return [
            Trial(engine, loop, program, batch, ring, frame, self.flows, workers)
            for engine in self.engines
            for loop, program, frame, workers, ring, batch in product(
                self.loops, self.programs, self.frames, self.workers, self.rings, self.batches
            )
            if has_loop(engine, program, loop)
            and batch <= ring // 2
            and (frame_buffers(largest(frame)) == 1 or _takes_segments(engine, loop))
        ]


def _takes_segments(engine: EngineName, loop: Loop) -> bool:
    return engine != "naive" and loop == "python"


def largest(frame: int | str) -> int:
    """The longest frame of a size or a mix, in bytes."""
    return frame if isinstance(frame, int) else max(size for size, _ in IMIX)


def wire_for(trial: Trial) -> GeneratorWire:
    """The wire at the far end of both ports."""
    sizes = ((trial.frame, 1),) if isinstance(trial.frame, int) else IMIX
    return GeneratorWire(flows=trial.flows, frames=sizes, rate="max")


def config_for(trial: Trial, instance: str) -> Config:
    """The configuration of a trial: two linked simulated ports with a generator each."""
    wire = wire_for(trial)
    base = default_config(sorted(os.sched_getaffinity(0))).named(instance)
    return replace(
        base,
        ports=tuple(replace(port, wire=wire) for port in base.ports),
        cpu=replace(base.cpu, workers=trial.workers),
        forward=replace(
            base.forward,
            engine=trial.engine,
            programs=(programs()[trial.program](),),
            loop=trial.loop,
            batch=trial.batch,
            ring_size=trial.ring,
            max_frame=max(largest(trial.frame), base.forward.max_frame),
        ),
    )


def measure(trial: Trial, duration_s: float, instance: str, patience: Patience | None = None) -> dict[str, Any]:
    """Run a trial once; returns its report. Raises IxyfwdError if its account does not close or a frame was damaged."""
    report = run_measured(
        config_for(trial, instance), duration_s=duration_s, until_done=False, observer=Silent(), patience=patience
    )
    sink = report["sink"] or {}
    if report["error"]:
        raise IxyfwdError(f"{trial}: {report['error']}")
    damage = [key for key in DAMAGE if sink.get(key)]
    if damage:
        raise IxyfwdError(f"{trial}: the sinks report {', '.join(f'{key} {sink[key]}' for key in damage)}")
    if not report["rx_packets"] and not was_interrupted(report):
        raise IxyfwdError(f"{trial}: no frame came in {duration_s:g} s; use a longer --duration")
    check_account(report, trial)
    return report


def check_account(report: dict[str, Any], trial: Trial) -> None:
    """Check a final report: rx = tx + drops + in flight, and no worker died. Raises IxyfwdError if not."""
    if report["incomplete"]:
        raise IxyfwdError(f"{trial}: the account is incomplete: {report['incomplete']}")
    if deaths := [worker["last_death"] for worker in report["workers"] if worker["last_death"]]:
        raise IxyfwdError(f"{trial}: {deaths[0]}, so it is no measurement")
    left = report["rx_packets"] - report["tx_packets"] - sum(report["drops"].values()) - report["in_flight"]
    if left:
        raise IxyfwdError(f"{trial}: {left} frames are missing from the account")


def run_plan(
    command: str,
    plan: TrialPlan,
    instance: str,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Measure a plan; returns the result. Runs are interleaved, so that drift affects all rows alike.

    A run that fails is a problem of its row, which then consists of the others. A
    signal ends the measurement (`interrupted`) with the runs before it. A trial has a
    row for each distance of its CPUs.
    """
    trials = plan.trials()
    patience = Patience(NEAR_PATIENCE_S if plan.near else 0.0)
    reports: dict[Trial, list[dict[str, Any]]] = {trial: [] for trial in trials}
    problems: list[str] = []
    interrupted = False
    for number, trial in product(range(1, plan.runs + 1), trials):
        try:
            progress(f"run {number}/{plan.runs}: {trial}")
            report = measure(trial, plan.duration_s, instance, patience)
        except IxyfwdError as error:
            problems.append(f"run {number}: {error}")
            continue
        except KeyboardInterrupt as error:  # before the run took signals over, or after it gave them back
            report = {"reason": f"{str(error) or 'SIGINT'} received"}
        if was_interrupted(report):
            problems.append(f"run {number}: {trial}: {report['reason']}")
            interrupted = True
            break
        reports[trial].append(report)
    rows = [row_of(trial, group) for trial, found in reports.items() for group in by_distance(found)]
    return result(command, rows, problems, duration_s=plan.duration_s, interrupted=interrupted)


def head_of_row(trial: Trial, device: str) -> dict[str, Any]:
    """The keys that identify the row of a trial."""
    return {
        "engine": trial.engine,
        "loop": trial.loop,
        "program": trial.program,
        "batch": trial.batch,
        "ring": trial.ring,
        "frame_bytes": trial.frame,
        "flows": trial.flows,
        "workers": trial.workers,
        "device": device,
    }


def row_of(trial: Trial, reports: Sequence[dict[str, Any]]) -> Row:
    """The row of a trial's runs."""
    workers = [worker for report in reports for worker in report["workers"] if worker["rx_packets"]]
    costs = [worker["busy_ns_per_packet"] for worker in workers]
    mhz = tsc_mhz()
    return {
        **head_of_row(trial, reports[0]["device"]),
        "runs": len(reports),
        **core_columns(reports),
        "mpps": spread([report["rate_mpps"] for report in reports]),
        "ns_per_packet": spread(costs),
        "busy_cycles_per_packet": spread([cost * mhz / 1000 for cost in costs], 1) if mhz else None,
        "packets_per_burst": spread([worker["packets_per_burst"] for worker in workers]),
        "empty_poll_share": spread([worker["empty_poll_share"] for worker in workers]),
        "rss_imbalance": spread([imbalance([w["rx_packets"] for w in report["workers"]]) for report in reports]),
        "worker_rss_mib": spread([worker["rss_mib"] or 0.0 for worker in workers]),
    }


def imbalance(received: Sequence[int]) -> float:
    """The frames of the busiest worker over the mean: 1 when RSS spreads the flows evenly."""
    return max(received) * len(received) / sum(received) if sum(received) else 1.0
