"""The steps from the workers that run to the workers that are wanted: a pure function.

A run is changed in one way: the difference between what is and what should be gives
steps, an executor takes them (`supervisor/recovery.py`), and when what is has changed,
the difference is made again until there is none.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """How far a worker is."""

    READY = "ready"
    """Its process polls its rings."""

    DEAD = "dead"
    """Its process has ended; the device still knows its rings."""

    LEAVING = "leaving"
    """Its receive queues drop and count; the device sends the frames that it has queued."""

    EMPTY = "empty"
    """Its rings are rebuilt and its buffers are free; it has no process."""

    STARTING = "starting"
    """Its process has begun and has not filled its rings yet."""


@dataclass(frozen=True)
class Steer:
    """Write the redirection tables of all ports: hashed frames go to these queues only."""

    queues: frozenset[int]


@dataclass(frozen=True)
class Silence:
    """Empty the receive rings of a worker whose process has ended; it is LEAVING then."""

    worker: int


@dataclass(frozen=True)
class Rebuild:
    """Count what was lost with the process, and rebuild the rest of its memory; the worker is EMPTY then."""

    worker: int


@dataclass(frozen=True)
class Start:
    """Start a process on the rebuilt rings; the worker is STARTING then."""

    worker: int


Step = Steer | Silence | Rebuild | Start


@dataclass(frozen=True)
class RunningWorkers:
    """What is: the stage of each worker, by index, and the queues that the redirection tables name."""

    stages: Sequence[Stage]
    owners: frozenset[int]


def difference(running: RunningWorkers, wanted: Collection[int]) -> tuple[Step, ...]:
    """The steps that can be taken now towards the `wanted` workers, in their order.

    Redirection entries leave a worker before its queues are disabled, and come back
    when its process polls. While no worker polls they stay where they are: a queue
    without a process drops and counts. Dead workers are cleared away, wanted or not.
    """
    polling = frozenset(index for index, stage in enumerate(running.stages) if stage is Stage.READY and index in wanted)
    steps: list[Step] = [Steer(polling)] if polling and polling != running.owners else []
    for index, stage in enumerate(running.stages):
        match stage:
            case Stage.DEAD:
                steps.append(Silence(index))
            case Stage.LEAVING:
                steps.append(Rebuild(index))
            case Stage.EMPTY if index in wanted:
                steps.append(Start(index))
    return tuple(steps)
