"""PCI functions as the kernel shows them under /sys. `root` is where the file system begins: tests make their own."""

from pathlib import Path
from typing import Final

from ixyfwd.errors import UsageError

ROOT: Final = Path("/")


def device_path(address: str, root: Path = ROOT) -> Path:
    """The function's folder. Raises UsageError if the kernel knows no function at that address."""
    path = root / "sys/bus/pci/devices" / address
    if not path.exists():
        raise UsageError(
            f"{address}: the kernel knows no PCI device at this address; `lspci -D` lists those there are (a device "
            "that was removed comes back by: echo 1 > /sys/bus/pci/rescan)"
        )
    return path


def driver_of(address: str, root: Path = ROOT) -> str | None:
    """The name of the kernel driver that holds the function; None if no driver does."""
    return _link_name(device_path(address, root) / "driver")


def numa_node(address: str, root: Path = ROOT) -> int | None:
    """The function's NUMA node; None where the kernel says -1: it does not know it."""
    node = int(read_text(device_path(address, root) / "numa_node") or -1)
    return node if node >= 0 else None


def iommu_group(address: str, root: Path = ROOT) -> Path | None:
    """The folder of the function's IOMMU group, or None without an IOMMU."""
    link = device_path(address, root) / "iommu_group"
    return link.resolve() if link.exists() else None


def iommu_translates(address: str, root: Path = ROOT) -> bool:
    """Whether an IOMMU translates the addresses that the device uses."""
    group = iommu_group(address, root)
    return group is not None and read_text(group / "type") != "identity"


def virtual_functions(address: str, root: Path = ROOT) -> int:
    """The number of virtual functions that are enabled."""
    return int(read_text(device_path(address, root) / "sriov_numvfs") or 0)


def group_members(group: Path, root: Path = ROOT) -> dict[str, str | None]:
    """The addresses of an IOMMU group's functions, with the drivers that hold them."""
    return {path.name: driver_of(path.name, root) for path in sorted((group / "devices").iterdir())}


def read_text(path: Path) -> str:
    """The text of a file without the blanks around it; "" if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _link_name(path: Path) -> str | None:
    try:
        return path.readlink().name
    except OSError:
        return None
