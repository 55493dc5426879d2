"""What the machine itself adds to latencies: for how long CPUs are taken away from whoever spins on them.

On each CPU that a run would poll on a process of its own reads the clock for a while and notes the gaps: interrupts,
other processes, and in a virtual machine the host, which no setting of this system shows or prevents. A frame that
arrives anywhere in a gap waits for its end. No forwarder on these CPUs can do better than the percentiles that follow.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from itertools import accumulate
from time import monotonic_ns
from typing import Final

from ixyfwd.bench.histogram import NS_PER_US, SHARES
from ixyfwd.errors import IxyfwdError

SHORTEST_NS: Final = 1000  # a turn of the loop takes about a tenth of this
NS_PER_S: Final = 1_000_000_000


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


def machine_alone_us(cpus: Collection[int], duration_s: float) -> dict[str, float]:
    """What frames would wait, by share of frames, if passing them took no time: p50 to p99.999 and max in microseconds.
    A frame needs all of `cpus`. Raises IxyfwdError if a process of the measurement fails."""
    command = (sys.executable, "-m", __name__)
    processes = [
        subprocess.Popen((*command, str(cpu), str(duration_s)), stdout=subprocess.PIPE, text=True)  # noqa: S603
        for cpu in sorted(cpus)
    ]
    gaps: list[int] = []
    try:
        for process in processes:
            said, _ = process.communicate()
            if process.returncode:
                raise IxyfwdError(f"measuring the machine's pauses failed with exit code {process.returncode}")
            gaps += json.loads(said)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return waits_us(gaps, duration_s)


def waits_us(gaps_ns: Sequence[int], duration_s: float) -> dict[str, float]:
    """By share of frames that arrive evenly over `duration_s`, what they wait at most because of `gaps_ns`."""
    longest_first = sorted(gaps_ns, reverse=True)
    sums = [0, *accumulate(longest_first)]
    found = {
        name: _exceeded_by(longest_first, sums, (1 - share) * duration_s * NS_PER_S) for name, share in SHARES.items()
    }
    named = {name: round(value / NS_PER_US, 3) for name, value in found.items()}
    return {**named, "max": max(gaps_ns, default=0) / NS_PER_US}


def _exceeded_by(longest_first: Sequence[int], sums: Sequence[int], time_ns: float) -> float:
    """The wait that frames of `time_ns` exceed. Those who wait longer than x arrive in the first gap - x of a gap."""
    if sums[-1] <= time_ns:
        return 0.0
    for count in range(1, len(sums)):
        next_gap = longest_first[count] if count < len(longest_first) else 0
        wait = (sums[count] - time_ns) / count
        if wait >= next_gap:
            return wait
    return 0.0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the terminal's whole group; the bench ends its children
    print(json.dumps(watch(int(sys.argv[1]), float(sys.argv[2]))))
