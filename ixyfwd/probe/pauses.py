"""Pauses: for how long CPUs are taken away from processes that spin on them.

On each CPU a process of its own reads the clock for a while and notes the gaps: interrupts, other processes, and in a
virtual machine the host, which no setting of this system shows or prevents.
"""

import json
import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from time import monotonic_ns
from typing import Final

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.process import stop_signals_held, tie_to_parent
from ixyfwd.probe.stolen import grown, run_delay_ns, steal_ns

SHORTEST_NS: Final = 1000  # one iteration of the loop takes about a tenth of this
NS_PER_S: Final = 1_000_000_000
GRACE_S: Final = 10.0  # for interpreters to start and end on a machine that is busy


@dataclass(frozen=True)
class Watched:
    """A CPU as it was for `elapsed_ns`.

    `gaps_ns`: how long each gap lasted. `run_delay_ns`: time behind other processes.
    `steal_ns`: time that the hypervisor says it took. None: it cannot be read.
    """

    gaps_ns: tuple[int, ...]
    elapsed_ns: int
    run_delay_ns: int | None
    steal_ns: int | None


def observe(cpu: int, duration_s: float) -> Watched:
    """Spin on `cpu` for `duration_s` seconds; returns the gaps and the time taken away. Raises OSError."""
    before, stolen_before, begun_ns = run_delay_ns(os.getpid()), steal_ns().get(cpu), monotonic_ns()
    gaps_ns = watch(cpu, duration_s)
    elapsed_ns, after, stolen_after = monotonic_ns() - begun_ns, run_delay_ns(os.getpid()), steal_ns().get(cpu)
    return Watched(tuple(gaps_ns), elapsed_ns, grown(before, after), grown(stolen_before, stolen_after))


def watch(cpu: int, duration_s: float) -> list[int]:
    """The gaps, in ns, in `duration_s` seconds of this process on `cpu`. Raises OSError if it may not run there."""
    os.sched_setaffinity(0, {cpu})
    gaps: list[int] = []
    last = monotonic_ns()
    end = last + int(duration_s * NS_PER_S)
    while last < end:
        now = monotonic_ns()
        if now - last >= SHORTEST_NS:
            gaps.append(now - last)
        last = now
    return gaps


def watch_cpus(cpus: Collection[int], duration_s: float) -> dict[int, list[int]]:
    """The gaps of `watch` by CPU, in ns, on all CPUs at the same time. Raises IxyfwdError if a process fails."""
    return {cpu: list(watched.gaps_ns) for cpu, watched in observe_cpus(cpus, duration_s).items()}


def observe_cpus(cpus: Collection[int], duration_s: float) -> dict[int, Watched]:
    """The results of `observe` by CPU, with a process on each at the same time. Raises IxyfwdError if one fails."""
    head, tail = (sys.executable, "-m", __name__), (str(duration_s), str(os.getpid()))
    with stop_signals_held():
        processes = {
            cpu: subprocess.Popen((*head, str(cpu), *tail), stdout=subprocess.PIPE, text=True)  # noqa: S603
            for cpu in sorted(cpus)
        }
    found: dict[int, Watched] = {}
    try:
        for cpu, process in processes.items():
            said, _ = process.communicate(timeout=duration_s + GRACE_S)
            if process.returncode:
                raise IxyfwdError(f"watching CPU {cpu} for pauses failed with exit code {process.returncode}")
            words = json.loads(said)
            found[cpu] = Watched(**{**words, "gaps_ns": tuple(words["gaps_ns"])})
    except subprocess.TimeoutExpired:
        raise IxyfwdError(
            f"watching CPU {cpu} for {duration_s:g} s was not over after {duration_s + GRACE_S:g} s"
        ) from None
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return found


def _main(cpu: int, duration_s: float, parent_pid: int) -> None:
    try:
        tie_to_parent(parent_pid)
        print(json.dumps(asdict(observe(cpu, duration_s))))
    except IxyfwdError:  # there is no parent any more to tell
        raise SystemExit(1) from None
    except OSError as error:
        raise SystemExit(f"ixyfwd: CPU {cpu} cannot be watched ({error.strerror})") from None


if __name__ == "__main__":
    _main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
