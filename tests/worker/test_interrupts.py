"""The idle policy "interrupt": real eventfds, no device. Above all: no frame is slept through."""

import mmap
import os
import select
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.roles.work import Step
from ixyfwd.telemetry.counters import PAGE_BYTES, Command, State, Word
from ixyfwd.worker.idle import INTERRUPT_SPIN_ROUNDS, Idle
from ixyfwd.worker.loop import PollLoop

LONG_MS = 10_000


@contextmanager
def eventfds(count: int) -> Iterator[list[int]]:
    found = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(count)]
    yield found
    for fd in found:
        os.close(fd)


@pytest.fixture
def ports() -> Iterator[list[int]]:
    with eventfds(2) as found:
        yield found


class Poll:
    """`select.poll`, which first lets a test do what happens while the worker blocks."""

    def __init__(self) -> None:
        self._real = select.poll()
        self.meanwhile: Callable[[], None] = lambda: None
        self.timeouts_ms: list[float] = []

    def register(self, fd: int, events: int) -> None:
        self._real.register(fd, events)

    def poll(self, timeout_ms: float) -> list[tuple[int, int]]:
        self.timeouts_ms.append(timeout_ms)
        self.meanwhile()
        return self._real.poll(0)


@contextmanager
def idle_on(
    fds: Sequence[int], shared_cpu: bool = False, spin_rounds: int = INTERRUPT_SPIN_ROUNDS
) -> Iterator[tuple[Idle, Poll]]:
    poll = Poll()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ixyfwd.worker.idle.INTERRUPT_SPIN_ROUNDS", spin_rounds)
        patch.setattr("ixyfwd.worker.idle.select.poll", lambda: poll)
        yield Idle("interrupt", shared_cpu, fds), poll


@pytest.mark.parametrize("shared_cpu", [False, True])
def test_polls_a_while_then_blocks_until_a_message(ports: list[int], shared_cpu: bool) -> None:
    """With a timeout of seconds: only the message ends the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ixyfwd.worker.idle.INTERRUPT_WAIT_MS", LONG_MS)
        idle = Idle("interrupt", shared_cpu, ports)
        spin_rounds = 1 if shared_cpu else INTERRUPT_SPIN_ROUNDS
        os.eventfd_write(ports[0], 3)  # of frames that were polled
        assert not any(idle.rest(n) for n in range(1, spin_rounds + 1))
        assert (idle.sleeps, idle.wakeups, idle.yields) == (0, 0, 0)
        for block, fd in enumerate((ports[1], ports[0], ports[1]), 1):
            os.eventfd_write(fd, 1)
            assert idle.rest(spin_rounds + block)
            assert (idle.sleeps, idle.wakeups) == (block, block)
    assert not select.select(ports, [], [], 0)[0], "every message was taken"


def test_a_block_ends_by_itself(ports: list[int]) -> None:
    with idle_on(ports) as (idle, poll):
        assert idle.rest(INTERRUPT_SPIN_ROUNDS + 1)
        assert (idle.sleeps, idle.wakeups) == (1, 0)
        assert 0 < poll.timeouts_ms[0] < 500  # the supervisor waits longer than that for an answer to its commands


class Ring:
    """A ring and its interrupt, on a clock that counts looks at the ring and blocks of the worker.

    `frames` are (moment, whether the poll of that moment still sees it). A write-back is followed by a message: at
    once, or when `interval` moments have passed since the one before.
    """

    def __init__(self, fd: int, frames: Sequence[tuple[int, bool]], interval: int) -> None:
        self._fd = fd
        self._frames = deque(sorted(frames, key=lambda frame: (frame[0], not frame[1])))
        self._interval = interval
        self._now = 0
        self._quiet_until = 0
        self._told = True
        self.waiting = 0

    def look(self) -> int:
        """Whatever has been written back by now."""
        self._now += 1
        self._arrive(before_look=True)
        taken, self.waiting = self.waiting, 0
        self._arrive(before_look=False)
        return taken

    def pass_time(self) -> bool:
        """A moment in which the worker blocks; False when nothing will ever happen any more."""
        self._now += 1
        self._arrive(before_look=True)
        self._arrive(before_look=False)
        return bool(self._frames or not self._told)

    def _arrive(self, before_look: bool) -> None:
        while self._frames and (self._frames[0][0], not self._frames[0][1]) <= (self._now, not before_look):
            self._frames.popleft()
            self.waiting += 1
            self._told = False
        if not self._told and self._now >= self._quiet_until:
            os.eventfd_write(self._fd, 1)
            self._quiet_until = self._now + self._interval
            self._told = True


FRAMES = st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=12)


@settings(max_examples=300, deadline=None)
@given(FRAMES, FRAMES, st.integers(0, 12), st.booleans())
def test_no_frame_is_slept_through(
    first: list[tuple[int, bool]], second: list[tuple[int, bool]], interval: int, shared_cpu: bool
) -> None:
    """Frames come at any moment, between any two steps of the worker; a block with a frame in a ring has its message,
    or is about to have it."""
    with eventfds(2) as fds, idle_on(fds, shared_cpu, spin_rounds=5) as (idle, poll):
        rings = [Ring(fds[0], first, interval), Ring(fds[1], second, interval)]
        page = memoryview(mmap.mmap(-1, PAGE_BYTES)).cast("Q")
        seen = 0

        def meanwhile() -> None:
            to_come = len(rings)
            while not select.select(fds, [], [], 0)[0]:
                if not to_come:
                    assert not any(ring.waiting for ring in rings), "it sleeps, and a frame waits"
                    page[Word.COMMAND] = Command.DRAIN
                    return
                to_come = sum(ring.pass_time() for ring in rings)

        def rx(ring: Ring) -> int:
            nonlocal seen
            if page[Word.COMMAND] == Command.DRAIN:
                page[Word.COMMAND] = Command.QUIT
            found = ring.look()
            seen += found
            return found

        poll.meanwhile = meanwhile
        steps = [Step(lambda ring=ring: rx(ring), None, lambda: 0) for ring in rings]  # type: ignore[misc]
        PollLoop(steps, page, idle, shared_cpu).run()
        assert seen == len(first) + len(second)
        assert idle.wakeups <= len(first) + len(second)


def test_commands_are_seen_right_after_a_block(ports: list[int]) -> None:
    """Also by a worker that nobody woke."""
    page = memoryview(mmap.mmap(-1, PAGE_BYTES)).cast("Q")
    with idle_on(ports) as (idle, poll), pytest.MonkeyPatch.context() as patch:
        poll.meanwhile = lambda: page.__setitem__(Word.COMMAND, Command.DRAIN)
        patch.setattr("ixyfwd.worker.loop.time.sleep", lambda _: page.__setitem__(Word.COMMAND, Command.QUIT))
        PollLoop([Step(lambda: 0, None, lambda: 0)], page, idle, False).run()
    assert page[Word.STATE] == State.DRAINED
    assert (page[Word.SLEEPS], page[Word.WAKEUPS]) == (1, 0)
    assert page[Word.POLLS] == INTERRUPT_SPIN_ROUNDS + 2  # as many before the block, and the one that drains
