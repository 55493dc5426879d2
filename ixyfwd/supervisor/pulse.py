"""Whether a process that should move does: what it counts in shared memory tells, and the kernel says why it does not.

A process is looked at once a tick. Time is counted in looks and not in seconds: where this process itself was stopped,
with all others, nothing is said of them.
"""

from collections.abc import Callable, Hashable
from typing import Final, Literal

from ixyfwd.kit.procstat import STOPPED, state_of

Held = Literal["stopped", "stuck"]
STUCK_LOOKS: Final = 3  # in a row at which nothing has moved; no turn of a loop takes that long


class Pulse:
    """The pulse of one process. `held` is what keeps it: "stopped" (by a signal or a debugger), "stuck", or None."""

    def __init__(self, pid: int, read: Callable[[], Hashable], state: Callable[[int], str | None] = state_of) -> None:
        """`read` gives a value that differs whenever the process has done something since."""
        self.held: Held | None = None
        self._pid = pid
        self._read = read
        self._state = state
        self._last: Hashable = None
        self._still = 0  # looks in a row

    def look(self) -> Held | None:
        """Judge the process anew, once a tick."""
        if self._moved():
            self._still = 0
            self.held = None
            return None
        self._still += 1
        if self._state(self._pid) in STOPPED:
            self.held = "stopped"
        elif self._still >= STUCK_LOOKS:
            self.held = "stuck"
        return self.held

    def glance(self) -> Held | None:
        """Look between ticks whether a held process has gone on."""
        if self.held is not None and self._moved():
            self._still = 0
            self.held = None
        return self.held

    def _moved(self) -> bool:
        last, self._last = self._last, self._read()
        return last != self._last
