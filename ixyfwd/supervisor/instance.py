"""An instance's run-time directory: its lock, its sockets. One running ixyfwd per instance name."""

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from ixyfwd.errors import IxyfwdError, RefusedError

_LONGEST_SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path with its terminating zero


def runtime_dir(instance: str) -> Path:
    """Where this user's instance of that name keeps its lock and sockets."""
    if os.geteuid() == 0:
        return Path("/run/ixyfwd") / instance
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        return Path(base) / "ixyfwd" / instance
    return Path(f"/tmp/ixyfwd-{os.geteuid()}") / instance  # noqa: S108 - checked to be ours and 0700 below


def control_socket(instance: str) -> Path:
    """Where that instance's supervisor listens."""
    return runtime_dir(instance) / "control.sock"


class Instance:
    """The lock on an instance name, held until `close`. What a dead owner left in the directory is swept."""

    def __init__(self, name: str) -> None:
        """Raises RefusedError if that instance is running, IxyfwdError if the directory cannot be had."""
        self.name = name
        self.dir = runtime_dir(name)
        _make_private(self.dir.parent)
        if len(bytes(self.dir)) + 40 > _LONGEST_SOCKET_PATH_BYTES:
            raise IxyfwdError(
                f"{self.dir}: the path is too long for a Unix socket; set XDG_RUNTIME_DIR to a shorter one"
            )
        self._lock_fd = self._lock()
        for left in self.dir.glob("*.sock"):
            left.unlink(missing_ok=True)

    def _lock(self) -> int:
        while True:
            _make_private(self.dir)
            try:
                fd = os.open(self.dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:  # its last owner has just removed the directory
                continue
            self._lock_or_refuse(fd)
            # A file that its last owner unlinked between our open and our lock is nobody's: the name has another.
            if os.fstat(fd).st_nlink:
                break
            os.close(fd)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def _lock_or_refuse(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise RefusedError(
                f"instance '{self.name}' is already running (pid {owner}); stop it with "
                f"`ixyfwd stop --instance {self.name}`, or start this one under another name with --instance"
            ) from None

    def socket(self, stem: str) -> Path:
        """A path for one of this instance's sockets."""
        return self.dir / f"{stem}.sock"

    def close(self) -> None:
        """Remove what is left of the directory and let the name go."""
        if self._lock_fd < 0:
            return
        for left in self.dir.glob("*.sock"):
            left.unlink(missing_ok=True)
        # While we hold the lock: whoever opened this file before finds it unlinked (see _lock).
        (self.dir / "lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody put a file there, or starts at this moment
            self.dir.rmdir()
        os.close(self._lock_fd)
        self._lock_fd = -1


def _make_private(path: Path) -> None:
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700, parents=True)
        found = path.lstat()
    except FileNotFoundError:
        return  # its last owner removes it at this moment; `_lock` finds out and tries again
    except OSError as error:
        raise IxyfwdError(f"{path}: the run-time directory cannot be made ({error.strerror})") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise RefusedError(f"{path}: must be a directory that only this user can write; remove it and start again")
