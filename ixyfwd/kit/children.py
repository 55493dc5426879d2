"""Child processes: a fresh interpreter by exec, its order in a memfd, its words in a pipe, its end in a pidfd.

Not `multiprocessing`: its spawn method runs the parent's main module again in every
child (typer, rich) and keeps a resource tracker beside them; a bare exec is at its
first statement after 7 ms instead of 41. The child's side is in `process.py`.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.kit.process import stop_signals_held
from ixyfwd.kit.syscalls import memfd_create, pidfd_open

STEP_S: Final = 0.002  # between two looks at a condition that no event announces
_FAILED_END_S: Final = 1.0  # from a child's word that it failed to its end
_WORDS_BYTES_MAX: Final = 64 * 1024
# numpy's BLAS would start a thread per core, with the affinity of before the pinning.
_QUIET_ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_ERRORS: Final = {kind.exit_code: kind for kind in (IxyfwdError, UsageError, RefusedError)}


class Child:
    """A started process, which no stop signal ends.

    It is always started from the main thread: PDEATHSIG follows the thread, not the
    process (prctl(2)).
    """

    def __init__(
        self,
        what: str,
        arguments: Callable[[int, int], Sequence[str]],
        order: Mapping[str, Any],
        fds: Sequence[int] = (),
    ) -> None:
        """Start the process.

        `what` is its name in messages, such as "worker 0".
        `arguments(order_fd, words_fd)` gives the interpreter's arguments: `order_fd` is
        where the child reads its order (JSON), `words_fd` where it writes its `Words`.
        `fds` are further descriptors that the child inherits. Raises IxyfwdError if no
        more processes are allowed.
        """
        order_fd = memfd_create("ixyfwd-order", 0)
        self._words_fd, child_words_fd = os.pipe2(os.O_CLOEXEC)
        try:
            os.write(order_fd, json.dumps(order).encode())
            os.lseek(order_fd, 0, os.SEEK_SET)
            with stop_signals_held():
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                    [sys.executable, "-P", *arguments(order_fd, child_words_fd)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(order_fd, child_words_fd, *fds),
                    env={**os.environ, **_QUIET_ENVIRONMENT},
                )
        except BlockingIOError as error:
            os.close(self._words_fd)
            raise IxyfwdError(
                f"{what} cannot be started: {error.strerror}; no more processes are allowed (`ulimit -u`, pids.max)"
            ) from None
        except BaseException:
            os.close(self._words_fd)
            raise
        finally:
            os.close(order_fd)
            os.close(child_words_fd)
        os.set_blocking(self._words_fd, False)
        self._heard = b""
        self._said: dict[str, Any] = {}
        self.pid = self._process.pid
        try:
            self.pidfd = pidfd_open(self.pid)
        except BaseException:
            self._process.kill()
            self._process.wait()
            os.close(self._words_fd)
            raise
        self.name = f"{what} (pid {self.pid})"

    def wait_ready(self, timeout_s: float, ready: Callable[[], bool] | None = None) -> None:
        """Wait until the child is ready: until `ready()`, or its own word that it is.

        Raises the error that the child reports, or IxyfwdError that says how it ended or that it was not ready in time.
        """
        is_ready = ready or (lambda: bool(self._said.get("ready")))
        step_s = STEP_S if ready else timeout_s
        deadline = time.monotonic() + timeout_s
        poll = select.poll()
        for fd in (self._words_fd, self.pidfd):
            poll.register(fd, select.POLLIN)
        while True:
            ended = not self.alive()
            self._listen()  # after asking whether it ended: a dead child says nothing more
            if "error" in self._said:
                self.wait(_FAILED_END_S)
                raise _ERRORS.get(self._said.get("exit_code", 1), IxyfwdError)(f"{self.name} {self._failure()}")
            if ended:
                raise IxyfwdError(f"{self.name} {self._end()} before it was ready")
            if is_ready():
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise IxyfwdError(f"{self.name} was not ready after {timeout_s:g} s")
            poll.poll(1000 * min(left_s, step_s))

    def _listen(self) -> None:
        """Take what has been written into the pipe: lines of JSON."""
        try:
            while len(self._heard) < _WORDS_BYTES_MAX and (part := os.read(self._words_fd, 4096)):
                self._heard += part
        except BlockingIOError:
            pass
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):  # a line that `Words` did not write, but a library
                self._said.update(json.loads(line))

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the process, also one that is stopped. Harmless if it has ended."""
        self._process.kill()

    def killed_by(self) -> int | None:
        """The number of the signal that ended the process; None if it runs or ended by itself."""
        code = self._process.poll()
        return -code if code is not None and code < 0 else None

    def obituary(self) -> str:
        """How the child ended, and why if it said so: the end of a sentence that begins with its name."""
        if self.alive():
            return "is still running"
        if self._words_fd >= 0:
            self._listen()
        return self._failure() if "error" in self._said else self._end()

    def _failure(self) -> str:
        code = self._process.poll()
        how = f"failed with exit code {self._said.get('exit_code', 1)}" if code is None else self._end()
        return f"{how}: {self._said['error']}"

    def _end(self) -> str:
        code = self._process.returncode
        return f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the process; returns whether it came in time."""
        if self.pidfd >= 0:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            poll.poll(1000 * timeout_s)
        return not self.alive()

    def end(self, grace_s: float) -> None:
        """Give the process `grace_s` seconds to end by itself, then kill it; close the descriptors.

        Harmless when called twice.
        """
        if not self.wait(grace_s):
            self._process.kill()
            self._process.wait()
        for fd in (self._words_fd, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self._words_fd = self.pidfd = -1


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def wait_until(condition: Callable[[], object], timeout_s: float, step_s: float = STEP_S) -> bool:
    """Poll `condition()` until it is true or the time is up; returns its last truth."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return bool(condition())
        time.sleep(step_s)
    return True
