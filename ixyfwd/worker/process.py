"""What a process does to itself before it polls: tied to its parent, pinned, quiet."""

import ctypes
import gc
import os
import signal

from ixyfwd.errors import IxyfwdError

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_TIMERSLACK = 29


def tie_to_parent(parent_pid: int) -> None:
    """Be killed when the parent dies, even if it died before this call."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise SystemExit(1)


def settle(name: str, cpu: int | None, nice: int) -> None:
    """Pin, name the process for `ps` and `top`, take short sleeps at their word, leave signals to the supervisor.

    Raises IxyfwdError if it may not have the nice value.
    """
    if nice:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        except PermissionError:
            raise IxyfwdError(f"{name}: [cpu] nice = {nice} needs root or CAP_SYS_NICE") from None
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]))
    _prctl(_PR_SET_TIMERSLACK, 1)
    # Ctrl-C, a closed terminal and systemd's SIGTERM reach the whole group; the supervisor drains first and then
    # says QUIT.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def freeze_gc() -> None:
    """No collection ever runs again: a full one stops the loop for 3-9 ms, ten rings' worth at line rate."""
    gc.collect()
    gc.freeze()
    gc.disable()


def _prctl(option: int, argument: object) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)
