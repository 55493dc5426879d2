"""Doorbells that are registers of a PCI function."""

from typing import Final

from ixyfwd.errors import DeviceError
from ixyfwd.nic.contract import RegisterDoorbell
from ixyfwd.pci.function import Function, Window

_PAGE_BYTES: Final = 4096


def register_doorbell(function: Function, name: str, offset: int) -> RegisterDoorbell:
    """The register at `offset` of BAR0 with the one page around it, which a worker of port `name` maps.

    Raises DeviceError if the device does not offer the page for mapping.
    """
    window = function.window(offset, 4)
    if window is None:
        raise DeviceError(
            f"port {name} ({function.address}): the device offers no mapping of BAR0 at {offset:#x}; "
            "workers need the doorbell pages (start the bundled model with `ixyfwd model --mmap`)"
        )
    skip = (offset - window.bar_offset) // _PAGE_BYTES * _PAGE_BYTES
    page = Window(window.fd, window.file_offset + skip, window.bar_offset + skip, _PAGE_BYTES)
    return RegisterDoorbell(page, offset)
