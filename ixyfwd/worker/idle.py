"""What a worker does when its rings are empty.

Spinning costs nobody anything while each busy process has a core, and everybody when there are more of them than
cores. A 512-entry ring fills in 34 us at line rate, so the first sleeps are short and grow only with the silence.
"""

import os
import time
from collections.abc import Callable

from ixyfwd.worker.spec import IdlePolicy

SPIN_ROUNDS = 2_000  # some hundreds of microseconds of empty rounds before the CPU is given away
YIELD_ROUNDS = 2_000
FIRST_SLEEP_S = 20e-6
LONG_SLEEP_S = 200e-6
LONG_SLEEP_AFTER_ROUNDS = SPIN_ROUNDS + YIELD_ROUNDS + 5_000  # about a quarter of a second of short sleeps


class Idle:
    """`rest(n)` is called after the n-th empty round in a row; `sleeps` and `yields` count what it did."""

    __slots__ = ("_sleep_after", "_spin_rounds", "rest", "sleeps", "yields")

    def __init__(self, policy: IdlePolicy, shared_cpu: bool) -> None:
        self.sleeps = 0
        self.yields = 0
        # On a shared CPU somebody else has work to do: an empty round is already one too many.
        self._spin_rounds = 1 if shared_cpu else SPIN_ROUNDS
        self._sleep_after = self._spin_rounds + YIELD_ROUNDS
        rests: dict[str, Callable[[int], None]] = {
            "spin": self._spin,
            "adaptive": self._adaptive,
            "sleep": self._sleep,
        }
        self.rest = rests[policy]

    def give_way(self) -> None:
        """Let another process have its turn on this CPU."""
        self.yields += 1
        os.sched_yield()

    def _spin(self, empty_rounds: int) -> None:
        pass

    def _adaptive(self, empty_rounds: int) -> None:
        if empty_rounds <= self._spin_rounds:
            return
        if empty_rounds <= self._sleep_after:
            self.give_way()
        else:
            self._sleep(empty_rounds)

    def _sleep(self, empty_rounds: int) -> None:
        self.sleeps += 1
        time.sleep(LONG_SLEEP_S if empty_rounds > LONG_SLEEP_AFTER_ROUNDS else FIRST_SLEEP_S)
