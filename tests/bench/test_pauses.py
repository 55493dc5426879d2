"""What pauses of a CPU do to frames: the percentiles against frames counted one by one."""

import os
from time import monotonic_ns

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.bench.pauses import machine_alone_us, waits_us
from ixyfwd.probe.pauses import watch


def test_one_pause_of_a_hundredth() -> None:
    found = waits_us([10_000_000], 1.0)
    assert (found["p50"], found["p90"], found["p99"]) == (0, 0, 0)
    # 0.1 % of a second's frames arrive in the first millisecond of ten and wait for at least nine.
    assert found["p99_9"] == pytest.approx(9000) and found["p99_99"] == pytest.approx(9900)
    assert found["max"] == 10_000


def test_no_pause_at_all() -> None:
    assert set(waits_us([], 1.0).values()) == {0}


@given(st.lists(st.integers(1000, 20_000_000), max_size=30))
def test_as_many_frames_wait_longer_as_a_percentile_says(gaps: list[int]) -> None:
    found = waits_us(gaps, 1.0)
    assert list(found.values()) == sorted(found.values())
    for name, share in (("p90", 0.1), ("p99", 0.01), ("p99_9", 0.001), ("p99_99", 0.0001)):
        wait_ns = found[name] * 1000
        longer = sum(max(0.0, gap - wait_ns) for gap in gaps) / 1e9
        assert longer == pytest.approx(share, rel=1e-3) if wait_ns else longer <= share * 1.001


def test_a_cpu_is_watched_for_as_long_as_asked() -> None:
    allowed = os.sched_getaffinity(0)
    started = monotonic_ns()
    try:
        gaps = watch(min(allowed), 0.05)
    finally:
        os.sched_setaffinity(0, allowed)
    assert monotonic_ns() - started >= 50_000_000
    assert all(gap >= 1000 for gap in gaps)


def test_two_cpus_at_once() -> None:
    found = machine_alone_us(os.sched_getaffinity(0), 0.1)
    assert list(found.values()) == sorted(found.values())
