"""From an address to a function: the address alone decides how the device is reached."""

from ixyfwd.errors import UsageError
from ixyfwd.pci.function import Function
from ixyfwd.pci.vfio_user import VfioUserFunction

VFIO_USER_PREFIX = "vfio-user:"


def open_function(address: str) -> Function:
    """Open the PCI function at `address`, which is `vfio-user:` and the path of a server's socket.

    Raises UsageError for an address that cannot be used, RefusedError for a device that is in use, and DeviceError or
    its subclasses if the device does not answer as it should.
    """
    if address.startswith(VFIO_USER_PREFIX):
        path = address.removeprefix(VFIO_USER_PREFIX)
        if not path:
            raise UsageError(f"the device address {address!r} has no path; write vfio-user:/path/of/the/server.sock")
        return VfioUserFunction(address, path)
    raise UsageError(
        f"the device address {address!r} is of a kind that this version does not support; "
        "it reaches devices at vfio-user:/path/of/the/server.sock only"
    )
