"""The child's side of `children`: it reads its order, settles down, says that it is ready or why it failed."""

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
    """The order that the parent wrote, as `json` reads it; closes `fd`. Raises OSError or ValueError."""
    with os.fdopen(fd, "rb") as file:
        return json.loads(file.read(ORDER_BYTES_MAX))


def tie_to_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends. Raises IxyfwdError if it has ended before this call."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise IxyfwdError("the process that started this one is gone")


def settle(cpu: int | None, nice: int) -> None:
    """Move this process to the CPU and the nice value that the configuration gives it.

    It comes before memory is touched, so that pages come from the right NUMA node.
    `cpu` None: not pinned. Raises UsageError if the process may not.
    """
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
    """Set the name that `ps` and `top` show; the kernel keeps 15 bytes of it (prctl(2))."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]))


def sleep_exactly() -> None:
    """Set the timer slack to 1 ns: the kernel otherwise lengthens short sleeps by 50 us (prctl(2))."""
    _prctl(_PR_SET_TIMERSLACK, 1)


@contextmanager
def stop_signals_held() -> Iterator[None]:
    """Block STOP_SIGNALS in processes that are started inside, from their first instruction on.

    A blocked signal stays blocked through fork and exec. In this process the signals
    are delivered afterwards. Ctrl-C, a closed terminal, `timeout` and systemd's
    control-group reach every process of a run, and only the first process knows in
    which order they end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stop_signals() -> None:
    """Ignore STOP_SIGNALS, in a child that was not started by `Child`."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def freeze_gc() -> None:
    """Switch the garbage collector off: a full collection stops the loop for 3-9 ms, ten rings at line rate."""
    gc.collect()
    gc.freeze()
    gc.disable()


class Words:
    """The child's end of the pipe to the process that started it (`children.Child`)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ready(self) -> None:
        """Say that the child is ready. Raises BrokenPipeError if the parent is gone."""
        self._say({"ready": True})

    def failed(self, sentence: str, exit_code: int) -> bool:
        """Say why the child ends; returns whether the parent could be told."""
        try:
            self._say({"error": sentence[:_SENTENCE_CHARACTERS_MAX], "exit_code": exit_code})
        except OSError:
            return False
        return True

    def _say(self, words: Mapping[str, Any]) -> None:
        os.write(self._fd, json.dumps(words).encode() + b"\n")


def run_child(name: str, words: Words, body: Callable[[], None]) -> int:
    """Run a child to its end; returns its exit code.

    An error is one sentence to the parent, or on standard error if the parent cannot be
    told. Output on standard error never waits for its reader.
    """
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
        return nullcontext()  # the caller has redirected it
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
