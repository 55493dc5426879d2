"""Who wants to know when a file descriptor is ready."""

import select
from collections.abc import Callable

READ = select.EPOLLIN
READ_WRITE = select.EPOLLIN | select.EPOLLOUT


class Loop:
    """A thin layer over epoll; `fd` is what the data path watches while it works."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self.fd = self._epoll.fileno()

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `fd` is readable, broken or closed by its peer."""
        self._handlers[fd] = handler
        self._epoll.register(fd, READ)

    def wait_to_write(self, fd: int, on: bool) -> None:
        """Also when it is writable."""
        self._epoll.modify(fd, READ_WRITE if on else READ)

    def forget(self, fd: int) -> None:
        """Before `fd` is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def dispatch(self) -> None:
        """Call the handlers of what is ready now; does not wait."""
        for fd, _ in self._epoll.poll(0):
            handler = self._handlers.get(fd)  # an earlier handler of this round may have forgotten it
            if handler is not None:
                handler()

    def close(self) -> None:
        self._epoll.close()
