"""Latency histograms of the model's sinks: added up, and read as percentiles.

The sinks fill them in C: 32 steps to each power of two, so that a value is told to within 1/32 (3.1 %), always upwards.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Final

NS_PER_US: Final = 1000
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999, "p99_99": 0.9999, "p99_999": 0.99999}


class Histogram:
    """A histogram: counts by the largest value of their bucket, in ns."""

    def __init__(self, buckets: Iterable[Sequence[int]] = (), maximum_ns: int = 0) -> None:
        """Make one of `buckets`: pairs of the largest value, in ns, that a bucket takes, and its count."""
        self._counts: Counter[int] = Counter()
        for edge, count in buckets:
            self._counts[edge] += count
        self.maximum_ns = maximum_ns

    @property
    def count(self) -> int:
        """The number of values in it."""
        return self._counts.total()

    def add(self, other: "Histogram") -> None:
        """Add the values of another histogram."""
        self._counts += other._counts
        self.maximum_ns = max(self.maximum_ns, other.maximum_ns)

    def quantiles(self, shares: Iterable[float]) -> list[int]:
        """The smallest values, in ns, that the given shares of all values do not exceed.

        `shares`: from 0 to 1, rising. Raises ValueError for an empty histogram.
        """
        if not self.count:
            raise ValueError("no latency was measured")
        edges = sorted(self._counts.items())
        found: list[int] = []
        place, seen = 0, edges[0][1]
        for share in shares:
            wanted = max(1, ceil(share * self.count))
            while seen < wanted and place + 1 < len(edges):
                place += 1
                seen += edges[place][1]
            found.append(min(edges[place][0], self.maximum_ns))
        return found

    def summary_us(self) -> dict[str, float]:
        """The percentiles p50 to p99.999 and the maximum, in us. Raises ValueError for an empty histogram."""
        values = self.quantiles(SHARES.values())
        named = {name: value / NS_PER_US for name, value in zip(SHARES, values, strict=True)}
        return {**named, "max": self.maximum_ns / NS_PER_US}

    def line(self) -> list[tuple[float, float]]:
        """The line of a plot: for each bucket the share of values in it and in those below, and its value in us."""
        seen, points = 0, []
        for edge, count in sorted(self._counts.items()):
            seen += count
            points.append((seen / self.count, min(edge, self.maximum_ns) / NS_PER_US))
        return points


def of_sink(sink: Mapping[str, dict[str, object]]) -> Histogram:
    """The histogram of a sink as the model reports it."""
    latency = sink["latency_ns"]
    buckets, maximum = latency["buckets"], latency["max"]
    return Histogram(buckets if isinstance(buckets, list) else (), maximum if isinstance(maximum, int) else 0)
