"""What a configuration needs from the machine that it runs on."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ixyfwd.config.cpus import format_cpu_list, parse_cpu_list
from ixyfwd.config.schema import Config
from ixyfwd.kit.cgroups import cpuset
from ixyfwd.kit.tree import Tree, UnreadableError
from ixyfwd.settings.problems import KeyPath, Problem


@dataclass(frozen=True)
class Machine:
    """CPUs that are online, and those of them that this process may use (affinity, cpuset).

    `isolated` CPUs (isolcpus=) are in no affinity at first, but a process may pin itself there: they are used
    where a configuration names them, and only there, and where the cpuset has them. `barred_by`: the file that says
    which CPUs it has, "" where none is known.
    """

    online: frozenset[int]
    allowed: frozenset[int]
    isolated: frozenset[int] = frozenset()
    barred_by: str = ""


def this_machine() -> Machine:
    """The machine that this runs on."""
    allowed = frozenset(os.sched_getaffinity(0))
    online = _cpus("online") or frozenset(range(os.cpu_count() or 1))
    isolated = _cpus("isolated") & online
    with suppress(UnreadableError):
        found = cpuset(Tree())
        return Machine(online | allowed, allowed, _within_reach(isolated - allowed), found[1] if found else "")
    return Machine(online | allowed, allowed, isolated)


def _within_reach(cpus: frozenset[int]) -> frozenset[int]:
    """Those that a process may pin itself to. The kernel narrows what is asked for to the cpuset; a thread asks, so
    that this process stays as it is."""
    if not cpus:
        return cpus
    reached: list[int] = []

    def ask() -> None:
        with suppress(OSError):  # none of them
            os.sched_setaffinity(0, cpus)
            reached.extend(os.sched_getaffinity(0))

    thread = threading.Thread(target=ask, name="affinity")
    try:
        thread.start()
    except RuntimeError:  # no thread is to be had
        return cpus
    thread.join()
    return cpus & frozenset(reached)


def _cpus(name: str) -> frozenset[int]:
    """A list of CPUs that the kernel keeps; empty if it cannot be read."""
    try:
        with open(f"/sys/devices/system/cpu/{name}", encoding="ascii") as file:
            return frozenset(parse_cpu_list(file.read().strip()))
    except (OSError, ValueError):
        return frozenset()


def check(config: Config, machine: Machine) -> list[Problem]:
    """What a correct configuration asks for and the machine does not have: CPUs, files to replay, places to write."""
    return [*_check_cpus(config, machine), *_check_wires(config)]


def _check_cpus(config: Config, machine: Machine) -> Iterator[Problem]:
    workers = config.cpu.workers if isinstance(config.cpu.workers, tuple) else ()
    asked: dict[str, tuple[int | None, ...]] = {
        "main": (config.cpu.main,),
        "workers": workers,
        "model": (config.cpu.model,),
    }
    for key, values in asked.items():
        cpus = sorted({cpu for cpu in values if cpu is not None})
        missing = [cpu for cpu in cpus if cpu not in machine.online]
        barred = [cpu for cpu in cpus if cpu in machine.online and cpu not in machine.allowed | machine.isolated]
        path: KeyPath = ("cpu", key)
        if missing:
            has = format_cpu_list(sorted(machine.online))
            yield config.source.problem(
                path, f"found CPU {format_cpu_list(missing)}, expected CPUs that this machine has ({has})"
            )
        if barred:
            may = format_cpu_list(sorted(machine.allowed))
            yield config.source.problem(
                path,
                f"found CPU {format_cpu_list(barred)}, which this process may not use, expected CPUs of its affinity "
                f"({may}; see `taskset -p $$`{f' and {machine.barred_by}' if machine.barred_by else ''})",
            )


def _check_wires(config: Config) -> Iterator[Problem]:
    for index, port in enumerate(config.ports):
        for key, message in port.wire.machine_problems() if port.wire is not None else ():
            yield config.source.problem(("port", index, "wire", key), message)
