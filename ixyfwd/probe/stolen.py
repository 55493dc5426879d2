"""The share of time in which a process wanted its CPU and did not have it.

Two sources: run delay, the time on the run queue behind other processes of this system (`/proc/PID/schedstat`, see
Documentation/scheduler/sched-stats.rst in Linux), and steal, the time that a hypervisor says it gave to others
(`/proc/stat`, in ticks). A host that does not report steal takes CPUs away unseen; only a clock shows that
(`probe.pauses`).
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NS_PER_S: Final = 1_000_000_000
_PROC: Final = Path("/proc")
_STEAL_FIELD: Final = 8  # of a line "cpuN user nice system idle iowait irq softirq steal ..."


@dataclass(frozen=True)
class Shares:
    """Shares of the time since a watch began, each from 0 to 1; None: it could not be read.

    `run_delay`: the share on the run queue behind other processes. `steal`: the share
    that the hypervisor took.
    """

    run_delay: float | None
    steal: float | None


class StolenWatch:
    """A watch over processes, each on a CPU of its own or on any (None), from its construction on."""

    def __init__(self, cpus: Mapping[int, int | None], proc: Path = _PROC) -> None:
        """Begin. `cpus`: by process id. Only the main thread of a process is watched: the one that polls."""
        self._cpus = dict(cpus)
        self._proc = proc
        self._since_ns = time.monotonic_ns()
        self._delays: dict[int, tuple[int, int | None]] = {}  # run delay at a time in ns
        self._steal = steal_ns(proc)
        for pid, cpu in cpus.items():
            self.add(pid, cpu)

    def add(self, pid: int, cpu: int | None) -> None:
        """Watch one more process from now on."""
        self._cpus[pid] = cpu
        self._delays[pid] = (time.monotonic_ns(), run_delay_ns(pid, self._proc))

    def forget(self, pid: int) -> None:
        """Watch a process no longer."""
        self._cpus.pop(pid, None)
        self._delays.pop(pid, None)

    def shares(self) -> dict[int, Shares]:
        """The shares by process id, of steal from the construction to now."""
        now_ns = time.monotonic_ns()
        elapsed_ns = max(1, now_ns - self._since_ns)
        stolen = steal_ns(self._proc)
        return {
            pid: Shares(
                self._run_delay_share(pid, now_ns),
                None if cpu is None else _share(self._steal.get(cpu), stolen.get(cpu), elapsed_ns),
            )
            for pid, cpu in self._cpus.items()
        }

    def _run_delay_share(self, pid: int, now_ns: int) -> float | None:
        since_ns, delay_ns = self._delays[pid]
        return _share(delay_ns, run_delay_ns(pid, self._proc), max(1, now_ns - since_ns))


def run_delay_ns(pid: int, proc: Path = _PROC) -> int | None:
    """Time, in ns, that a process's main thread has waited on a run queue; None if it cannot be read."""
    try:
        return int((proc / str(pid) / "schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None


def steal_ns(proc: Path = _PROC) -> dict[int, int]:
    """Time, in ns, that a hypervisor has taken since boot, by CPU; empty if it cannot be read.

    The kernel counts it in ticks, of 10 ms mostly (proc_stat(5)).
    """
    try:
        lines = (proc / "stat").read_text(encoding="ascii", errors="replace").splitlines()
        tick_ns = NS_PER_S // os.sysconf("SC_CLK_TCK")
        rows = [line.split() for line in lines if line.startswith("cpu") and line[3:4].isdigit()]
        return {int(row[0][3:]): int(row[_STEAL_FIELD]) * tick_ns for row in rows}
    except (OSError, ValueError, IndexError):
        return {}


def grown(before: int | None, now: int | None) -> int | None:
    """The growth of a counter; None if it could not be read at one end. A counter that went back has not grown."""
    return None if before is None or now is None else max(0, now - before)


def _share(before_ns: int | None, now_ns: int | None, elapsed_ns: int) -> float | None:
    stolen_ns = grown(before_ns, now_ns)
    return None if stolen_ns is None else round(stolen_ns / elapsed_ns, 6)
