"""A look at one device that no run drives, and at the dump of one far away."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ixyfwd.errors import UsageError
from ixyfwd.kit.pciaddress import pci_address
from ixyfwd.nic.registry import decode_dump, has_scheme, inspect, register_names
from ixyfwd.nic.report import Fact, Inspection, RegisterValue, Selection
from ixyfwd.pci.open import Opener

_SIMULATED: Final = "sim:"
_LARGEST_DUMP_BYTES: Final = 1 << 20


def facts_of(address: str) -> list[Fact]:
    """The report of the device at an address.

    Raises UsageError for an address that has none, RefusedError for a device that is in
    use, and what reading it raises.
    """
    with _opened(address) as inspection:
        return list(inspection.facts())


def registers_of(address: str, selection: Selection) -> list[RegisterValue]:
    """The registers of the device at an address. Raises UsageError and what `facts_of` raises."""
    _check(selection)
    with _opened(address) as inspection:
        return _some(selection, list(inspection.registers(selection)))


def registers_in(file: Path, selection: Selection) -> list[RegisterValue]:
    """The registers in a dump that another driver's tool has printed. Raises UsageError."""
    found = decode_dump(_read(file), str(file))
    return _some(selection, [one for one in found if _selects(selection, one)])


def _read(file: Path) -> bytes:
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as opened:
            data = opened.read(_LARGEST_DUMP_BYTES + 1) or b""
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST_DUMP_BYTES:
        raise UsageError(f"{file} is longer than {_LARGEST_DUMP_BYTES} bytes: no dump of registers is")
    return data


@contextmanager
def _opened(address: str) -> Iterator[Inspection]:
    if address.startswith(_SIMULATED):
        raise UsageError(
            f"{address}: a port of the bundled model lives inside a run; start `ixyfwd model --port NAME=/path.sock` "
            "and name it as vfio-user:/path.sock"
        )
    if has_scheme(address):
        raise UsageError(f"{address} is no PCI device: its family has no report of it")
    address = pci_address(address) or address
    with Opener() as opener:
        function = opener.open(address)
        try:
            yield inspect(function, "to look at")
        finally:
            function.close()


def _check(selection: Selection) -> None:
    known = register_names()
    if selection.table and selection.table not in known:
        near = get_close_matches(selection.table, known, 3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise UsageError(f"there is no register {selection} in ixyfwd's table{hint}")


def _selects(selection: Selection, one: RegisterValue) -> bool:
    number = one.name.partition("[")[2].rstrip("]")
    return selection.has(one.table, int(number or 0))


def _some(selection: Selection, found: Sequence[RegisterValue]) -> list[RegisterValue]:
    """What was found. Raises UsageError if that is nothing."""
    if not found:
        raise UsageError(f"there is no register {selection} here")
    return list(found)
