"""An instance's run-time directory: its lock, its sockets. One running ixyfwd per instance name."""

import contextlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ixyfwd.errors import IxyfwdError, RefusedError
from ixyfwd.kit.listener import PATH_LIMIT_BYTES
from ixyfwd.kit.locks import FileLock, LockHeldError
from ixyfwd.supervisor.instances import LOCK, Running, describe, living, remove_left, sweep_dead

SWEEP_S: Final = 1.0  # for another process to let go of a name whose owner was killed
SWEEP_STEP_S: Final = 0.002


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


def living_instances() -> list[Running]:
    """Those of this user, by name: runs of every kind, each under the name that it took."""
    return living(runtime_dir("default").parent)


class Instance:
    """The lock on an instance name, held until `close`. What a dead owner left in the directory is swept."""

    def __init__(self, name: str) -> None:
        """Raises RefusedError if that instance is running, IxyfwdError if the directory cannot be had."""
        self.name = name
        self.dir = runtime_dir(name)
        _make_private(self.dir.parent)
        if len(bytes(self.dir)) + 40 > PATH_LIMIT_BYTES:
            raise IxyfwdError(
                f"{self.dir}: the path is too long for a Unix socket; set XDG_RUNTIME_DIR to a shorter one"
            )
        self._lock = self._take()
        self._closed = False
        remove_left(self.dir)
        sweep_dead(self.dir.parent)

    def describe(self, command: str, device: str, ports: Sequence[str]) -> None:
        """Say what `ixyfwd instances` shows: the command, whether ports are simulated, their device addresses."""
        with contextlib.suppress(OSError):  # a full disk costs a line in a list
            describe(self.dir, command, device, ports)

    def _take(self) -> FileLock:
        deadline = time.monotonic() + SWEEP_S
        while True:
            _make_private(self.dir)
            try:
                return FileLock(self.dir / LOCK)
            except FileNotFoundError:  # its last owner has just removed the directory
                continue
            except OSError as error:
                raise IxyfwdError(f"{self.dir}: the lock cannot be had ({error.strerror})") from None
            except LockHeldError as held:
                if not held.holder.lives and time.monotonic() < deadline:
                    time.sleep(SWEEP_STEP_S)  # another start sweeps it, or a list looks at it
                    continue
                raise RefusedError(
                    f"instance '{self.name}' is already running as {held.holder}; stop it with "
                    f"`ixyfwd stop --instance {self.name}`, or start this one under another name with --instance"
                ) from None

    def socket(self, stem: str) -> Path:
        """A path for one of this instance's sockets."""
        return self.dir / f"{stem}.sock"

    def close(self) -> None:
        """Remove what is left of the directory and let the name go."""
        if self._closed:
            return
        self._closed = True
        remove_left(self.dir)
        self._lock.remove()
        with contextlib.suppress(OSError):  # somebody put a file there, or starts at this moment
            self.dir.rmdir()
        self._lock.release()


def _make_private(path: Path) -> None:
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700, parents=True)
        found = path.lstat()
    except FileNotFoundError:
        return  # its last owner removes it at this moment; `_take` finds out and tries again
    except OSError as error:
        raise IxyfwdError(f"{path}: the run-time directory cannot be made ({error.strerror})") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise RefusedError(f"{path}: must be a directory that only this user can write; remove it and start again")
