"""One user per device. Where VFIO does that itself, sysfs lets anybody in: so a lock file per device.

The file stays when its holder is gone; words in it that nobody holds a lock on mean a holder that was killed, whose
device may still write to memory.
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
    """Held until `release`, or until the process ends."""

    def __init__(self, address: str, root: Path = ROOT) -> None:
        """Raises RefusedError, which says who holds the device, or IxyfwdError if the file cannot be had."""
        path = root / _FOLDER / f"{address}{_SUFFIX}"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(path)
        except OSError as error:
            raise IxyfwdError(f"{address}: the lock {path} cannot be had: {error.strerror}; run as root") from None
        except LockHeldError as held:
            raise RefusedError(
                f"{address} is in use by {held.holder}; stop that first (`ixyfwd stop`), or use another device"
            ) from None

    def release(self) -> None:
        """The device is quiet and free. Harmless when called twice."""
        self._lock.release()


def orphans(root: Path = ROOT) -> list[str]:
    """Addresses of devices whose holder was killed."""
    found: list[str] = []
    for path in sorted((root / _FOLDER).glob(f"*{_SUFFIX}")):
        address = path.name.removesuffix(_SUFFIX)
        if is_pci_address(address) and is_abandoned(path):
            found.append(address)
    return found
