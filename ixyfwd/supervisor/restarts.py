"""The limit on restarts of one worker: how soon it is started again after a death, and when it is given up."""

from collections import deque
from typing import Final

FIRST_DELAY_S: Final = 0.1  # after the second death in a window; the first restart does not wait
LONGEST_DELAY_S: Final = 5.0


class RestartLimit:
    """The deaths of one worker within the last `window_s` seconds, `restarts` of which are followed by a restart."""

    def __init__(self, restarts: int, window_s: float) -> None:
        """Begin without deaths. `restarts`: at least 1."""
        self._restarts = restarts
        self._window_s = window_s
        self._deaths: deque[float] = deque()

    def delay_after(self, death_s: float) -> float | None:
        """The time in seconds from a death to the restart, twice as long each time; None: the worker is given up.

        `death_s`: when it died, by a clock that never goes back.
        """
        while self._deaths and self._deaths[0] < death_s - self._window_s:
            self._deaths.popleft()
        self._deaths.append(death_s)
        before = len(self._deaths) - 1
        if before >= self._restarts:
            return None
        return min(FIRST_DELAY_S * 2 ** (before - 1), LONGEST_DELAY_S) if before else 0.0
