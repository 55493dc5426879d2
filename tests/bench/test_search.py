"""The search for NDR and PDR on devices that are formulas, and the histogram against numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.bench.histogram import SHARES, Histogram
from ixyfwd.bench.search import NDR, PDR, Search
from ixyfwd.model.wires.generator import upper_edge

LINE = 14_880_952.0


class Device:
    """Forwards everything up to `capacity` frames per second and no more than that above it."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.trials: list[tuple[float, float]] = []

    def __call__(self, duration_s: float, load: float) -> tuple[int, int]:
        self.trials.append((duration_s, load))
        return round(load * duration_s), round(min(load, self.capacity) * duration_s)


@given(st.floats(20_000, LINE), st.sampled_from([0.005, 0.02, 0.1]))
def test_both_rates_are_found_within_the_precision(capacity: float, precision: float) -> None:
    device = Device(capacity)
    search = Search(device, 10_000, LINE, precision, (0.5, 1.0), trials=1)
    ndr, pdr = search.find(NDR), search.find(PDR)
    assert ndr is not None and pdr is not None
    frame = 4  # a loss of less than a frame is none
    assert capacity / (1 + precision) - frame <= ndr <= capacity + frame
    edge = min(LINE, capacity / 0.995)
    assert edge / (1 + precision) - frame <= pdr <= edge + frame
    assert len(device.trials) < 120


def test_what_forwards_everything_is_tried_at_the_highest_load_only() -> None:
    device = Device(LINE * 2)
    search = Search(device, 10_000, LINE, durations_s=(1.0, 5.0), trials=3)
    assert search.find(NDR) == search.find(PDR) == LINE
    assert {load for _, load in device.trials} == {LINE}
    assert len(device.trials) == 3  # one, and then two of three


def test_what_forwards_nothing_has_no_rate() -> None:
    search = Search(Device(0), 10_000, LINE)
    assert search.find(NDR) is None and search.find(PDR) is None


def test_the_last_word_is_with_the_longest_trials() -> None:
    """A device that holds a burst in its rings and loses later."""

    def measure(duration_s: float, load: float) -> tuple[int, int]:
        offered = round(load * duration_s)
        return offered, min(offered, round(1e6 * duration_s) + 500_000)

    found = Search(measure, 10_000, LINE, 0.005, (0.5, 10.0), trials=1).find(NDR)
    assert found is not None and 1.05e6 / 1.006 <= found <= 1.05e6 + 1


@given(st.integers(0, 2))
def test_one_bad_trial_of_three_does_not_decide(bad: int) -> None:
    calls = 0

    def measure(duration_s: float, load: float) -> tuple[int, int]:
        nonlocal calls
        calls += 1
        return 1000, 900 if calls - 1 == bad else 1000

    assert Search(measure, 10_000, LINE, durations_s=(1.0,), trials=3).find(NDR) == LINE


def test_the_search_ends_where_trials_are_a_lottery() -> None:
    generator = np.random.default_rng(1)

    def measure(duration_s: float, load: float) -> tuple[int, int]:
        return 1000, 1000 - int(generator.integers(0, 2))

    for _ in range(20):
        Search(measure, 10_000, LINE, 0.01, (0.5, 1.0)).find(NDR)


# the histogram

EDGES = [upper_edge(index) for index in range(700)]
VALUES = st.lists(st.integers(0, EDGES[-1]), min_size=1, max_size=300)


def histogram(values: list[int]) -> Histogram:
    buckets = [(EDGES[int(np.searchsorted(EDGES, value))], 1) for value in values]
    return Histogram(buckets, max(values))


@given(VALUES)
def test_quantiles_are_numpys_within_a_bucket(values: list[int]) -> None:
    found = histogram(values).quantiles(SHARES.values())
    for share, value in zip(SHARES.values(), found, strict=True):
        exact = int(np.quantile(values, share, method="inverted_cdf"))
        assert exact <= value <= exact * (1 + 1 / 32)
    assert found == sorted(found)


@given(VALUES, VALUES)
def test_histograms_add_up(one: list[int], other: list[int]) -> None:
    together = histogram(one)
    together.add(histogram(other))
    whole = histogram(one + other)
    assert together.summary_us() == whole.summary_us()
    assert together.line() == whole.line() and together.line()[-1][0] == 1
    assert together.count == len(one) + len(other)


def test_an_empty_histogram_has_no_quantiles() -> None:
    with pytest.raises(ValueError, match="no latency"):
        Histogram().summary_us()
