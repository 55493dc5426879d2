"""The files of a PCI function as sysfs has them, in a directory of our own."""

import contextlib
import os
from pathlib import Path

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.kit.locks import try_lock
from ixyfwd.model.chip.pciconfig import BAR0_BYTES, CONFIG_BYTES, VENDOR_INTEL
from ixyfwd.model.port import SimulatedPort
from ixyfwd.vfiouser.protocol import Region

BAR0_ADDRESS = 0xF0000000  # `resource` must name one; the port is not there
MEMORY_64_PREFETCHABLE = 0x0014220C
RESOURCES = 13  # lines of `resource`
BAR, CONFIG = "resource0", "config"
NAMES = frozenset(
    {BAR, CONFIG, "vendor", "device", "subsystem_vendor", "subsystem_device", "class", "revision", "resource"}
    | {"numa_node", "enable", "irq", "uevent"}
)


def _texts(device_id: int) -> dict[str, str]:
    memory = f"{BAR0_ADDRESS:#018x} {BAR0_ADDRESS + BAR0_BYTES - 1:#018x} {MEMORY_64_PREFETCHABLE:#018x}\n"
    return {
        "vendor": f"{VENDOR_INTEL:#06x}\n",
        "device": f"{device_id:#06x}\n",
        "subsystem_vendor": f"{VENDOR_INTEL:#06x}\n",
        "subsystem_device": "0x0003\n",
        "class": "0x020000\n",
        "revision": "0x01\n",
        "resource": memory + f"{0:#018x} {0:#018x} {0:#018x}\n" * (RESOURCES - 1),
        "numa_node": "-1\n",
        "enable": "1\n",
        "irq": "0\n",
        "uevent": f"PCI_CLASS=20000\nPCI_ID={VENDOR_INTEL:04X}:{device_id:04X}\n",
    }


class DeviceDirectory:
    """A directory that looks like the function's in sysfs.

    Mode 0700, files 0600. There is no `driver` and no `iommu_group`, as of a function
    that no kernel driver has.
    """

    def __init__(self, path: str, device_id: int) -> None:
        """Raises RefusedError if another model serves it, UsageError or IxyfwdError if it cannot be made."""
        self._path = Path(path)
        self._made = _make_way(self._path)
        with contextlib.ExitStack() as stack:
            stack.callback(self._remove)
            try:
                self.bar_fd = self._create(BAR, BAR0_BYTES)
                stack.callback(os.close, self.bar_fd)
                if not try_lock(self.bar_fd):
                    raise _served(path)
                self.config_fd = self._create(CONFIG, CONFIG_BYTES)
                stack.callback(os.close, self.config_fd)
                for name, text in _texts(device_id).items():
                    fd = self._create(name, 0)
                    os.write(fd, text.encode())
                    os.close(fd)
            except OSError as error:
                raise IxyfwdError(f"cannot make the device directory {path}: {error.strerror}") from None
            self._stack = stack.pop_all()

    def _create(self, name: str, size: int) -> int:
        fd = os.open(self._path / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.truncate(fd, size)
        return fd

    def _remove(self) -> None:
        """A directory that was there before stays, empty."""
        for name in NAMES:
            with contextlib.suppress(OSError):
                os.unlink(self._path / name)
        if self._made:
            with contextlib.suppress(OSError):
                self._path.rmdir()

    def close(self) -> None:
        """Remove the directory with its files."""
        self._stack.close()


def _served(path: str | Path) -> RefusedError:
    return RefusedError(f"another model serves {path}; stop it or choose another path")


def _make_way(path: Path) -> bool:
    """An empty directory at `path`; whether it was made. What a killed model left behind is removed."""
    try:
        path.mkdir(mode=0o700)
        return True
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError(f"cannot make the device directory {path}: {error.strerror}") from None
    if not path.is_dir():
        raise UsageError(f"cannot make the device directory {path}: a file is there; remove it or choose another path")
    found = set(os.listdir(path))
    if found - NAMES:
        name = min(found - NAMES)
        raise UsageError(f"{path} holds {name!r}, which is no file of a device directory; choose another path")
    if BAR in found:
        with open(path / BAR, "rb") as bar:
            if not try_lock(bar.fileno()):
                raise _served(path)
    for name in found:
        (path / name).unlink()
    return False


class ConfigFile:
    """Configuration space in a file; its commands are looked at as often as `exchange` is called."""

    def __init__(self, port: SimulatedPort, fd: int) -> None:
        self._port = port
        self._fd = fd
        self._shown = bytes(CONFIG_BYTES)

    def exchange(self) -> None:
        """Hand over what was written, show what came of it."""
        now = os.pread(self._fd, CONFIG_BYTES, 0).ljust(CONFIG_BYTES, b"\0")
        at = 0
        while now[at:] != self._shown[at:]:
            while now[at] == self._shown[at]:
                at += 1
            end = at + 1
            while end < CONFIG_BYTES and now[end] != self._shown[end]:
                end += 1
            self._port.region_write(Region.CONFIG, at, now[at:end])
            at = end
        self._shown = self._port.region_read(Region.CONFIG, 0, CONFIG_BYTES)
        if self._shown != now:
            os.pwrite(self._fd, self._shown, 0)
