"""What the kernel shows as files, read and written. `root` is "/" except in tests."""

import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from ixyfwd.errors import IxyfwdError
from ixyfwd.host.altnames import alternative_names

_MODPROBE_TIMEOUT_S: Final = 60.0


class Kernel:
    """The kernel's files. Paths are given from "/", as a person would type them, and looked up below `root`."""

    def __init__(self, root: str | Path = "/") -> None:
        self._root = Path(os.path.realpath(root))

    def at(self, path: str) -> Path:
        """The path below `root` that `path` means."""
        return self._root / path.lstrip("/")

    def text(self, path: str) -> str:
        """The content of a file without blanks at its ends; empty if there is no such file or it cannot be read.

        sysfs fails reads of what has no value at the moment (the speed of an interface that is down).
        """
        try:
            return self.at(path).read_text(errors="replace").strip()
        except OSError:
            return ""

    def number(self, path: str) -> int | None:
        """An integer, decimal or with 0x; None if there is none."""
        try:
            return int(self.text(path), 0)
        except ValueError:
            return None

    def names(self, path: str) -> list[str]:
        """Entries of a directory in order; none if there is no such directory."""
        try:
            return sorted(os.listdir(self.at(path)))
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory at `path`, below the root."""
        return self.at(path).exists()

    def link(self, path: str) -> str:
        """Target of a symbolic link as it is written; empty if there is none."""
        try:
            return os.readlink(self.at(path))
        except OSError:
            return ""

    def real(self, path: str) -> str:
        """`path` with all symbolic links followed."""
        below = os.path.relpath(os.path.realpath(self.at(path)), self._root)
        return "/" if below == "." else f"/{below}"

    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """IP addresses with prefix lengths by interface, of this process's network namespace."""
        found: dict[str, tuple[str, ...]] = {}
        for label, entries in psutil.net_if_addrs().items():
            name = label.partition(":")[0]  # eth0:1 is a label for a second address of eth0
            listed = tuple(
                _with_prefix(entry.address, entry.netmask)
                for entry in entries
                if entry.family in (socket.AF_INET, socket.AF_INET6)
            )
            found[name] = found.get(name, ()) + listed
        return found

    def alternative_names(self) -> Mapping[str, tuple[str, ...]]:
        """Further names of interfaces, of this process's network namespace, by their own."""
        return alternative_names()

    def check_privilege(self) -> None:
        """Check that this process may change drivers. Raises IxyfwdError if not."""
        if os.geteuid() != 0:
            raise IxyfwdError("only root can take a device from its driver or give it back; run it with sudo")

    def write(self, path: str, value: str) -> None:
        """One write(2) to a file that exists. Raises IxyfwdError."""
        try:
            fd = os.open(self.at(path), os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, f"{value}\n".encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise IxyfwdError(f"{path}: writing {value!r} failed ({error.strerror}); `dmesg` may say why") from None

    def modprobe(self, module: str) -> None:
        """Load a module. Raises IxyfwdError with what modprobe said."""
        program = shutil.which("modprobe", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            raise IxyfwdError(
                f"the module {module} is not loaded and modprobe is not installed; load it by other means"
            )
        try:
            done = subprocess.run(  # noqa: S603 - argv, and the name is checked where it comes from a file
                [program, module], capture_output=True, text=True, check=False, timeout=_MODPROBE_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise IxyfwdError(f"`modprobe {module}` did not end within {_MODPROBE_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise IxyfwdError(f"{program} cannot be run ({error.strerror})") from None
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"status {done.returncode}"
            raise IxyfwdError(f"`modprobe {module}` failed: {said}")

    def replace(self, path: str, data: bytes) -> None:
        """Write a file of mode 0600 so that after a power cut either the old or the new one is there whole.

        Raises OSError; the old file is then still there.
        """
        target = self.at(path)
        new = target.with_name(f"{target.name}.new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
            new.rename(target)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            raise
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _with_prefix(address: str, netmask: str | None) -> str:
    plain = address.partition("%")[0]
    if not netmask:
        return plain
    return f"{plain}/{int(ipaddress.ip_address(netmask)).bit_count()}"
