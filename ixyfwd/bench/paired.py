"""Paired measurements: the order of the two runs of a pair, and the statistics of their ratio.

A machine that drifts, slows down for a minute or loses a CPU does so to both runs of a
pair, so each pair gives one ratio, and only ratios are used. Their centre is the
Hodges-Lehmann estimate (the median of the means of all two of them), its interval the
one that belongs to Wilcoxon's signed ranks: it assumes only that the ratios'
distribution is symmetric on a log scale, and one wrong run moves it little. See
Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, sections 3.2 and 3.3.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from statistics import median
from typing import Final, Literal

import numpy as np

CONFIDENCE: Final = 0.95
FEWEST_PAIRS: Final = 6  # the signs of five alike: one in sixteen by chance, so no interval of 95 % is finite
MOST_PAIRS: Final = 500  # means of two of them: 125 250

Verdict = Literal["slower", "faster", "no difference seen", "too few pairs"]


@dataclass(frozen=True)
class Ratio:
    """The ratio of B to A. `low` and `high` are its interval; None where there are too few pairs for one."""

    estimate: float
    low: float | None
    high: float | None

    def verdict(self) -> Verdict:
        """The verdict, by whether the interval excludes 1; the ratio is one of times, so above 1 is slower."""
        if self.low is None or self.high is None:
            return "too few pairs"
        return "slower" if self.low > 1 else "faster" if self.high < 1 else "no difference seen"


def orders(seed: int) -> Iterator[tuple[int, int]]:
    """Endless orders of the two sides: (0, 1) or (1, 0), at random.

    Of every two pairs, one begins with 0 and one with 1.
    """
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    while True:
        block = [(0, 1), (1, 0)]
        chance.shuffle(block)
        yield from block


def paired_ratio(a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE) -> Ratio:
    """The ratio of `b` to `a`, values above 0, of which those at the same index are a pair.

    Raises ValueError for no pairs, more than MOST_PAIRS, or sequences of different
    lengths.
    """
    if not 1 <= len(a) <= MOST_PAIRS:
        raise ValueError(f"expected 1 to {MOST_PAIRS} pairs, found {len(a)}")
    logs = [math.log(second / first) for first, second in zip(a, b, strict=True)]
    means = sorted((one + other) / 2 for one, other in combinations_with_replacement(logs, 2))
    rank = _rank(len(logs), confidence)
    if rank is None:
        return Ratio(math.exp(median(means)), None, None)
    return Ratio(math.exp(median(means)), math.exp(means[rank]), math.exp(means[-1 - rank]))


def _rank(pairs: int, confidence: float) -> int | None:
    """The number of sorted means below the interval, and above it; None if the outermost two are too few for it."""
    tail = np.cumsum(_signed_ranks(pairs))
    below = int(np.searchsorted(tail, (1 - confidence) / 2, side="right"))
    return below - 1 if below else None


def _signed_ranks(pairs: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """The probability of each sum of the ranks 1 to `pairs` that have a positive sign, all signs alike likely."""
    chances = np.zeros(pairs * (pairs + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, pairs + 1):
        moved = np.zeros_like(chances)
        moved[rank:] = chances[:-rank]
        chances = (chances + moved) / 2
    return chances
