"""PCI addresses as people write them, in the one form that sysfs has."""

import re
from typing import Final

# The kernel prints a domain with four digits or more, up to eight: VMD counts from 10000 on, Hyper-V takes any.
_ADDRESS: Final = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])", re.IGNORECASE)


def pci_address(text: str) -> str | None:
    """The full form of a PCI address (domain 0000 may be left out); None if it is none."""
    found = _ADDRESS.fullmatch(text)
    return f"{int(found[1] or '0', 16):04x}:{found[2]}".lower() if found else None


def is_pci_address(text: str) -> bool:
    """Whether `text` is one in full form."""
    return pci_address(text) == text
