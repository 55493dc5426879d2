"""SIGINT, SIGTERM and SIGHUP (the terminal went away) ask for an orderly stop; nothing else happens in a handler."""

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any


class StopSignals:
    """While entered, these signals set `received` and make `fd` readable, so that a selector wakes up."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._old[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        with contextlib.suppress(BlockingIOError):  # then it is readable already
            os.write(self._write_fd, b"!")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)
        os.close(self.fd)
        os.close(self._write_fd)
