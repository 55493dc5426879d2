"""The poll loop: for each link rx burst -> program -> tx burst, and now and then a look around."""

import time
from collections.abc import Callable
from typing import Final

from ixyfwd.roles.work import SHARED_CPU_ROUNDS, Fused, Work
from ixyfwd.telemetry.counters import NOT_LOOKED, Command, State, Word
from ixyfwd.worker.idle import Idle, Rest
from ixyfwd.worker.pauses import Pauses
from ixyfwd.worker.rounds import Turn, new_turn

HOUSEKEEPING_ROUNDS: Final = 128  # rounds between two looks at the command word
FUSED_CALLS: Final = 16  # between two looks at the command word, while idle; each is some empty rounds


class PollLoop:
    """The poll loop of a worker, until the supervisor's command word ends it.

    Writes the worker's words of its counters page.
    """

    def __init__(
        self, work: Work, page: memoryview, idle: Idle, shared_cpu: bool, pauses: Pauses | None = None
    ) -> None:
        """`page` is the counters page, uint64[words]. Without `pauses` none are counted."""
        self._fused = work if isinstance(work, Fused) else None
        self._steps = () if isinstance(work, Fused) else tuple(work)
        self._rest: Rest = idle.rest
        self._page = page
        self._idle = idle
        # A worker that takes the place of a dead one goes on with its counters.
        idle.sleeps, idle.yields, idle.wakeups = (page[w] for w in (Word.SLEEPS, Word.YIELDS, Word.WAKEUPS))
        self._shared_cpu = shared_cpu
        # Where the CPU is shared, wall time would charge this worker for the others' turns.
        self._clock: Callable[[], int] = time.thread_time_ns if shared_cpu else time.monotonic_ns
        self._pauses = pauses or Pauses(page)
        self._busy_since = 0
        self._busy = False
        self._empty_rounds = 0  # in a row
        self._empty_in_turn = 0
        self._bursts_in_turn = 0  # until its last empty round
        self._spell_bursts = 0  # since _busy_since

    def run(self) -> None:
        """Poll until QUIT. After DRAIN the first empty round is reported as DRAINED: nothing is left in the rings."""
        page = self._page
        turn = new_turn(self._steps, SHARED_CPU_ROUNDS if self._shared_cpu else HOUSEKEEPING_ROUNDS)
        round_ = new_turn(self._steps, 1)
        self._busy_since = self._clock()
        page[Word.STATE] = State.READY
        while page[Word.COMMAND] != Command.QUIT:
            draining = page[Word.COMMAND] == Command.DRAIN
            # Nothing new comes while draining, so there is nothing to rest for.
            self._rest = _no_rest if draining else self._idle.rest
            if self._fused:
                moved = self._calls(self._fused.once, 1) if draining else self._calls(self._fused.forward, FUSED_CALLS)
            else:
                moved = self._rounds(round_ if draining else turn)
            self._housekeep()
            if moved and self._shared_cpu:
                # Left to the scheduler, a busy worker keeps the CPU for milliseconds, while the others' rings
                # overflow within tens of microseconds.
                self._idle.give_way()
                self._busy_since = self._clock()  # changing turns is not forwarding
            if draining and not moved:
                page[Word.STATE] = State.DRAINED
                self._wait_for_quit()

    def _rounds(self, turn: Turn) -> int:
        """One turn, which a long rest ends early; returns how many bursts had frames."""
        page = self._page
        self._empty_in_turn = self._bursts_in_turn = 0
        steps, bursts = turn(self._empty_round)
        if bursts > self._bursts_in_turn:
            self._busy = True
            self._empty_rounds = 0
        page[Word.POLLS] += steps // len(self._steps)
        page[Word.EMPTY_POLLS] += self._empty_in_turn
        page[Word.BURSTS] += bursts
        self._spell_bursts = bursts - self._bursts_in_turn
        return bursts

    def _empty_round(self, bursts: int) -> bool:
        """What is done when no link has frames; `bursts` of this turn had some. True: it may have taken long."""
        # The clock is read only here, where there is time for it: a busy spell lasts from the last empty round before
        # it to the first one after it.
        page, pauses, before = self._page, self._pauses, self._bursts_in_turn
        now = self._clock()
        gap_ns = now - self._busy_since
        if gap_ns > pauses.longer_than_ns:
            pauses.judge(gap_ns, bursts - before, page[Word.BURSTS] + before)
        if self._busy or bursts > before:
            page[Word.BUSY_NS] += gap_ns
            self._busy = False
            self._bursts_in_turn = bursts
            self._empty_rounds = 0
        self._empty_in_turn += 1
        self._empty_rounds += 1
        meant_ns = self._rest(self._empty_rounds)
        self._busy_since = self._clock()
        if meant_ns < 0:
            return True
        if self._busy_since - now - meant_ns > pauses.longer_than_ns:
            pauses.judge(self._busy_since - now - meant_ns, 0, page[Word.BURSTS] + bursts)
        return False

    def _calls(self, forward: Callable[[], int], calls: int) -> int:
        """Up to `calls` calls of the fused loop, which counts rounds, bursts and busy time itself. The last one is that
        which ends in the middle of traffic, or before a turn of others, or a long rest. Returns the number of bursts
        that had frames."""
        bursts = 0
        for _ in range(calls):
            done = forward()
            if done >> 16:
                bursts += done >> 16
                self._empty_rounds = 0
            if not done & 0xFFFF or (bursts and self._shared_cpu):
                break
            self._empty_rounds += 1  # a call's empty rounds are one here: they take as long as one of Python's
            meant_ns = self._rest(self._empty_rounds)
            if meant_ns < 0:
                self._page[Word.LOOKED_NS] = NOT_LOOKED
                break
            if meant_ns:
                self._page[Word.LOOKED_NS] += meant_ns
        return bursts

    def _housekeep(self) -> None:
        page = self._page
        page[Word.HEARTBEAT] += 1
        page[Word.SLEEPS] = self._idle.sleeps
        page[Word.YIELDS] = self._idle.yields
        page[Word.WAKEUPS] = self._idle.wakeups
        if self._busy:
            now = self._clock()
            if now - self._busy_since > self._pauses.longer_than_ns:
                bursts = self._spell_bursts
                self._pauses.judge(now - self._busy_since, bursts, page[Word.BURSTS] - bursts)
            page[Word.BUSY_NS] += now - self._busy_since
            self._busy_since = now
        if page[Word.FIRST_TX_NS] == 0 and page[Word.BURSTS]:
            page[Word.FIRST_TX_NS] = time.monotonic_ns()

    def _wait_for_quit(self) -> None:
        while self._page[Word.COMMAND] != Command.QUIT:
            self._page[Word.HEARTBEAT] += 1
            time.sleep(1e-3)


def _no_rest(empty_rounds: int) -> int:
    return 0
