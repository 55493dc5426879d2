"""Starting a child: a fresh interpreter by exec, its orders in a memfd, its words in a pipe, its end in a pidfd.

Not `multiprocessing`: its spawn method runs the parent's main module again in every child (typer, rich) and keeps a
resource tracker beside them; a bare exec is at its first statement after 7 ms instead of 41.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# numpy's BLAS would start a thread per core, with the affinity of before the pinning.
_QUIET_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Child:
    """A started process. Always started from the main thread: PDEATHSIG follows the thread, not the process."""

    def __init__(
        self,
        what: str,
        arguments: Callable[[int, int], Sequence[str]],
        order: Mapping[str, Any],
        fds: Sequence[int] = (),
    ) -> None:
        """`arguments(order_fd, words_fd)` are the interpreter's: where the order (JSON) is and where words may go."""
        self.what = what
        order_fd = os.memfd_create(f"ixyfwd-{what}", 0)
        self.words_fd, child_words_fd = os.pipe2(os.O_CLOEXEC)
        try:
            os.write(order_fd, json.dumps(order).encode())
            os.lseek(order_fd, 0, os.SEEK_SET)
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                [sys.executable, "-P", *arguments(order_fd, child_words_fd)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(order_fd, child_words_fd, *fds),
                env={**os.environ, **_QUIET_ENVIRONMENT},
            )
        finally:
            os.close(order_fd)
            os.close(child_words_fd)
        os.set_blocking(self.words_fd, False)
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)

    def words(self) -> str:
        """What the child has written into its pipe since the last call."""
        try:
            return os.read(self.words_fd, 65536).decode(errors="replace")
        except BlockingIOError:
            return ""

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def killed_by(self) -> int | None:
        """The signal that ended it, if one did."""
        code = self._process.poll()
        return -code if code is not None and code < 0 else None

    def obituary(self) -> str:
        """How a dead child ended, as the end of a sentence."""
        code = self._process.poll()
        if code is None:
            return "is still running"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came in time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, grace_s: float) -> None:
        """Give it `grace_s` to end by itself, then kill it; close the descriptors. Harmless when called twice."""
        if not self.wait(grace_s):
            self._process.kill()
            self._process.wait()
        for fd in (self.words_fd, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.words_fd = self.pidfd = -1


def wait_until(condition: Any, timeout_s: float, step_s: float = 0.002) -> bool:
    """Poll `condition()` until it is true or the time is up; returns its last truth."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return bool(condition())
        time.sleep(step_s)
    return True
