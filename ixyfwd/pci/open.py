"""Opening a function: its address, and the driver that holds the device, decide how it is reached."""

from pathlib import Path
from types import TracebackType
from typing import Self

from ixyfwd.errors import UsageError
from ixyfwd.kit.pciaddress import is_pci_address
from ixyfwd.pci.function import Function
from ixyfwd.pci.sysfs import SysfsFunction
from ixyfwd.pci.tree import ROOT, driver_of
from ixyfwd.pci.vfio import VfioFunction
from ixyfwd.pci.vfio_container import VfioContainer
from ixyfwd.pci.vfio_user import VfioUserFunction

VFIO_USER_PREFIX = "vfio-user:"
_VFIO_DRIVER = "vfio-pci"


class Opener:
    """The opener of one run's functions, which share one VFIO container.

    So they have one space of device addresses, and memory is locked once. It is closed
    after the functions.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._container = VfioContainer(root)

    def open(self, address: str) -> Function:
        """Open the function at an address.

        `address` is `vfio-user:` and the path of a server's socket, or a PCI address
        such as 0000:03:00.0, whose device is bound to vfio-pci or to no driver.

        Raises UsageError for an address that cannot be used, RefusedError for a device
        that is in use, and DeviceError or its subclasses if the device does not answer
        as it should.
        """
        if address.startswith(VFIO_USER_PREFIX):
            path = address.removeprefix(VFIO_USER_PREFIX)
            if not path:
                raise UsageError(
                    f"the device address {address!r} has no path; write vfio-user:/path/of/the/server.sock"
                )
            return VfioUserFunction(address, path)
        if not is_pci_address(address):
            raise UsageError(
                f"the device address {address!r} is of an unknown kind; write a PCI address such as 0000:03:00.0 or "
                "vfio-user:/path/of/the/server.sock"
            )
        if driver_of(address, self._root) == _VFIO_DRIVER:
            return VfioFunction(address, self._container)
        return SysfsFunction(address, self._root)

    def close(self) -> None:
        """Close the container. Harmless when called twice."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_function(address: str) -> Function:
    """Open a function as `Opener.open`, with a VFIO container of its own that lives as long as the process."""
    return Opener().open(address)
