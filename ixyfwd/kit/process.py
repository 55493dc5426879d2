"""What a child process does for its part: hear its order, settle down, say that it is ready or why it failed."""

import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import Any, Final

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.kit.outlet import Outlet

ORDER_BYTES_MAX: Final = 16 << 20
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SENTENCE_CHARACTERS_MAX: Final = 5000  # twelve bytes each at most: a pipe holds it, so the child never waits
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_TIMERSLACK: Final = 29


def read_order(fd: int) -> Any:
    """The order that the parent wrote; closes `fd`. Raises OSError or ValueError."""
    with os.fdopen(fd, "rb") as file:
        return json.loads(file.read(ORDER_BYTES_MAX))


def tie_to_parent(parent_pid: int) -> None:
    """Be killed when the parent dies. Raises IxyfwdError if it has died before this call."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise IxyfwdError("the process that started this one is gone")


def settle(cpu: int | None, nice: int) -> None:
    """Go where the configuration wants this process; to be called before memory is touched, so that pages come from
    the right node. Raises UsageError if it may not."""
    if nice:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        except PermissionError:
            raise UsageError(f"[cpu] nice = {nice} needs root or CAP_SYS_NICE") from None
    if cpu is not None:
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError as error:
            raise UsageError(f"CPU {cpu} cannot be used: {error.strerror}") from None


def set_name(name: str) -> None:
    """The name that `ps` and `top` show; 15 bytes of it."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]))


def sleep_exactly() -> None:
    """Have the kernel take short sleeps at their word instead of lengthening them by 50 us."""
    _prctl(_PR_SET_TIMERSLACK, 1)


@contextmanager
def stop_signals_held() -> Iterator[None]:
    """What is started inside leaves STOP_SIGNALS to this process, from its first instruction: they are blocked, and a
    blocked signal stays blocked through fork and exec. Here they are delivered afterwards.

    Ctrl-C, a closed terminal, `timeout` and systemd's control-group reach every process of a run, and only the first
    knows in which order they end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stop_signals() -> None:
    """The same for a child that was not started by `Child`."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def freeze_gc() -> None:
    """No collection ever runs again: a full one stops the loop for 3-9 ms, ten rings' worth at line rate."""
    gc.collect()
    gc.freeze()
    gc.disable()


class Words:
    """The child's end of the pipe to the process that started it (`children.Child`)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ready(self) -> None:
        """Say that the child does what it is for. Raises BrokenPipeError if the parent is gone."""
        self._say({"ready": True})

    def failed(self, sentence: str, exit_code: int) -> bool:
        """Say why the child ends; whether the parent could be told."""
        try:
            self._say({"error": sentence[:_SENTENCE_CHARACTERS_MAX], "exit_code": exit_code})
        except OSError:
            return False
        return True

    def _say(self, words: Mapping[str, Any]) -> None:
        os.write(self._fd, json.dumps(words).encode() + b"\n")


def run_child(name: str, words: Words, body: Callable[[], None]) -> int:
    """Run a child to its end; returns its exit code. What goes wrong is one sentence to the parent, or on standard
    error if the parent cannot be told. What the child writes there never waits for its reader."""
    with _stderr_that_never_waits():
        return _run_child(name, words, body)


def _run_child(name: str, words: Words, body: Callable[[], None]) -> int:
    try:
        body()
        return 0
    except IxyfwdError as error:
        sentence, exit_code = str(error), error.exit_code
    except Exception as error:  # a mistake is told in one sentence too, with the place to look at
        sentence, exit_code = f"{type(error).__name__}: {error}{_place(error)}", 1
    if not words.failed(sentence, exit_code):
        sys.stderr.write(f"ixyfwd {name}: {sentence}\n")
    return exit_code


def _stderr_that_never_waits() -> AbstractContextManager[object]:
    if sys.stderr is not sys.__stderr__:
        return nullcontext()  # a caller has its own
    outlet: Any = Outlet(2, lossy=True)
    outlet.patience_s = 0.0
    return redirect_stderr(outlet)


def _place(error: Exception) -> str:
    at = error.__traceback__
    if at is None:
        return ""
    while at.tb_next is not None:
        at = at.tb_next
    return f" ({Path(at.tb_frame.f_code.co_filename).name}, line {at.tb_lineno})"


def _prctl(option: int, argument: object) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)
