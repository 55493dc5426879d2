"""The distance of two CPUs: how long a cache line takes from one to the other and back.

Descriptors and doorbells travel that way between a worker and the model, and between a worker and a card's DMA through
the last-level cache. In a virtual machine the host decides where virtual CPUs run, so that the distance changes while
the machine is up: 75-130 ns where both share a last-level cache, 380-430 ns where they do not.
"""

import os
import threading
from statistics import quantiles
from typing import Final, Literal

from ixyfwd.probe._probe import ffi, lib

BATCHES: Final = 64
TRIPS: Final = 100  # per batch: short enough that most batches see no pause of the machine
TIMEOUT_NS: Final = 1_000_000_000  # for one end to hear of the other
NEAR_BELOW_NS: Final = 200.0  # the geometric mean of the two kinds of distance that were measured

Distance = Literal["near", "far"]


def round_trip_ns(cpu: int, other: int) -> float | None:
    """The round trip of a cache line between two CPUs, in ns.

    It is the lower quartile of short batches, since the scheduler can only make a batch
    longer. None where it cannot be measured: both are the same CPU, this process may
    not run on them, or one did not answer within a second.
    """
    if cpu == other or not {cpu, other} <= os.sched_getaffinity(0):
        return None
    line = ffi.new("struct line *")
    took_ns = ffi.new("uint64_t[]", BATCHES)
    done: list[int] = []

    def second() -> None:
        os.sched_setaffinity(0, {other})  # of this thread
        done.append(lib.line_second(line, BATCHES, TRIPS, TIMEOUT_NS))

    def first() -> None:
        os.sched_setaffinity(0, {cpu})
        done.append(lib.line_first(line, took_ns, BATCHES, TRIPS, TIMEOUT_NS))

    threads = [threading.Thread(target=end, name="line", daemon=True) for end in (second, first)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return quantiles(took_ns, n=4)[0] / TRIPS if done == [1, 1] else None


def distance_of(ns: float) -> Distance:
    """The kind of distance that a round trip of `ns` nanoseconds means."""
    return "near" if ns < NEAR_BELOW_NS else "far"
