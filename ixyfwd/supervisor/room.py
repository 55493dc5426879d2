"""Whether this process's limits leave room for a run, before anything of it begins."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from ixyfwd.config.demand import Demand, counted, demand_of, refuse_demand
from ixyfwd.config.schema import Config
from ixyfwd.errors import UsageError
from ixyfwd.kit.cgroups import cpu_quota
from ixyfwd.kit.limits import allow_open_files, open_files, processes_left
from ixyfwd.kit.tree import Tree, UnreadableError
from ixyfwd.plan.plan import Plan

_HERE: Final = Tree()


def demand_of_plan(plan: Plan) -> Demand:
    """The demand of a plan."""
    return demand_of(
        ports=len(plan.ports),
        workers=[worker.cpu for worker in plan.workers],
        model=plan.model is not None,
        model_cpu=None if plan.model is None else plan.model.cpu,
        interrupts=plan.interrupt_interval_us is not None,
        writer=plan.loop.order.threaded,
    )


def check_room(config: Config, plan: Plan, tree: Tree = _HERE) -> list[str]:
    """Sentences on what the run has to do with. Raises ConfigErrors for what it cannot do without.

    What cannot be read limits nothing: the run finds out.
    """
    demand = demand_of_plan(plan)
    refuse_demand(config, len(plan.workers), limits_that_bind(tree, demand))
    allow_open_files(demand.files)
    return list(quota_notice(tree, demand))


def limits_that_bind(tree: Tree, demand: Demand) -> Iterator[str]:
    """What is needed, what is allowed, and what to do, as the end of a sentence."""
    with suppress(UnreadableError):
        soft, hard = open_files(tree)
        if max(soft, hard) < demand.files:
            yield (
                f"{demand.files} open files where {hard:.0f} are allowed, expected fewer, or a higher limit (`ulimit "
                f"-n {demand.files}` as root before ixyfwd, LimitNOFILE= in a unit, --ulimit nofile= of a container)"
            )
    with suppress(UnreadableError):
        left = processes_left(tree)
        if left is not None and left.left < demand.processes:
            yield (
                f"{demand.processes} more processes and threads where {left.most} are allowed and {left.used} are "
                f"there ({left.file}), expected fewer, or a higher limit"
            )


def quota_notice(tree: Tree, demand: Demand) -> Iterator[str]:
    """A sentence if the run may not have all the time of the CPUs that it polls on."""
    with suppress(UnreadableError):
        quota = cpu_quota(tree)
        if quota is not None and quota.cpus < demand.cpus:
            yield (
                f"the control group may use {quota.cpus:g} CPUs and the run polls on {demand.cpus}: the kernel stops "
                f"it for the rest of each period, and frames are lost meanwhile; as root: {quota.lift}"
            )


def check_model_room(ports: int, tree: Tree = _HERE) -> None:
    """Check that the limits of this process have room for a model alone. Raises UsageError if not."""
    demand = demand_of(ports=ports, workers=(), model=True, model_cpu=None, interrupts=True, writer=False)
    for text in limits_that_bind(tree, demand):
        raise UsageError(f"{counted(ports, 'port')} need {text}")
    allow_open_files(demand.files)
