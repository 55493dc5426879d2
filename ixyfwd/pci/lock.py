"""One user per device. Where VFIO does that itself, sysfs lets anybody in: so a lock file per device.

The file stays when its holder is gone; words in it that nobody holds a lock on mean a holder that was killed, whose
device may still write to memory.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from ixyfwd.errors import IxyfwdError, RefusedError
from ixyfwd.pci.tree import ADDRESS, ROOT

_FOLDER: Final = "run/ixyfwd"
_SUFFIX: Final = ".lock"
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class DeviceLock:
    """Held until `release`, or until the process ends."""

    def __init__(self, address: str, root: Path = ROOT) -> None:
        """Raises RefusedError, which says who holds the device, or IxyfwdError if the file cannot be had."""
        path = root / _FOLDER / f"{address}{_SUFFIX}"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        except OSError as error:
            raise IxyfwdError(f"{address}: the lock {path} cannot be had: {error.strerror}; run as root") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(self._fd)
            raise RefusedError(
                f"{address} is in use by {holder}; stop that first (`ixyfwd stop`), or use another device"
            ) from None
        os.ftruncate(self._fd, 0)
        command = Path("/proc/self/comm").read_text().strip()
        os.pwrite(self._fd, f"pid {os.getpid()} ({command})\n".encode(), 0)

    def release(self) -> None:
        """The device is quiet and free. Harmless when called twice."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def orphans(root: Path = ROOT) -> list[str]:
    """Addresses of devices whose holder was killed."""
    found: list[str] = []
    for path in sorted((root / _FOLDER).glob(f"*{_SUFFIX}")):
        address = path.name.removesuffix(_SUFFIX)
        if ADDRESS.fullmatch(address) and _abandoned(path):
            found.append(address)
    return found


def _abandoned(path: Path) -> bool:
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(fd).st_size > 0
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
