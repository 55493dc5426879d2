"""What a worker does when its rings are empty.

Spinning is free while each busy process has a core; when there are more of them than cores, it slows all of them
down. A 512-entry ring fills in 34 us at line rate, so the first sleeps are short and grow only with the silence.

"interrupt" polls as long as frames come and for a moment longer, and then sleeps until a port has some:

    poll until nothing came for a while | empty the eventfds | poll all rings once more | block on the eventfds

A frame cannot arrive unseen between the last poll and the block. The device writes a descriptor back before it sends
the message that tells of it, and messages do not overtake the data before them on PCI Express. So what the last poll
did not see has its message after that poll, hence after the eventfds were emptied: they count it, and the block ends
at once. It needs every write-back to be followed by a message, without any register being written in between: the
driver leaves all causes enabled and has the device clear them by itself (see its `interrupts.py`). Messages that come
while the worker polls are only counted, and EITR limits how many those are.
"""

import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from ixyfwd.worker.spec import IdlePolicy

Rest = Callable[[int], int]
"""Called after the n-th empty round in a row; the ns that it meant to be away: 0 if it kept the CPU or only let others
go first, WAITED if it waited for a message, possibly so long that commands should be looked at."""

WAITED = -1
NS_PER_S = 1e9
SPIN_ROUNDS = 2_000  # some hundreds of microseconds of empty rounds before the CPU is given away
YIELD_ROUNDS = 2_000
FIRST_SLEEP_NS = 20_000
LONG_SLEEP_NS = 200_000
LONG_SLEEP_AFTER_ROUNDS = SPIN_ROUNDS + YIELD_ROUNDS + 5_000  # about a quarter of a second of short sleeps
INTERRUPT_SPIN_ROUNDS = 200  # about what it costs to fall asleep and be woken
INTERRUPT_WAIT_MS = 100  # the longest block: heartbeat and commands are words in memory, which wake no process


class Idle:
    """The idle policy of a worker.

    `rest(n)` is called after the n-th empty round in a row; `sleeps`, `yields` and
    `wakeups` count what it did.
    """

    __slots__ = ("_fds", "_messages", "_sleep_after", "_spin_rounds", "rest", "sleeps", "wakeups", "yields")

    def __init__(self, policy: IdlePolicy, shared_cpu: bool, interrupt_fds: Sequence[int] = ()) -> None:
        """`interrupt_fds` are eventfds that do not block, for the policy "interrupt"."""
        self.sleeps = 0
        self.yields = 0
        self.wakeups = 0
        # On a shared CPU another process has work to do: one empty round is enough.
        spin_rounds = INTERRUPT_SPIN_ROUNDS if policy == "interrupt" else SPIN_ROUNDS
        self._spin_rounds = 1 if shared_cpu else spin_rounds
        self._sleep_after = self._spin_rounds + YIELD_ROUNDS
        self._fds = tuple(interrupt_fds)
        self._messages = select.poll()
        for fd in self._fds:
            self._messages.register(fd, select.POLLIN)
        rests: dict[str, Rest] = {
            "spin": self._spin,
            "adaptive": self._adaptive,
            "sleep": self._sleep,
            "interrupt": self._interrupt,
        }
        self.rest = rests[policy]

    def give_way(self) -> None:
        """Let another process have its turn on this CPU."""
        self.yields += 1
        os.sched_yield()

    def _spin(self, empty_rounds: int) -> int:
        return 0

    def _adaptive(self, empty_rounds: int) -> int:
        if empty_rounds <= self._spin_rounds:
            return 0
        if empty_rounds <= self._sleep_after:
            self.give_way()
            return 0
        return self._sleep(empty_rounds)

    def _sleep(self, empty_rounds: int) -> int:
        self.sleeps += 1
        asked_ns = LONG_SLEEP_NS if empty_rounds > LONG_SLEEP_AFTER_ROUNDS else FIRST_SLEEP_NS
        time.sleep(asked_ns / NS_PER_S)
        return asked_ns

    def _interrupt(self, empty_rounds: int) -> int:
        if empty_rounds < self._spin_rounds:
            return 0
        if empty_rounds > self._spin_rounds:
            self.sleeps += 1
            if self._messages.poll(INTERRUPT_WAIT_MS):
                self.wakeups += 1
        # A round follows before the next block, whichever way this one ended.
        self._empty_eventfds()
        return WAITED if empty_rounds > self._spin_rounds else 0

    def _empty_eventfds(self) -> None:
        for fd in self._fds:
            with suppress(BlockingIOError):  # it is empty already
                os.read(fd, 8)
