"""The machine's own share of latencies: the waits that pauses of its CPUs cause.

A frame that arrives anywhere in a pause waits for its end. No forwarder on these CPUs
can do better than the percentiles that follow from the pauses alone.
"""

from collections.abc import Collection, Sequence
from itertools import accumulate, chain

from ixyfwd.bench.histogram import NS_PER_US, SHARES
from ixyfwd.probe.pauses import NS_PER_S, watch_cpus


def machine_alone_us(cpus: Collection[int], duration_s: float) -> dict[str, float]:
    """The waits of frames, by share of frames, if passing them took no time: p50 to p99.999 and max, in us.

    A frame needs all of `cpus`. Raises IxyfwdError if a process of the measurement
    fails.
    """
    return waits_us(list(chain.from_iterable(watch_cpus(cpus, duration_s).values())), duration_s)


def waits_us(gaps_ns: Sequence[int], duration_s: float) -> dict[str, float]:
    """The longest wait, in us, by share of frames that arrive evenly over `duration_s`, because of `gaps_ns`."""
    longest_first = sorted(gaps_ns, reverse=True)
    sums = [0, *accumulate(longest_first)]
    found = {
        name: _exceeded_by(longest_first, sums, (1 - share) * duration_s * NS_PER_S) for name, share in SHARES.items()
    }
    named = {name: round(value / NS_PER_US, 3) for name, value in found.items()}
    return {**named, "max": max(gaps_ns, default=0) / NS_PER_US}


def _exceeded_by(longest_first: Sequence[int], sums: Sequence[int], time_ns: float) -> float:
    """The wait, in ns, that frames of `time_ns` exceed: a frame that waits longer than x arrives in a gap's first part,
    which is x shorter than the gap."""
    if sums[-1] <= time_ns:
        return 0.0
    for count in range(1, len(sums)):
        next_gap = longest_first[count] if count < len(longest_first) else 0
        wait = (sums[count] - time_ns) / count
        if wait >= next_gap:
            return wait
    return 0.0
