"""A lock file per device, so that one process uses it: VFIO sees to that itself, sysfs does not.

The file stays when its holder is gone. A line in it while no process has the lock means
that the holder was killed, and that its device may still write to memory.
"""

from pathlib import Path
from typing import Final

from ixyfwd.errors import IxyfwdError, RefusedError
from ixyfwd.kit.locks import FileLock, LockHeldError, is_abandoned
from ixyfwd.kit.pciaddress import is_pci_address
from ixyfwd.pci.tree import ROOT

_FOLDER: Final = "run/ixyfwd"
_SUFFIX: Final = ".lock"


class DeviceLock:
    """The lock of a device, held until `release` or the end of the process."""

    def __init__(self, address: str, root: Path = ROOT) -> None:
        """Take the lock. Raises RefusedError, which names the holder, or IxyfwdError if the file cannot be written."""
        path = root / _FOLDER / f"{address}{_SUFFIX}"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(path)
        except OSError as error:
            raise IxyfwdError(
                f"{address}: the lock {path} cannot be taken: {error.strerror}; run as root, where /run can be written"
            ) from None
        except LockHeldError as held:
            raise RefusedError(
                f"{address} is in use by {held.holder}; stop that first (`ixyfwd stop`), or use another device"
            ) from None

    def release(self) -> None:
        """Give the lock up: the device is quiet and free. Harmless when called twice."""
        self._lock.release()


def orphans(root: Path = ROOT) -> list[str]:
    """The addresses of devices whose holder was killed."""
    found: list[str] = []
    for path in sorted((root / _FOLDER).glob(f"*{_SUFFIX}")):
        address = path.name.removesuffix(_SUFFIX)
        if is_pci_address(address) and is_abandoned(path):
            found.append(address)
    return found
