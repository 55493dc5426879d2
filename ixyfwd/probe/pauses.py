"""Pauses: for how long CPUs are taken away from processes that spin on them.

On each CPU a process of its own reads the clock for a while and notes the gaps: interrupts, other processes, and in a
virtual machine the host, which no setting of this system shows or prevents.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from time import monotonic_ns
from typing import Final

from ixyfwd.errors import IxyfwdError

SHORTEST_NS: Final = 1000  # a turn of the loop takes about a tenth of this
NS_PER_S: Final = 1_000_000_000
GRACE_S: Final = 10.0  # for interpreters to start and end on a machine that is busy


def watch(cpu: int, duration_s: float) -> list[int]:
    """The gaps, in ns, in the time that this process gets on `cpu`."""
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
    """By CPU the gaps of `watch`, all CPUs at the same time. Raises IxyfwdError if a process of it fails."""
    command = (sys.executable, "-m", __name__)
    processes = {
        cpu: subprocess.Popen((*command, str(cpu), str(duration_s)), stdout=subprocess.PIPE, text=True)  # noqa: S603
        for cpu in sorted(cpus)
    }
    gaps: dict[int, list[int]] = {}
    try:
        for cpu, process in processes.items():
            said, _ = process.communicate(timeout=duration_s + GRACE_S)
            if process.returncode:
                raise IxyfwdError(f"watching CPU {cpu} for pauses failed with exit code {process.returncode}")
            gaps[cpu] = json.loads(said)
    except subprocess.TimeoutExpired:
        raise IxyfwdError(
            f"watching CPU {cpu} for {duration_s:g} s was not over after {duration_s + GRACE_S:g} s"
        ) from None
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return gaps


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the terminal's whole group; the caller ends its children
    print(json.dumps(watch(int(sys.argv[1]), float(sys.argv[2]))))
