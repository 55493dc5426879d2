"""The registry of families, and the choice of the one that drives a device."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

from ixyfwd.errors import UsageError
from ixyfwd.nic.contract import Chip, Family, NicPort, PciDevices, Refusal
from ixyfwd.nic.discover import members
from ixyfwd.nic.ids import not_driven, read_ids
from ixyfwd.nic.report import Inspection, RegisterValue, Reports
from ixyfwd.nic.words import either
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
    return _driving(function, name).open(function, name)


def inspect(function: Function, name: str) -> Inspection:
    """A look at the device behind a PCI function, by the family that drives it.

    Raises UsageError for a device that no family drives or whose family tells nothing
    of it, and DeviceGoneError if there is none.
    """
    reports = _driving(function, name).reports
    if reports is None:
        raise UsageError(f"port {name} ({function.address}): the family of this device has no report of it")
    return reports.open(function, name)


def register_names() -> tuple[str, ...]:
    """The names of all tables of registers, of any family."""
    return tuple(sorted({name for reports in _reports() for name in reports.names}))


def decode_dump(data: bytes, source: str) -> Sequence[RegisterValue]:
    """The registers in a dump that another driver's tool has printed. Raises UsageError, which names `source`."""
    for reports in _reports():
        found = reports.decode(data)
        if found is not None:
            return found
    raise UsageError(
        f"{source}: {len(data)} bytes that are no dump of registers; expected {either([r.dumps for r in _reports()])}"
    )


def has_scheme(address: str) -> bool:
    """Whether a device address is of a family's own scheme, and so of no PCI function."""
    return any(family.scheme is not None and address.startswith(family.scheme.prefix) for family in families())


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


def _driving(function: Function, name: str) -> PciDevices:
    """The family that drives the device behind a function. Raises UsageError and DeviceGoneError."""
    ids = read_ids(function, name)
    for pci in _pci():
        if any((chip.vendor, chip.device) == ids for chip in pci.chips):
            return pci
    raise not_driven(function, name, ids, _refusals(), [model for pci in _pci() for model in pci.models])


def _reports() -> list[Reports]:
    return [pci.reports for pci in _pci() if pci.reports is not None]


def _pci() -> Iterator[PciDevices]:
    return (family.pci for family in families() if family.pci is not None)


def _refusals() -> Iterator[Refusal]:
    return (refusal for pci in _pci() for refusal in pci.refusals)
