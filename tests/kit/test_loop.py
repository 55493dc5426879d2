"""The event loop: what is ready, in turn, and moments that have come."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest

from ixyfwd.kit.loop import CALLBACKS_A_ROUND, Loop
from tests.testing.kit_desk import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> Iterator[Loop]:
    with closing(Loop(clock)) as found:
        yield found


def test_a_crowd_gets_its_turns_evenly_and_lets_the_caller_have_its_own(loop: Loop) -> None:
    """Sixty descriptors that are always ready: some in each round, all as often as each other."""
    fds = [os.eventfd(1) for _ in range(60)]
    turns: Counter[int] = Counter()
    for fd in fds:
        loop.watch(fd, lambda fd=fd: turns.update([fd]))  # type: ignore[misc]
    for done in range(1, 16):
        loop.dispatch()
        assert turns.total() == done * CALLBACKS_A_ROUND
    assert set(turns.values()) == {2}
    assert set(turns) == set(fds)
    for fd in fds:
        loop.forget(fd)
        loop.forget(fd)
        os.close(fd)


def test_a_callback_may_forget_what_is_ready_too(loop: Loop) -> None:
    first, second = os.eventfd(1), os.eventfd(1)
    called: list[int] = []

    def forget_the_other(fd: int, other: int) -> None:
        called.append(fd)
        loop.forget(other)

    for fd, other in ((first, second), (second, first)):
        loop.watch(fd, partial(forget_the_other, fd, other))
    loop.dispatch()
    assert len(called) == 1
    for fd in (first, second):
        os.close(fd)


def test_what_is_waited_for_can_change(loop: Loop) -> None:
    reading, writing = os.pipe()
    called: list[str] = []
    loop.watch(writing, lambda: called.append("writable"))
    loop.dispatch()
    assert not called, "it waits for reading"
    loop.wait_for(writing, read=False, write=True)
    loop.dispatch()
    assert called == ["writable"]
    loop.wait_for(writing, read=False, write=False)
    loop.dispatch()
    assert called == ["writable"]
    os.close(reading)
    loop.dispatch()
    assert called == ["writable"] * 2, "that the peer is gone is always told"
    loop.forget(writing)
    os.close(writing)


def test_timers_run_when_they_are_due_and_in_order(loop: Loop, clock: Clock) -> None:
    called: list[str] = []
    loop.call_at(clock() + 2, lambda: called.append("b"))
    loop.call_at(clock() + 1, lambda: called.append("a"))
    loop.call_at(clock() + 2, lambda: called.append("c"))
    loop.dispatch()
    assert not called
    clock.now_s += 1
    loop.dispatch(60)  # does not wait: one is due
    assert called == ["a"]
    clock.now_s += 1
    loop.dispatch()
    loop.dispatch()
    assert called == ["a", "b", "c"]
