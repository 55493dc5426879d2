"""The innermost loop, against a description of it that is slow and plain."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.roles.work import Step
from ixyfwd.worker.rounds import new_turn

LINKS = st.integers(1, 4)


class Log:
    """Steps that note their calls; `found` says what each poll finds, in the order of the polls."""

    def __init__(self, found: list[int]) -> None:
        self.found = list(found)
        self.calls: list[str] = []

    def step(self, name: int, program: bool) -> Step:
        def rx() -> int:
            self.calls.append(f"rx {name}")
            return self.found.pop(0)

        return Step(rx, self.noting(f"program {name}") if program else None, self.noting(f"tx {name}"))

    def noting(self, what: str) -> Callable[[], int]:
        def note() -> int:
            self.calls.append(what)
            return 1

        return note


def expected(found: list[int], programs: list[bool], end_at: int) -> tuple[list[str], list[int], tuple[int, int]]:
    """Calls, what empty rounds are told, and the result, if the `end_at`-th empty round ends the turn."""
    calls, told, bursts, row = [], [], 0, 0
    for taken, frames in enumerate(found, start=1):
        link = (taken - 1) % len(programs)
        calls.append(f"rx {link}")
        if frames:
            calls += [f"program {link}"] * programs[link] + [f"tx {link}"]
            bursts, row = bursts + 1, 0
            continue
        row += 1
        if row == len(programs):
            row = 0
            told.append(bursts)
            if len(told) == end_at:
                return calls, told, (taken, bursts)
    return calls, told, (len(found), bursts)


@given(data=st.data(), links=LINKS, rounds=st.integers(1, 12), end_at=st.integers(1, 8))
def test_a_turn_is_rounds_over_all_links_with_a_word_after_each_empty_one(
    data: st.DataObject, links: int, rounds: int, end_at: int
) -> None:
    found = data.draw(st.lists(st.sampled_from([0, 0, 1, 32]), min_size=links * rounds, max_size=links * rounds))
    programs = data.draw(st.lists(st.booleans(), min_size=links, max_size=links))
    log, told = Log(found), []

    def empty(bursts: int) -> bool:
        told.append(bursts)
        return len(told) == end_at

    turn = new_turn([log.step(k, program) for k, program in enumerate(programs)], rounds)
    assert log.calls == []
    result = turn(empty)
    assert (log.calls, told, result) == expected(found, programs, end_at)


@given(links=LINKS, rounds=st.integers(1, 12))
def test_between_two_empty_rounds_every_link_is_polled(links: int, rounds: int) -> None:
    """What the idle policy "interrupt" stands on: one more poll of all rings before it blocks."""
    log = Log([0] * (links * rounds))

    def empty(bursts: int) -> bool:
        assert sorted(log.calls) == [f"rx {k}" for k in range(links)]
        log.calls.clear()
        return False

    assert new_turn([log.step(k, False) for k in range(links)], rounds)(empty) == (links * rounds, 0)


@pytest.mark.parametrize("program", [False, True])
def test_a_turn_can_be_run_again(program: bool) -> None:
    log = Log([1, 0, 0, 1] * 2)
    turn = new_turn([log.step(k, program) for k in range(2)], 2)
    assert [turn(lambda bursts: False) for _ in range(2)] == [(4, 2), (4, 2)]
    assert not log.found
