"""The limit on restarts."""

from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.supervisor.restarts import FIRST_DELAY_S, LONGEST_DELAY_S, RestartLimit


def test_the_first_restart_does_not_wait_and_the_next_ones_wait_longer() -> None:
    limit = RestartLimit(restarts=4, window_s=60)
    assert [limit.delay_after(second) for second in range(5)] == [0.0, *(FIRST_DELAY_S * n for n in (1, 2, 4)), None]


def test_deaths_that_are_long_past_do_not_count() -> None:
    limit = RestartLimit(restarts=1, window_s=10)
    assert [limit.delay_after(at_s) for at_s in (0, 11, 22)] == [0.0, 0.0, 0.0]
    assert limit.delay_after(23) is None


@given(st.integers(1, 50), st.lists(st.floats(0, 100), max_size=60).map(sorted))
def test_no_window_has_more_restarts_than_allowed(restarts: int, deaths: list[float]) -> None:
    window_s = 10.0
    limit = RestartLimit(restarts, window_s)
    restarted = [death for death in deaths if (delay_s := limit.delay_after(death)) is not None and delay_s >= 0]
    for death in restarted:
        assert sum(death - window_s <= other <= death for other in restarted) <= restarts
    assert all((limit.delay_after(1000.0 + 100 * n) or 0) <= LONGEST_DELAY_S for n in range(3))
