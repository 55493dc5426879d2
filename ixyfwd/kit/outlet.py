"""Text output whose reader may stop reading: a terminal after Ctrl-S, a pipe into a stuck log collector.

An ordinary file's `write` waits for the reader, and with it the whole process. Here a
thread writes, and the caller says how long it waits. The descriptor's flags are left
alone: O_NONBLOCK would hold for every process that has the same terminal or pipe open.
"""

import errno
import fcntl
import io
import os
import select
import signal
import threading
import time
from collections import deque
from typing import Final, TextIO

from ixyfwd.errors import IxyfwdError

GLANCE_S: Final = 0.05  # a reader that keeps up takes a text sooner, so that an error is reported at once
WAITING_BYTES_MAX: Final = 64 * 1024  # for a reader that is behind


class OutputError(OSError):
    """A descriptor that cannot be written: its reader has gone, the disk is full, or it is closed."""


class UnreadError(OutputError):
    """A text that the reader did not take in time."""


class Outlet(io.TextIOBase):
    """A text stream that writes each text whole or drops it whole. Its thread starts with the first `write`.

    `patience_s` is how many seconds `write` waits for the reader. None: as long as it
    takes, as an ordinary file does; 0: not at all, and a text is dropped when the
    reader is too far behind.
    """

    def __init__(self, fd: int, encoding: str = "utf-8", *, lossy: bool = False) -> None:
        """Write to `fd`. `lossy`: a text that cannot be written is lost without an error."""
        self.patience_s: float | None = None
        self._lossy = lossy
        self._fd = fd
        self._encoding = encoding
        self._errors = "backslashreplace"  # file names may hold characters that the encoding lacks
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0  # with those that are being written
        self._dropped = 0
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the text."""
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        """The handler for characters that the encoding lacks."""
        return self._errors

    @property
    def behind(self) -> bool:
        """Whether the reader has still to take something that was written."""
        return self._waiting_bytes > 0

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Whether a terminal reads."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """True: the stream is for output."""
        return True

    def write(self, text: str) -> int:
        """Hand a text over; returns its characters.

        Raises OutputError if this text or one before it cannot be written, UnreadError
        if a `patience_s` above 0 runs out.
        """
        data = text.encode(self._encoding, self._errors)
        patience_s = self.patience_s
        with self._changed:
            if self._waiting_bytes and self._waiting_bytes + len(data) > WAITING_BYTES_MAX and patience_s is not None:
                self._wait_for_reader(patience_s)
                if self.behind:
                    self._dropped += 1
                    return self._unread(len(text))
            glance_s = 0.0 if self.behind else GLANCE_S
            self._raise_error()
            if not self._started():
                return self._write_without_thread(text, data)
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify_all()
            self._wait_for_reader(None if patience_s is None else max(patience_s, glance_s))
            self._raise_error()
            return self._unread(len(text)) if self.behind else len(text)

    def flush(self) -> None:
        """Do nothing: `write` has waited."""

    def take_dropped(self) -> int:
        """The number of texts dropped since the last call."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def _unread(self, length: int) -> int:
        if self.patience_s:
            self.patience_s = 0.0  # the next text would wait for the same reader
            raise UnreadError(errno.ETIMEDOUT, "its reader does not read")
        return length

    def _wait_for_reader(self, timeout_s: float | None) -> None:
        """Wait until all is written, or cannot be."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._waiting_bytes and self._error is None:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                return
            self._changed.wait(left_s)

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None and not self._lossy:
            raise OutputError(error.errno, error.strerror)

    def _write_without_thread(self, text: str, data: bytes) -> int:
        """Where no thread is to be had (`ulimit -u`, pids.max): once the reader has room for a text's beginning."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(None if self.patience_s is None else 1000 * self.patience_s):
            self._dropped += 1
            return self._unread(len(text))
        try:
            _write_whole(self._fd, data)
        except OSError as error:
            self._error = error
            self._raise_error()
        return len(text)

    def _started(self) -> bool:
        """Whether there is a thread; it is started if there is none."""
        if self._thread is not None:
            return True
        thread = threading.Thread(target=self._run, name="output", daemon=True)  # stuck, it does not outlive main
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the main thread waits for them
        try:
            thread.start()
        except RuntimeError:
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                data = self._waiting.popleft()
            failure = None
            try:
                _write_whole(self._fd, data)
            except OSError as error:
                failure = error
            with self._changed:
                self._waiting_bytes -= len(data)
                self._error = failure or self._error
                self._changed.notify_all()


def _write_whole(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # another process that has it open set O_NONBLOCK
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def unwritable(error: OSError) -> str:
    """The sentence for output that cannot be written."""
    why = "it is closed" if error.errno == errno.EBADF else error.strerror
    return f"the output cannot be written ({why})"


def is_closed(stream: TextIO) -> bool:
    """Whether a stream was closed (`>&-`) when the command began."""
    try:
        return fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    except (OSError, ValueError):
        return False  # no descriptor behind it


def check_open(stream: TextIO) -> None:
    """Check a stream before work whose only result is printed on it. Raises IxyfwdError if it is closed."""
    if is_closed(stream):
        raise IxyfwdError(unwritable(OutputError(errno.EBADF, "")))


def can_draw(stream: object) -> bool:
    """Whether a stream is a terminal that understands escape sequences."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


def has_colours(stream: object) -> bool:
    """Whether a stream can draw and colours are wanted on it (https://no-color.org)."""
    return can_draw(stream) and not os.environ.get("NO_COLOR")
