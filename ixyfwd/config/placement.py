"""The CPU of each process: what the configuration says, and a rule of thumb for what it leaves open."""

from collections.abc import Collection
from dataclasses import dataclass

from ixyfwd.config.schema import MAX_WORKERS, Config


@dataclass(frozen=True)
class Placement:
    """CPU numbers. `main` None: the supervisor is not pinned (some CPU has nothing to poll, or there is no model).
    `model` None: there is no simulated port.

    `workers[i]` is the CPU of worker i. `shared`: some CPU has two of the processes that poll (workers, model), so
    that spinning would take time from the other.
    """

    main: int | None
    workers: tuple[int, ...]
    model: int | None
    shared: bool


def default_worker_count(cpus: Collection[int], *, simulated: bool) -> int:
    """The number of workers where none is configured: one per CPU, less one for the model if there is one."""
    return max(1, min(MAX_WORKERS, len(cpus) - (1 if simulated else 0)))


def place(config: Config, allowed_cpus: Collection[int]) -> Placement:
    """Place every process of `config` on the CPUs that this process may use (at least one).

    What the configuration names wins. The model gets the last CPU that no key names, the workers take turns over
    the others; the supervisor's CPU is used for polling only if there is no other. One CPU is shared by all.
    """
    cpu = config.cpu
    allowed = sorted(allowed_cpus)
    taken = set(cpu.workers) if isinstance(cpu.workers, tuple) else set()
    model: int | None = None
    if any(port.simulated for port in config.ports):
        model = cpu.model if cpu.model is not None else _left(allowed, taken, {cpu.main})[-1]
    workers = cpu.workers
    if not isinstance(workers, tuple):
        left = _left(allowed, {model}, {cpu.main})
        count = workers if workers is not None else min(MAX_WORKERS, len(left))
        workers = tuple(left[i % len(left)] for i in range(count))
    busy = [*workers, *([] if model is None else [model])]
    main = cpu.main
    if main is None and model is not None and set(allowed) <= set(busy):
        # A supervisor that interrupts a worker costs frames: a ring fills in 34 us. One that interrupts the model
        # costs none, for the wires stand still as well.
        main = model
    return Placement(main, workers, model, len(set(busy)) < len(busy))


def _left(allowed: list[int], taken: Collection[int | None], avoided: Collection[int | None]) -> list[int]:
    """What is neither taken nor avoided; failing that not taken; failing that everything."""
    free = [cpu for cpu in allowed if cpu not in taken]
    return [cpu for cpu in free if cpu not in avoided] or free or allowed
