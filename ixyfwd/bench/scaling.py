"""What a worker costs when there are more of them.

With a core for each worker the rates add up and `mpps` shows it. With fewer cores the workers take turns, so that rates
say nothing: then the figure is `ns_per_packet`, a worker's own CPU time in rounds that found frames, which another
worker's turn does not count into. `efficiency` is that cost with the fewest workers over the cost here.

`by_hand_ns_per_packet` leaves the model out: every worker's engine is turned by hand in one thread, one after the
other, each for as long as a worker of the real thing keeps the CPU at least. It shows what more rings, buffers and
free stacks cost by themselves, which is all that workers on cores of their own have in common.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from ixyfwd.bench.result import Row, spread
from ixyfwd.bench.throughput import Plan, run_plan
from ixyfwd.bench.turn import Turntable, turning
from ixyfwd.errors import IxyfwdError

SAME = ("engine", "loop", "program", "batch", "ring", "frame_bytes", "core_distance")
HAND_ROUNDS = 10
HAND_TURNS = 40  # of a ring each before it is the next worker's turn: some 100 us


def measure(plan: Plan, instance: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """A row per number of workers. Raises UsageError for a batch that does not fit the ring."""
    found = run_plan("scaling", plan, instance, progress)
    try:
        for row in [] if found["interrupted"] else found["rows"]:
            progress(f"by hand: {row['workers']} workers, one after the other")
            row["by_hand_ns_per_packet"] = by_hand(row["workers"], row)
    except IxyfwdError as error:
        found["problems"].append(f"by hand: {error}")
    except KeyboardInterrupt:
        found["interrupted"] = True
        found["problems"].append("by hand: interrupted")
    _compare(found["rows"])
    cores = len(os.sched_getaffinity(0))
    found["cores"] = cores
    if max(plan.workers) > cores - 1:
        found["note"] = (
            f"{cores} CPUs, one of them for the model: more than {max(1, cores - 1)} workers take turns, so "
            "ns_per_packet (CPU time of a worker's own) is the figure, not mpps"
        )
    return found


def _compare(rows: Sequence[Row]) -> None:
    """Put efficiencies into the rows: each against the fewest workers with the same engine, loop, program and sizes."""
    for row in rows:
        alike = [other for other in rows if all(other[key] == row[key] for key in SAME)]
        first = min(alike, key=lambda other: int(other["workers"]))
        for cost, name in (("ns_per_packet", "efficiency"), ("by_hand_ns_per_packet", "by_hand_efficiency")):
            if cost in first and cost in row:
                row[name] = round(first[cost]["median"] / row[cost]["median"], 3)


def by_hand(workers: int, row: Row) -> dict[str, float]:
    """ns per packet of each round over all workers' engines."""
    with ExitStack() as stack:
        tables = [
            stack.enter_context(
                turning(
                    row["engine"], row["batch"], ring=row["ring"], touch=row["program"] == "touch", loop=row["loop"]
                )
            )
            for _ in range(workers)
        ]
        for table in tables:
            table.warm_up()
        return spread([median(_turns(table) for table in tables) for _ in range(HAND_ROUNDS)])


def _turns(table: Turntable) -> float:
    return median(table.turn() for _ in range(HAND_TURNS)) / table.frames
