"""SIGINT, SIGTERM and SIGHUP (the terminal went away) ask for an orderly stop; nothing else happens in a handler.

SIGINT and SIGHUP that were ignored when the process began stay so: `nohup`, `trap '' INT` and a shell's background jobs
ask for that. SIGTERM is what service managers and `kill` stop with, and what a run stops itself with.
"""

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any

from ixyfwd.kit.process import STOP_SIGNALS


class StopSignals:
    """While entered, signals that ask for a stop set `received` and make `fd` readable, so that a selector wakes up."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        for number in STOP_SIGNALS:
            if number != signal.SIGTERM and signal.getsignal(number) is signal.SIG_IGN:
                continue
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
