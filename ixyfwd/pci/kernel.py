"""The common base of functions reached through the kernel: configuration space as a part of a file."""

import errno
import os
from typing import Final

from ixyfwd.errors import DeviceError, DeviceGoneError, RefusedError

COMMAND: Final = 0x04
COMMAND_MEMORY: Final = 1 << 1
COMMAND_BUS_MASTER: Final = 1 << 2
CONFIG_BYTES: Final = 256
_ABSENT: Final = 0xFFFF
_GONE: Final = (errno.ENODEV, errno.ENXIO, errno.EIO)


class KernelFunction:
    """The configuration space of a function, at `_config_at` of the file `_config_fd`.

    A part of `pci.function.Function`. The file is the subclass's to open and close.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.removal_fd = -1
        self._config_fd = -1
        self._config_at = 0

    def read_config(self, offset: int, size: int) -> int:
        """Read `size` bytes (1, 2 or 4) of configuration space, little endian. Raises DeviceError, ValueError."""
        self._check_config(offset, size)
        try:
            data = os.pread(self._config_fd, size, self._config_at + offset)
        except OSError as error:
            raise self._failed("configuration space cannot be read", error) from None
        if len(data) != size:
            raise DeviceError(
                f"{self.address}: {len(data)} of {size} bytes of configuration space at {offset:#x} were read; "
                "run as root, which may read all of it"
            )
        return int.from_bytes(data, "little")

    def write_config(self, offset: int, size: int, value: int) -> None:
        """Write `size` bytes (1, 2 or 4) of configuration space, little endian. Raises DeviceError, ValueError."""
        self._check_config(offset, size)
        try:
            os.pwrite(self._config_fd, value.to_bytes(size, "little"), self._config_at + offset)
        except OSError as error:
            raise self._failed("configuration space cannot be written", error) from None

    def set_bus_master(self, on: bool) -> None:
        """Switch bus mastering (command register, bit 2). Raises DeviceError."""
        self._set_command(COMMAND_BUS_MASTER, on=on)

    def _set_command(self, bit: int, *, on: bool) -> None:
        old = self._command()
        self.write_config(COMMAND, 2, old | bit if on else old & ~bit)

    def _command(self) -> int:
        """The command register; it is never all ones while there is a device."""
        found = self.read_config(COMMAND, 2)
        if found == _ABSENT:
            raise self._gone("configuration space reads all ones")
        return found

    def _demand_quiet(self) -> None:
        """Check that bus mastering is off. Raises RefusedError if it is on."""
        if self._command() & COMMAND_BUS_MASTER:
            raise RefusedError(f"{self.address}: bus mastering is on; switch it off before the memory is unmapped")

    def _failed(self, what: str, error: OSError) -> DeviceError:
        if error.errno in _GONE:
            return self._gone(f"{what} ({error.strerror})")
        return DeviceError(f"{self.address}: {what}: {error.strerror}")

    def _gone(self, found: str) -> DeviceGoneError:
        return DeviceGoneError(
            f"{self.address}: {found}: the device has left the bus (removed, powered off or reset by another process); "
            "bring it back (echo 1 > /sys/bus/pci/rescan) and start again"
        )

    def _check_config(self, offset: int, size: int) -> None:
        if size not in (1, 2, 4) or offset % size or not 0 <= offset <= CONFIG_BYTES - size:
            raise ValueError(f"{self.address}: no aligned configuration word of {size} bytes at {offset:#x}")

    def _check_register(self, offset: int, bar_bytes: int) -> None:
        if offset % 4 or not 0 <= offset <= bar_bytes - 4:
            raise ValueError(f"{self.address}: no register at BAR0 + {offset:#x}, BAR0 has {bar_bytes:#x} bytes")
