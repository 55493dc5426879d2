"""Exclusive locks on files. A lock ends with its holder; a line in the file names the holder, also afterwards."""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ixyfwd.kit.procstat import ENDED, state_of

_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_HINT: Final = re.compile(r"pid (\d+) \(([^()\n]*)\)")
_HINT_BYTES: Final = 100
_LOOK_S: Final = 0.02  # who only looks whether a lock is held has it for less


@dataclass(frozen=True)
class LockHolder:
    """The process that has a lock, as far as the file names it."""

    pid: int | None
    name: str

    @property
    def lives(self) -> bool:
        """Whether there is such a process. The words of one that was killed stay in the file."""
        return self.pid is not None and state_of(self.pid) not in {None, *ENDED}

    def __str__(self) -> str:
        return "another process" if self.pid is None else f"pid {self.pid} ({self.name})"


class LockHeldError(Exception):
    """Another process has the lock. The caller makes a sentence of it: what is locked, and what to do."""

    def __init__(self, holder: LockHolder) -> None:
        super().__init__(f"the lock is held by {holder}")
        self.holder = holder


def try_lock(fd: int) -> bool:
    """Lock an open file until its last descriptor is closed; returns False if another process has the lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class FileLock:
    """A lock, held until `release` or the end of the process; then the line stays in the file (`is_abandoned`)."""

    def __init__(self, path: Path) -> None:
        """Make the file (0600) if there is none. Raises LockHeldError, and OSError if it cannot be written."""
        self._path = path
        self._fd = _open_locked(path)
        try:
            os.ftruncate(self._fd, 0)
            name = Path("/proc/self/comm").read_text(encoding="utf-8", errors="replace").strip()
            os.pwrite(self._fd, f"pid {os.getpid()} ({re.sub('[()]', '', name)})\n".encode(), 0)
        except OSError:
            os.close(self._fd)
            raise

    def remove(self) -> None:
        """Remove the file. A process that opened it before finds it removed once it has the lock, and opens it anew."""
        self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Clear the file and give the lock up. Harmless when called twice."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def is_abandoned(path: Path) -> bool:
    """Whether the holder of a lock file ended without releasing it. False for a file that cannot be opened."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return False
    try:
        return try_lock(fd) and os.fstat(fd).st_size > 0
    finally:
        os.close(fd)


def find_holder(path: Path) -> LockHolder | None:
    """The process that has a lock file, also where it cannot be written.

    None if no process has it, or the file cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # others that only look do not take it for held
    except OSError:
        return _read_holder(fd)
    finally:
        os.close(fd)
    return None


@contextmanager
def left_behind(path: Path) -> Iterator[bool]:
    """Whether there is a lock file without a holder. Inside, nothing else gets its lock."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        yield False
        return
    try:
        yield try_lock(fd) and os.fstat(fd).st_nlink > 0
    finally:
        os.close(fd)


def _open_locked(path: Path) -> int:
    while True:
        fd = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        if not _lock_soon(fd):
            holder = _read_holder(fd)
            os.close(fd)
            raise LockHeldError(holder)
        # If its last holder removed it between our open and our lock, the name belongs to another file by now.
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


def _lock_soon(fd: int) -> bool:
    deadline = time.monotonic() + _LOOK_S
    while not try_lock(fd):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S / 20)
    return True


def _read_holder(fd: int) -> LockHolder:
    found = _HINT.match(os.pread(fd, _HINT_BYTES, 0).decode(errors="replace"))
    return LockHolder(int(found[1]), found[2]) if found else LockHolder(None, "")
