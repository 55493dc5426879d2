"""Lines onto a stream whose reader may go away, stand still, or never have been there."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.outlet import Outlet, UnreadError, is_closed, unwritable

REPORT_S: Final = 2.0  # for the reader of what is written after a run


class LostOutputError(IxyfwdError):
    """The reader did not take the output in time."""


class Lines:
    """A stream of whole lines, written at once.

    A reader that has gone (`| head`) is no error: the rest is not written.
    """

    def __init__(self, stream: TextIO, on_closed: Callable[[], None] | None = None) -> None:
        """`on_closed` is called once, when it is noticed that the reader has gone."""
        self._stream = stream
        self._on_closed = on_closed
        self._closed = False

    def write(self, *lines: str) -> None:
        """Write lines and flush.

        Raises IxyfwdError if the stream cannot be written (a full disk), LostOutputError if the reader does not read.
        """
        if self._closed or not lines:
            return
        try:
            self._stream.write("".join(f"{line}\n" for line in (*self._gap(), *lines)))
            self._stream.flush()
        except UnreadError as error:
            raise LostOutputError(unwritable(error)) from None
        except OSError as error:
            self._closed = True
            silence(self._stream)
            if error.errno != errno.EPIPE:
                raise IxyfwdError(unwritable(error)) from None
            if self._on_closed is not None:
                self._on_closed()

    def _gap(self) -> list[str]:
        """Where lines are missing, a line says so."""
        dropped = self._stream.take_dropped() if isinstance(self._stream, Outlet) and not self._stream.behind else 0
        return [f"note: not read in time and left out here: {dropped} lines"] if dropped else []

    def write_json(self, data: Mapping[str, Any]) -> None:
        """Write one object on one line."""
        self.write(json.dumps(data, default=str))

    def leave_open(self) -> None:
        """From now on a reader that goes away has no consequence."""
        self._on_closed = None


class Progress:
    """Lines about a run that goes on. They hold nothing up, and what goes wrong with them is said once."""

    def __init__(self, stream: TextIO, on_closed: Callable[[], None]) -> None:
        self._lines = Lines(stream, on_closed)
        self._off = is_closed(stream)

    def write(self, *lines: str) -> None:
        """Write what the reader is ready for."""
        if self._off:
            return
        try:
            self._lines.write(*lines)
        except IxyfwdError as error:
            self._off = True
            complain(f"{error}; the run goes on without it")

    def leave_open(self) -> None:
        """The signal handlers are gone: from now on a reader that goes away has no consequence."""
        self._lines.leave_open()


@contextmanager
def holding_nothing_up() -> Iterator[None]:
    """While a run goes on no output waits for its reader; what comes after it waits for REPORT_S."""
    set_patience(0.0, sys.stdout, sys.stderr)
    try:
        yield
    finally:
        set_patience(REPORT_S, sys.stdout, sys.stderr)


def set_patience(seconds: float | None, *streams: TextIO) -> None:
    """How long output waits for its reader: see Outlet."""
    for stream in streams:
        if isinstance(stream, Outlet):
            stream.patience_s = seconds


def write_report(report: Mapping[str, Any], lines: Sequence[str], stream: TextIO, *, json: bool) -> None:
    """The final report of a run: its error on standard error, the rest on `stream`, with `json` on standard output.

    A report that is not read in time is no failure of the run; standard error tells of it. Raises IxyfwdError if it
    cannot be written.
    """
    if report["error"]:
        complain(str(report["error"]))
    try:
        if json:
            Lines(sys.stdout).write_json(report)
        elif not is_closed(stream):
            Lines(stream).write(*lines)
    except LostOutputError as error:
        complain(f"the final report is lost: {error}")


def complain(text: str) -> None:
    """One sentence a line on standard error, if that can be written."""
    with suppress(IxyfwdError):
        Lines(sys.stderr).write(*(f"ixyfwd: {line}" for line in text.splitlines()))


def silence(stream: TextIO) -> None:
    """Let what is still buffered go to /dev/null, or Python complains about it at exit."""
    if isinstance(stream, Outlet):
        return  # buffers nothing
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return  # not a file: nothing will be flushed into it
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
