"""What a run needs of its process's limits: open files, processes, CPU time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ixyfwd.config.schema import Config
from ixyfwd.settings.problems import ConfigErrors, KeyPath

_FILES: Final = 24  # the interpreter, streams, lock, arena, event loop, control socket; what starting a child takes
_FILES_PER_PORT: Final = 6  # the device's descriptors and lock; in the model two sockets, BAR0 and those of a wire
_FILES_PER_WORKER: Final = 3  # its words and its end, with one to spare
_THREADS: Final = 2  # that write on standard output and standard error


@dataclass(frozen=True)
class Demand:
    """What a run needs of the limits of its process.

    `files`: open files of the process that needs the most; `processes`: with threads, besides the first; `cpus`: those
    that a process polls on.
    """

    files: int = 0
    processes: int = 0
    cpus: int = 0


def demand_of(
    *, ports: int, workers: Iterable[int | None], model: bool, model_cpu: int | None, interrupts: bool, writer: bool
) -> Demand:
    """The demand of a run with `workers` on these CPUs.

    `interrupts`: workers block on eventfds; `writer`: one has a thread that writes a file.
    """
    cpus = list(workers)
    events = ports * len(cpus) if interrupts else 0
    return Demand(
        files=_FILES + _FILES_PER_PORT * ports + _FILES_PER_WORKER * len(cpus) + events,
        processes=_THREADS + len(cpus) + model + writer,
        cpus=len({cpu for cpu in (*cpus, model_cpu) if cpu is not None}),
    )


def refuse_demand(config: Config, workers: int, unmet: Iterable[str]) -> None:
    """Refuse a run of which a demand is not met; each of `unmet` is the end of a sentence. Raises ConfigErrors."""
    found = f"found {counted(workers, 'worker')} and {counted(len(config.ports), 'port')}, which need"
    # What there can be fewer of.
    key: KeyPath = ("cpu", "workers") if config.cpu.workers is not None else ("port",)
    problems = [config.source.problem(key, f"{found} {text}") for text in unmet]
    if problems:
        raise ConfigErrors(problems)


def counted(number: int, what: str) -> str:
    """A number and a noun."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
