"""The ids of a PCI function, and the refusal of a function that no family drives."""

from collections.abc import Iterable, Sequence
from typing import Final

from ixyfwd.errors import DeviceGoneError, UsageError
from ixyfwd.nic.contract import Refusal
from ixyfwd.nic.words import either
from ixyfwd.pci.function import Function

_ABSENT: Final = 0xFFFF  # what configuration space reads without a device


def read_ids(function: Function, name: str) -> tuple[int, int]:
    """The vendor and device ids of the function behind port `name`. Raises DeviceGoneError if it does not answer."""
    vendor, device = function.read_config(0, 2), function.read_config(2, 2)
    if vendor == _ABSENT:
        raise DeviceGoneError(
            f"port {name} ({function.address}): configuration space reads all ones: there is no device at this address"
        )
    return vendor, device


def not_driven(
    function: Function, name: str, ids: tuple[int, int], refusals: Iterable[Refusal], models: Sequence[str]
) -> UsageError:
    """The error for a function with these ids; it says what is missing where one of `refusals` knows it.

    `models`: the chips that could be used instead.
    """
    vendor, device = ids
    where = f"port {name} ({function.address})"
    for refusal in refusals:
        if (refusal.vendor, refusal.device) == ids:
            return UsageError(
                f"{where}: the device is an {refusal.name} ({vendor:04x}:{device:04x}), which is not supported: "
                f"{refusal.missing}; use a port of an {either(models)}"
            )
    return UsageError(
        f"{where}: the device is {vendor:04x}:{device:04x}, which is not an {either(models)}; "
        "`ixyfwd devices` lists the ports of this machine that can be used"
    )
