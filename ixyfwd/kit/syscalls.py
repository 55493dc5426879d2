"""System calls that some builds of Python lack, and their numbers.

Builds for old C libraries (conda, uv's standalone Pythons) have no `os.memfd_create`, no `os.pidfd_open` and no seals
in `fcntl`, even where the kernel has them. The C library or the kernel is asked here instead.
"""

import ctypes
import errno
import fcntl
import os
from typing import Final

from ixyfwd.errors import IxyfwdError

# linux/memfd.h, linux/fcntl.h
CLOEXEC: Final = 0x0001
ALLOW_SEALING: Final = 0x0002
HUGETLB: Final = 0x0004
HUGE_2MB: Final = 21 << 26
_F_ADD_SEALS: Final = 1033
_SEAL_SEAL: Final = 0x0001
_SEAL_SHRINK: Final = 0x0002
_SEAL_GROW: Final = 0x0004

_PIDFD_OPEN: Final = 434  # the same number on every architecture
_EVENT_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # EFD_NONBLOCK and EFD_CLOEXEC are defined as these


def memfd_create(name: str, flags: int = CLOEXEC) -> int:
    """A file in memory without a path. Raises OSError, IxyfwdError where there is no such call."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, flags)
    return _libc("memfd_create", "glibc 2.27 or musl 1.1.20", ctypes.c_char_p(os.fsencode(name)), ctypes.c_uint(flags))


def seal_size(fd: int) -> None:
    """The size of a file in memory stays: who gets the descriptor can take no pages away under the others."""
    fcntl.fcntl(fd, _F_ADD_SEALS, _SEAL_SHRINK | _SEAL_GROW | _SEAL_SEAL)


def pidfd_open(pid: int) -> int:
    """A descriptor that is readable when the process ends. Raises OSError, IxyfwdError where there is no such call."""
    try:
        if hasattr(os, "pidfd_open"):
            return os.pidfd_open(pid)
        return _libc("syscall", "a C library", ctypes.c_long(_PIDFD_OPEN), ctypes.c_int(pid), ctypes.c_uint(0))
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise IxyfwdError("this kernel has no pidfd_open; Linux 5.3 or newer is needed") from None
        raise


def eventfd() -> int:
    """A counter at 0 that never blocks and is not inherited. Raises OSError."""
    if hasattr(os, "eventfd"):
        return os.eventfd(0, _EVENT_FLAGS)
    return _libc("eventfd", "a C library", ctypes.c_uint(0), ctypes.c_int(_EVENT_FLAGS))


def _libc(name: str, least: str, *arguments: object) -> int:
    """Call a function that returns a descriptor."""
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except AttributeError:
        raise IxyfwdError(f"neither this Python nor its C library has {name}; {least} or newer is needed") from None
    fd = int(function(*arguments))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd
