"""What a role is to a worker: `begin(order, workplace)` in `roles/NAME/worker.py`."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from ixyfwd.engine.contract import Engine
from ixyfwd.roles.contract import RoleOrder

SHARED_CPU_ROUNDS: Final = 8  # a ring's worth of batches; then it is another worker's turn

Burst = Callable[[], int]


@dataclass(frozen=True)
class Step:
    """One direction of a link as three callables; `rx` says how many frames the others will find in the batch.

    A worker that makes frames has a source in the place of the rx burst, one that takes them a recorder in the place of
    the tx burst.
    """

    rx: Burst
    program: Callable[[], object] | None
    tx: Burst


@dataclass(frozen=True)
class Fused:
    """All directions of all links in one callable, see `engine.contract.FusingEngine`; `once` does one round."""

    forward: Callable[[], int]
    once: Callable[[], int]


Work = Sequence[Step] | Fused


@dataclass(frozen=True)
class Workplace:
    """What a role works with: an open engine, bursts of up to `batch` frames, a worker's counters page.

    `page`: the counters page, uint64[words]. `shared_cpu`: other busy processes run there. `pause_ns`: gaps between two
    looks at the rings that are longer may be pauses. `stack` is unwound when the loop has ended, before the engine
    closes.
    """

    engine: Engine
    batch: int
    page: memoryview
    shared_cpu: bool
    pause_ns: int
    stack: ExitStack


def begin(order: RoleOrder[Any], workplace: Workplace) -> Work:
    """The poll loop's work for an order. Imports only the worker module of its role.

    Raises UsageError for an engine that cannot do it.
    """
    package = __name__.rpartition(".")[0]
    work: Work = import_module(f"{package}.{order.role}.worker").begin(order, workplace)
    return work
