"""The cost of a worker as their number grows.

With a core for each worker the rates add up, and `mpps` shows it. With fewer cores the
workers take turns, so that rates mean little: then the figure is `ns_per_packet`, a
worker's own CPU time in rounds that found frames, without the time of other workers.
`efficiency` is that cost with the fewest workers over the cost here.

By hand, without model and processes, the rings and buffers of all workers are turned in
one thread, one worker after the other. `by_hand_ns_per_packet` lets each do as much as
a worker on a shared CPU does before it gives way (`worker.loop`: SHARED_CPU_ROUNDS
bursts of each direction, about a ring), so that it finds the caches as all others left
them. `by_hand_warm_ns_per_packet` is the median of many turns in a row: caches hold
this worker's memory alone, as on a core of its own.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, Final

from ixyfwd.bench.result import Row, result, spread
from ixyfwd.bench.throughput import Trial, TrialPlan, head_of_row, run_plan
from ixyfwd.bench.turntable import Turntable, open_turntable
from ixyfwd.errors import IxyfwdError
from ixyfwd.roles.work import SHARED_CPU_ROUNDS

SAME = ("engine", "loop", "program", "batch", "ring", "frame_bytes", "core_distance")
HAND_ROUNDS: Final = 10  # of by-hand figures beside those of processes
HAND_PASSES: Final = 20  # over all workers, in a round
HAND_WARM_TURNS: Final = 40  # of each worker in a row, in a round
COSTS: Final = {
    "ns_per_packet": "efficiency",
    "by_hand_ns_per_packet": "by_hand_efficiency",
    "by_hand_warm_ns_per_packet": "by_hand_warm_efficiency",
}

HandWorker = tuple[Turntable, Turntable]  # one a direction; together they have a worker's rings and buffers


def measure(plan: TrialPlan, instance: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure a plan; the result has a row per number of workers. Raises UsageError for a batch that fits no ring."""
    found = run_plan("scaling", plan, instance, progress)
    _add_by_hand([] if found["interrupted"] else found["rows"], HAND_ROUNDS, found, progress)
    _compare(found["rows"])
    cores = len(os.sched_getaffinity(0))
    found["cores"] = cores
    if max(plan.workers) > cores - 1:
        found["note"] = (
            f"{cores} CPUs, one of them for the model: more than {max(1, cores - 1)} workers take turns, so "
            "ns_per_packet (a worker's own CPU time) is the figure, not mpps"
        )
    return found


def measure_by_hand(plan: TrialPlan, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure a plan by hand; the result has a row per number of workers, with its by-hand keys only.

    No process is started; the plan's wires and duration are not used.
    """
    rows = [_hand_row(trial) for trial in plan.trials()]
    found = result("scaling", rows, interrupted=False, cores=len(os.sched_getaffinity(0)))
    _add_by_hand(rows, plan.runs, found, progress)
    found["rows"] = [row for row in rows if "by_hand_ns_per_packet" in row]
    _compare(found["rows"])
    return found


def _hand_row(trial: Trial) -> Row:
    head = head_of_row(trial, "model")
    del head["flows"]  # each worker's ring is filled: there are no flows
    return {**head, "device_note": "by hand"}


def _add_by_hand(rows: Sequence[Row], rounds: int, found: dict[str, Any], progress: Callable[[str], None]) -> None:
    """Add both by-hand figures to the rows; rounds are interleaved."""
    rounds_of = [list[tuple[float, float]]() for _ in rows]
    try:
        for number in range(1, rounds + 1):
            for row, costs in zip(rows, rounds_of, strict=True):
                what = f"{row['engine']} ({row['loop']}), {row['program']}, batch {row['batch']}, ring {row['ring']}"
                progress(f"by hand, round {number}/{rounds}: {what}, {row['workers']} workers")
                try:
                    costs.append(by_hand(row["workers"], row))
                except IxyfwdError as error:
                    found["problems"].append(f"by hand, round {number}: {what}: {error}")
    except KeyboardInterrupt:
        found["interrupted"] = True
        found["problems"].append("by hand: interrupted")
    for row, costs in zip(rows, rounds_of, strict=True):
        if costs:
            row.setdefault("runs", len(costs))
            row["by_hand_ns_per_packet"] = spread([turned for turned, _ in costs])
            row["by_hand_warm_ns_per_packet"] = spread([warm for _, warm in costs])


def _compare(rows: Sequence[Row]) -> None:
    """Add efficiencies to the rows: each against the fewest workers with the same engine, loop, program and sizes."""
    for row in rows:
        alike = [other for other in rows if all(other.get(key) == row.get(key) for key in SAME)]
        first = min(alike, key=lambda other: int(other["workers"]))
        for cost, name in COSTS.items():
            if cost in first and cost in row:
                row[name] = round(first[cost]["median"] / row[cost]["median"], 3)


def by_hand(workers: int, row: Row) -> tuple[float, float]:
    """The cost by hand, in ns per packet, over all workers' engines: with a turn each, and with many in a row."""
    with _hand_workers(workers, row) as tables:
        turned = median(_pass(tables) for _ in range(HAND_PASSES))
        return turned, median(_warm(worker) for worker in tables)


@contextmanager
def _hand_workers(workers: int, row: Row) -> Iterator[list[HandWorker]]:
    with ExitStack() as stack:

        def table() -> Turntable:
            turned = stack.enter_context(
                open_turntable(
                    row["engine"],
                    row["batch"],
                    ring=row["ring"],
                    program=row["program"],
                    loop=row["loop"],
                    bursts=SHARED_CPU_ROUNDS,
                )
            )
            turned.warm_up()
            return turned

        yield [(table(), table()) for _ in range(workers)]


def _pass(tables: Sequence[HandWorker]) -> float:
    """The cost, in ns per packet, of a turn of each worker."""
    ns = frames = 0
    for worker in tables:
        for table in worker:
            ns += table.turn()
            frames += table.frames
    return ns / frames


def _warm(worker: HandWorker) -> float:
    return median(_pass([worker]) for _ in range(HAND_WARM_TURNS))
