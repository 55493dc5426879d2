"""The registry of families, and the choice of the one that drives a device."""

from collections.abc import Callable, Iterator
from functools import cache

from ixyfwd.nic.contract import Chip, Family, NicPort, PciDevices, Refusal
from ixyfwd.nic.discover import members
from ixyfwd.nic.ids import not_driven, read_ids
from ixyfwd.pci.function import Function


@cache
def families() -> tuple[Family, ...]:
    """All families, by name."""
    return tuple(module.FAMILY for module in members("family"))


def chips() -> Iterator[Chip]:
    """Every PCI device that some family drives."""
    return (chip for pci in _pci() for chip in pci.chips)


def chip_of(vendor: int, device: int) -> Chip | None:
    """The PCI device with these ids; None if no family drives it."""
    return next((chip for chip in chips() if (chip.vendor, chip.device) == (vendor, device)), None)


def name_of(vendor: int, device: int) -> str:
    """The name that a family gives a PCI device, driven or refused; empty if no family knows it."""
    named: tuple[Chip | Refusal, ...] = (*chips(), *_refusals())
    return next((one.name for one in named if (one.vendor, one.device) == (vendor, device)), "")


def open_pci_port(function: Function, name: str) -> NicPort:
    """Open the port behind a PCI function, by the function's ids. The device is not changed.

    Raises UsageError, which names it, for a device that no family drives, and
    DeviceGoneError if there is none.
    """
    ids = read_ids(function, name)
    for pci in _pci():
        if any((chip.vendor, chip.device) == ids for chip in pci.chips):
            return pci.open(function, name)
    raise not_driven(function, name, ids, _refusals(), [model for pci in _pci() for model in pci.models])


def open_port(address: str, name: str, open_function: Callable[[str], Function]) -> NicPort:
    """Open the port at a device address, of a family's own scheme or of a PCI function.

    `open_function` opens the PCI function, which the port's attachment closes. Raises
    what `open_function` and `open_pci_port` raise.
    """
    for family in families():
        if family.scheme is not None and address.startswith(family.scheme.prefix):
            return family.scheme.open(address, name)
    function = open_function(address)
    try:
        return open_pci_port(function, name)
    except BaseException:
        function.close()
        raise


def _pci() -> Iterator[PciDevices]:
    return (family.pci for family in families() if family.pci is not None)


def _refusals() -> Iterator[Refusal]:
    return (refusal for pci in _pci() for refusal in pci.refusals)
