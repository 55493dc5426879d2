"""The statistics of `bench compare`: the order of runs, and what is said of their ratio."""

import math
import random
from itertools import islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.bench.paired import FEWEST_PAIRS, MOST_PAIRS, orders, paired_ratio

costs = st.floats(0.1, 1e5)


@given(st.integers(), st.integers(0, 40))
def test_of_each_two_pairs_one_begins_with_a_and_one_with_b(seed: int, blocks: int) -> None:
    found = list(islice(orders(seed), 2 * blocks))
    assert all(sorted(pair) == [0, 1] for pair in found)
    assert all({found[i], found[i + 1]} == {(0, 1), (1, 0)} for i in range(0, len(found), 2))


def test_the_order_is_not_the_same_in_each_block() -> None:
    first = [pair for pair, _ in zip(islice(orders(1), 0, 80, 2), range(40), strict=True)]
    assert set(first) == {(0, 1), (1, 0)}


@given(st.lists(st.tuples(costs, costs), min_size=1, max_size=30))
def test_the_interval_encloses_the_estimate_and_swapping_the_sides_inverts_it(pairs: list[tuple[float, float]]) -> None:
    a, b = zip(*pairs, strict=True)
    there, back = paired_ratio(a, b), paired_ratio(b, a)
    assert there.estimate * back.estimate == pytest.approx(1)
    if len(pairs) < FEWEST_PAIRS:
        assert (there.low, there.high, there.verdict()) == (None, None, "too few pairs")
        return
    assert there.low is not None and there.high is not None and back.high is not None
    assert there.low <= there.estimate * (1 + 1e-9) and there.estimate <= there.high * (1 + 1e-9)
    assert there.low * back.high == pytest.approx(1)


@given(st.lists(costs, min_size=FEWEST_PAIRS, max_size=30), st.floats(0.01, 100))
def test_a_ratio_that_is_the_same_in_each_pair_is_found(a: list[float], factor: float) -> None:
    found = paired_ratio(a, [value * factor for value in a])
    assert (found.low, found.estimate, found.high) == pytest.approx((factor, factor, factor))


@given(st.lists(costs, min_size=FEWEST_PAIRS, max_size=30))
def test_equal_runs_are_no_difference(a: list[float]) -> None:
    assert paired_ratio(a, a).verdict() == "no difference seen"


def test_one_run_that_went_wrong_moves_the_ratio_little() -> None:
    a = [10.0] * 12
    b = [11.0] * 11 + [1000.0]
    found = paired_ratio(a, b)
    assert found.estimate == pytest.approx(1.1)
    assert found.low == pytest.approx(1.1)
    assert found.verdict() == "slower"


@pytest.mark.parametrize("pairs", [6, 8, 10])
def test_the_interval_fails_as_often_as_the_signs_say(pairs: int) -> None:
    """Every choice of signs of distinct deviations, each alike likely: the truth is outside in at most 5 % of them, and
    one mean more left out on either side would be too many."""
    sizes = [2.0**i / 1000 for i in range(pairs)]
    outside = narrower = 0
    for signs in product((-1, 1), repeat=pairs):
        logs = [sign * size for sign, size in zip(signs, sizes, strict=True)]
        found = paired_ratio([1.0] * pairs, [math.exp(value) for value in logs])
        assert found.low is not None and found.high is not None
        outside += not found.low < 1 < found.high
        positive = sum(rank for rank, sign in enumerate(signs, 1) if sign > 0)
        narrower += min(positive, pairs * (pairs + 1) // 2 - positive) <= _critical(pairs) + 1
    assert outside / 2**pairs <= 0.05
    assert narrower / 2**pairs > 0.05


def _critical(pairs: int) -> int:
    """The largest sum of signed ranks that is significant at 5 % on two sides; from the tables."""
    return {6: 0, 8: 3, 10: 8}[pairs]


def test_the_interval_covers_a_known_ratio_of_noisy_runs() -> None:
    """Drift that both runs of a pair share, and noise that they do not: 400 comparisons of 12 pairs, seed fixed."""
    chance = random.Random(5)
    covered = 0
    for _ in range(400):
        drift = [chance.uniform(1, 3) for _ in range(12)]
        a = [value * math.exp(chance.gauss(0, 0.03)) for value in drift]
        b = [1.02 * value * math.exp(chance.gauss(0, 0.03)) for value in drift]
        found = paired_ratio(a, b)
        assert found.low is not None and found.high is not None
        covered += found.low <= 1.02 <= found.high
    assert 0.92 <= covered / 400 <= 0.99


def test_many_pairs_narrow_the_interval_and_too_many_are_refused() -> None:
    chance = random.Random(7)
    b = [math.exp(chance.gauss(0, 0.05)) for _ in range(200)]
    few, many = paired_ratio([1.0] * 10, b[:10]), paired_ratio([1.0] * 200, b)
    assert few.low is not None and few.high is not None and many.low is not None and many.high is not None
    assert many.high - many.low < few.high - few.low
    with pytest.raises(ValueError, match=f"expected 1 to {MOST_PAIRS} pairs, found 0"):
        paired_ratio([], [])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        paired_ratio([1.0], [1.0, 2.0])
