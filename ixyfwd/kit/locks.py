"""Exclusive locks on files. A lock dies with its holder; words in the file say who that is, or was."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ixyfwd.kit.procstat import ENDED, state_of

_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_HINT: Final = re.compile(r"pid (\d+) \(([^()\n]*)\)")
_HINT_BYTES: Final = 100


@dataclass(frozen=True)
class Holder:
    """Who has a lock, as far as the file tells."""

    pid: int | None
    name: str

    @property
    def lives(self) -> bool:
        """Whether there is such a process. The words of one that was killed stay in the file."""
        return self.pid is not None and state_of(self.pid) not in {None, *ENDED}

    def __str__(self) -> str:
        return "another process" if self.pid is None else f"pid {self.pid} ({self.name})"


class LockHeldError(Exception):
    """The lock is another's. To be turned into a sentence that says what is locked, and what to do."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"the lock is held by {holder}")
        self.holder = holder


def try_lock(fd: int) -> bool:
    """Lock an open file until its last descriptor is closed; whether that could be done now."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class FileLock:
    """Held until `release`, or until the process ends; then the words stay, see `is_abandoned`."""

    def __init__(self, path: Path) -> None:
        """Make the file (0600) if there is none. Raises LockHeldError, and OSError if the file cannot be had."""
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
        """Remove the file. Who opened it before finds it removed once it has the lock, and looks for the new one."""
        self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Clear the words, let go. Harmless when called twice."""
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


def holder_of(path: Path) -> Holder | None:
    """Who has the lock on a file; None if nothing has it, or there is no such file that can be opened."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        return None if try_lock(fd) else _read_holder(fd)
    finally:
        os.close(fd)


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
        if not try_lock(fd):
            holder = _read_holder(fd)
            os.close(fd)
            raise LockHeldError(holder)
        # If its last holder removed it between our open and our lock, the name belongs to another file by now.
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


def _read_holder(fd: int) -> Holder:
    found = _HINT.match(os.pread(fd, _HINT_BYTES, 0).decode(errors="replace"))
    return Holder(int(found[1]), found[2]) if found else Holder(None, "")
