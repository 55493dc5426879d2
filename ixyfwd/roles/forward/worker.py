"""A worker that forwards: the loop in C where it is asked for and there is one for its links, else a step for each."""

from typing import Final

from ixyfwd.engine.contract import FusingEngine
from ixyfwd.roles.forward.order import Order
from ixyfwd.roles.forward.steps import program_step
from ixyfwd.roles.work import SHARED_CPU_ROUNDS, Fused, Work, Workplace

FUSED_FRAMES: Final = 1 << 16  # in one call at most: a few hundred microseconds
FUSED_BURSTS: Final = 4096


def begin(order: Order, workplace: Workplace) -> Work:
    """The forwarding loop, fused or in steps. See `roles.work.begin`.

    Raises UsageError for a program that the engine cannot run.
    """
    fused = _fuse(order, workplace)
    if fused is not None:
        return fused
    return [program_step(order.programs, workplace.engine, workplace.batch, link) for link in order.links]


def _fuse(order: Order, workplace: Workplace) -> Fused | None:
    engine, batch = workplace.engine, workplace.batch
    if not (order.fused and isinstance(engine, FusingEngine) and engine.fuses(order.links)):
        return None
    limit = SHARED_CPU_ROUNDS * len(order.links) if workplace.shared_cpu else fused_bursts(batch)
    forward, once = (
        engine.bind_forward(
            order.links,
            batch,
            order.frame_op,
            n,
            shared_cpu=workplace.shared_cpu,
            pause_ns=workplace.pause_ns,
        )
        for n in (limit, 1)
    )
    return Fused(forward, once)


def fused_bursts(batch: int) -> int:
    """The limit of one call of `Fused.forward`."""
    return max(1, min(FUSED_BURSTS, FUSED_FRAMES // batch))
