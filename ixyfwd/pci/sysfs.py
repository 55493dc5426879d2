"""A PCI function through /sys, by physical addresses: for machines without an IOMMU."""

import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ixyfwd.errors import DeviceError, DeviceGoneError, IxyfwdError, RefusedError
from ixyfwd.pci.function import DmaMap, Window
from ixyfwd.pci.kernel import COMMAND_MEMORY, KernelFunction
from ixyfwd.pci.lock import DeviceLock, orphans
from ixyfwd.pci.physical import HUGEPAGE_BYTES, physical_pages
from ixyfwd.pci.tree import ROOT, device_path, driver_of, iommu_translates, virtual_functions

_UIO_DRIVERS = ("uio_pci_generic", "igb_uio")
_PAGE_BYTES = 4096


class SysfsFunction(KernelFunction):
    """A function reached through /sys. Implements `pci.function.Function`.

    It has no other user: no kernel driver (those of uio leave it alone), no other
    ixyfwd, no virtual functions.
    """

    def __init__(self, address: str, root: Path = ROOT) -> None:
        """Open the function.

        Raises UsageError if there is no such device, RefusedError if it is in use or
        physical addresses would be wrong, DeviceGoneError, DeviceError.
        """
        super().__init__(address)
        self._root = root
        self._path = device_path(address, root)
        self._bar_path = str(self._path / "resource0")
        self._refuse_unsafe()
        self._lock = DeviceLock(address, root)
        self._bar_fd = -1
        self._bar: memoryview | None = None
        try:
            self._config_fd = self._open("config")
            # The last user may have left it on: the device writes nothing until the driver allows it.
            self.set_bus_master(False)
            self._set_command(COMMAND_MEMORY, on=True)
            self._bar_fd = self._open("resource0")
            self._bar_bytes = os.fstat(self._bar_fd).st_size
            self._bar = self._map()
        except BaseException:
            self.close()
            raise

    def _refuse_unsafe(self) -> None:
        address, root = self.address, self._root
        driver = driver_of(address, root)
        if driver is not None and driver not in _UIO_DRIVERS:
            raise RefusedError(f"{address} is held by the kernel's driver {driver}; free it: ixyfwd bind {address}")
        enabled = virtual_functions(address, root)
        if enabled:
            raise RefusedError(
                f"{address} has {enabled} virtual functions enabled, which may be in use; as root: "
                f"echo 0 > /sys/bus/pci/devices/{address}/sriov_numvfs"
            )
        if iommu_translates(address, root):
            raise RefusedError(
                f"{address} is behind an IOMMU that translates, so physical addresses are wrong there; use vfio-pci: "
                f"ixyfwd bind {address} --driver vfio-pci"
            )

    def _open(self, name: str) -> int:
        path = self._path / name
        try:
            return os.open(path, os.O_RDWR | os.O_SYNC | os.O_CLOEXEC)
        except OSError as error:
            raise IxyfwdError(
                f"{self.address}: {path} cannot be opened: {error.strerror}; run as root, on a kernel that is not "
                "locked down (/sys/kernel/security/lockdown)"
            ) from None

    def _map(self) -> memoryview:
        try:
            return memoryview(mmap.mmap(self._bar_fd, self._bar_bytes)).cast("I")
        except (OSError, ValueError) as error:
            raise DeviceError(f"{self.address}: BAR0 cannot be mapped: {error}") from None

    def read32(self, offset: int) -> int:
        """Read the register at `offset` of BAR0: one aligned 32-bit load. Raises DeviceGoneError, ValueError."""
        return self._registers(offset)[offset // 4]

    def write32(self, offset: int, value: int) -> None:
        """Write the register at `offset` of BAR0: one aligned 32-bit store (see `mmio.map_window`)."""
        self._registers(offset)[offset // 4] = value

    def _registers(self, offset: int) -> memoryview:
        self._check_register(offset, self._bar_bytes)
        # Once the kernel has removed the device, an access to the mapping is a SIGBUS.
        if self._bar is None or not os.path.exists(self._bar_path):
            raise self._gone("the kernel has removed the device")
        return self._bar

    def map_dma(self, fd: int, size: int) -> DmaMap:
        """Look up the physical addresses of the file's hugepages, which it must keep until `unmap_dma`.

        Raises RefusedError for a file of ordinary pages, IxyfwdError if the kernel
        hides the addresses.
        """
        try:
            return DmaMap(HUGEPAGE_BYTES, physical_pages(fd, size, self._root))
        except RefusedError as error:
            raise RefusedError(f"{self.address}: {error}") from None
        except IxyfwdError as error:
            raise IxyfwdError(f"{self.address}: {error}") from None

    def unmap_dma(self) -> None:
        """Check that bus mastering is off; there is no mapping to undo. Raises RefusedError if it is on."""
        self._demand_quiet()

    def window(self, bar_offset: int, size: int) -> Window | None:
        """The window of all of BAR0 if it has the `size` bytes; its file descriptor is closed with this object."""
        if bar_offset < 0 or bar_offset + size > self._bar_bytes or self._bar_bytes % _PAGE_BYTES:
            return None
        return Window(self._bar_fd, 0, 0, self._bar_bytes)

    def interrupt_vectors(self) -> int:
        """Zero: sysfs cannot hand interrupts to a process."""
        return 0

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        """Refuse to deliver interrupts, which sysfs cannot. Raises RefusedError unless `eventfds` is empty."""
        if eventfds:
            raise RefusedError(f"{self.address}: interrupts are not delivered through sysfs; use vfio-pci")

    def reset(self) -> None:
        """Reset the function by the kernel, which restores configuration space; bus mastering is off afterwards.

        A device that the kernel cannot reset is left to the driver's own reset.
        """
        path = self._path / "reset"
        if path.exists():
            try:
                path.write_text("1")
            except OSError as error:
                raise self._failed(f"the reset by {path} failed", error) from None
        self.set_bus_master(False)
        self._set_command(COMMAND_MEMORY, on=True)

    def close(self) -> None:
        """Switch bus mastering off, close the files and give the lock up. Harmless when called twice."""
        if self._config_fd >= 0:
            with suppress(DeviceError):
                self.set_bus_master(False)
        if self._bar is not None:
            mapping = self._bar.obj
            self._bar.release()
            if isinstance(mapping, mmap.mmap):
                mapping.close()
            self._bar = None
        for fd in (self._bar_fd, self._config_fd):
            if fd >= 0:
                os.close(fd)
        self._bar_fd = self._config_fd = -1
        self._lock.release()


def quiet_orphans(root: Path = ROOT) -> list[str]:
    """Switch bus mastering off on devices whose ixyfwd was killed; returns their addresses.

    Only after this may the memory that the devices were given be freed. A device that a
    kernel driver has taken since is left to that driver. Raises what `lock.DeviceLock`
    and configuration space raise.
    """
    quieted: list[str] = []
    for address in orphans(root):
        path = root / "sys/bus/pci/devices" / address / "config"
        if not path.exists() or driver_of(address, root) is not None:
            continue
        lock = DeviceLock(address, root)
        try:
            _Configuration(address, path).silence()
            quieted.append(address)
        finally:
            lock.release()
    return quieted


class _Configuration(KernelFunction):
    """A function of which only configuration space is opened."""

    def __init__(self, address: str, path: Path) -> None:
        super().__init__(address)
        self._config_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def silence(self) -> None:
        """Switch bus mastering off; a device that has left the bus needs none of that."""
        try:
            with suppress(DeviceGoneError):
                self.set_bus_master(False)
        finally:
            os.close(self._config_fd)
