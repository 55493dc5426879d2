"""An event loop over epoll: callbacks for descriptors that are ready and for timers that have expired."""

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Final

Callback = Callable[[], None]
Clock = Callable[[], float]

CALLBACKS_A_ROUND: Final = 8
READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class Loop:
    """An event loop whose callbacks run inside `dispatch`, one after the other.

    `fd` is readable while a descriptor's callback waits for `dispatch`.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """Make an empty loop. `clock` gives seconds that never go back."""
        self.clock = clock
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self.fd = self._epoll.fileno()

    def watch(self, fd: int, callback: Callback) -> None:
        """Call `callback` whenever `fd` is readable, broken or closed by its peer."""
        self._callbacks[fd] = callback
        self._epoll.register(fd, READ)

    def wait_for(self, fd: int, *, read: bool, write: bool) -> None:
        """Choose what a watched `fd` waits for from now on. An end by the peer is always reported."""
        self._epoll.modify(fd, (READ if read else 0) | (WRITE if write else 0))

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer, before it is closed. Harmless for a descriptor that is not watched."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_at(self, at_s: float, callback: Callback) -> None:
        """Call `callback` once, when the clock shows `at_s`."""
        heapq.heappush(self._timers, (at_s, next(self._order), callback))

    def dispatch(self, timeout_s: float = 0) -> None:
        """Run the callbacks of what is ready now; wait up to `timeout_s` seconds if nothing is.

        It runs CALLBACKS_A_ROUND of them at most, so that the caller gets its turn. The
        kernel queues a descriptor that was reported behind those that were not, so each
        one is reached.
        """
        if self._timers:
            timeout_s = min(timeout_s, max(0.0, self._timers[0][0] - self.clock()))
        for fd, _ in self._epoll.poll(timeout_s, CALLBACKS_A_ROUND):
            callback = self._callbacks.get(fd)  # an earlier callback of this round may have forgotten it
            if callback is not None:
                callback()
        while self._timers and self._timers[0][0] <= self.clock():
            heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        """Forget all descriptors and timers. The descriptors stay open: they are their owners'."""
        self._epoll.close()
        self._callbacks.clear()
        self._timers.clear()
