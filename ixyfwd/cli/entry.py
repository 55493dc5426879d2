"""Where the `ixyfwd` command begins: signals and standard streams first, then what takes time to import."""

import os
import signal
import sys
import time
from types import FrameType
from typing import Any, Final, NoReturn

from ixyfwd.kit.outlet import Outlet

INTERRUPTED: Final = 128 + signal.SIGINT
MESSAGE_S: Final = 2.0  # for the reader of standard error


def main() -> None:
    """Entry point: runs the command line and exits with its code."""
    # The interpreter's start and the imports count too: they were all work and no waiting.
    begun_ns = time.monotonic_ns() - time.process_time_ns()
    interrupts = _Interrupts()
    try:
        interrupts.install()
        open_standard_streams()
        from ixyfwd.cli.app import run  # noqa: PLC0415 - typer takes a tenth of a second

        code = run(sys.argv[1:], begun_ns)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(interrupts.exit_code(code))


class _Interrupt(KeyboardInterrupt):
    """A class of its own: Python ends itself by SIGINT where a plain one has passed through `exec`, as dataclasses
    use it."""


class _Interrupts:
    """SIGTERM and SIGHUP before and after a run: they end the command as Ctrl-C does, so that it leaves nothing behind.
    A run handles them itself."""

    def __init__(self) -> None:
        self._heard: int = signal.SIGINT

    def install(self) -> None:
        """What is ignored stays so."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> NoReturn:
        self._heard = number
        raise _Interrupt(signal.Signals(number).name)

    def exit_code(self, code: int) -> int:
        """128 + the signal's number, as shells have it, if one ended the command."""
        return 128 + self._heard if code == INTERRUPTED else code


def open_standard_streams() -> None:
    """Set the standard streams up: none waits for ever, and a closed one becomes /dev/null.

    So no file that is opened later gets the number of a standard stream.
    """
    # Standard output is opened for reading: a write fails with EBADF as on a closed one, where /dev/null would swallow
    # a result.
    for fd, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, mode)  # the lowest number that is free: this one
            os.set_inheritable(opened, True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    streams: Any = sys  # an Outlet is no TextIO by name
    streams.stdout, streams.stderr = (
        Outlet(fd, getattr(stream, "encoding", None) or "utf-8") for fd, stream in ((1, sys.stdout), (2, sys.stderr))
    )
    streams.stderr.patience_s = MESSAGE_S
