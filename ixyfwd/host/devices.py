"""The network functions on the PCI bus, as sysfs describes them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ixyfwd.errors import UsageError
from ixyfwd.host.kernel import Kernel
from ixyfwd.kit.pciaddress import pci_address

DEVICES: Final = "/sys/bus/pci/devices"
DRIVERS: Final = "/sys/bus/pci/drivers"
# Drivers that hold a device for a program instead of driving it: such a device has no interface.
HOLDING_DRIVERS: Final = frozenset({"vfio-pci", "uio_pci_generic", "igb_uio", "pci-stub", "xen-pciback", "pciback"})

_CLASS_NETWORK: Final = 0x02
_CLASS_PCI_BRIDGE: Final = 0x0604
_FLAG_UP: Final = 0x1  # IFF_UP


@dataclass(frozen=True)
class Interface:
    """A kernel interface of a device. `carrier` and `speed_mbps` are None where the kernel does not know."""

    name: str
    mac: str
    up: bool
    carrier: bool | None
    speed_mbps: int | None
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Device:
    """A PCI function. Empty strings where there is no driver, override or IOMMU group; node -1 if unknown.

    `group_others` are the other functions of its IOMMU group that must change hands with it (bridges need not).
    """

    address: str
    vendor: int
    device: int
    subsystem: tuple[int, int]
    class_code: int
    driver: str
    module: str
    driver_override: str
    interfaces: tuple[Interface, ...]
    numa_node: int
    pcie_speed: str
    pcie_width: int | None
    iommu_group: str
    group_others: tuple[str, ...]
    virtual_functions: int
    hugepages_free: int | None

    @property
    def path(self) -> str:
        """The device's directory in sysfs, below the root."""
        return f"{DEVICES}/{self.address}"

    @property
    def id(self) -> str:
        """Vendor and device, as lspci writes them."""
        return f"{self.vendor:04x}:{self.device:04x}"

    @property
    def label(self) -> str:
        """The address, and the interfaces if it has any."""
        names = ", ".join(interface.name for interface in self.interfaces)
        return f"{self.address} ({names})" if names else self.address

    @property
    def is_network(self) -> bool:
        """Whether the class code is that of a network controller."""
        return self.class_code >> 16 == _CLASS_NETWORK


def network_devices(kernel: Kernel) -> list[Device]:
    """All network functions by address."""
    addresses = kernel.addresses()
    found = []
    for name in kernel.names(DEVICES):
        if (kernel.number(f"{DEVICES}/{name}/class") or 0) >> 16 == _CLASS_NETWORK:
            device = read_device(kernel, name, addresses)
            if device is not None:
                found.append(device)
    return found


def read_device(kernel: Kernel, address: str, addresses: Mapping[str, tuple[str, ...]] | None = None) -> Device | None:
    """The function at `address` as it is now; None if there is none. `addresses`: what `Kernel.addresses` gave."""
    path = f"{DEVICES}/{address}"
    vendor, device = (kernel.number(f"{path}/{name}") for name in ("vendor", "device"))
    if vendor is None or device is None:
        return None
    listed = kernel.addresses() if addresses is None else addresses
    node = kernel.number(f"{path}/numa_node")
    group = kernel.link(f"{path}/iommu_group").rpartition("/")[2]
    override = kernel.text(f"{path}/driver_override")
    return Device(
        address=address,
        vendor=vendor,
        device=device,
        subsystem=(
            kernel.number(f"{path}/subsystem_vendor") or 0,
            kernel.number(f"{path}/subsystem_device") or 0,
        ),
        class_code=kernel.number(f"{path}/class") or 0,
        driver=kernel.link(f"{path}/driver").rpartition("/")[2],
        module=kernel.link(f"{path}/driver/module").rpartition("/")[2],
        driver_override="" if override == "(null)" else override,
        interfaces=tuple(_interfaces(kernel, path, listed)),
        numa_node=-1 if node is None else node,
        pcie_speed=kernel.text(f"{path}/current_link_speed"),
        pcie_width=kernel.number(f"{path}/current_link_width"),
        iommu_group=group,
        group_others=tuple(_group_others(kernel, group, address)),
        virtual_functions=kernel.number(f"{path}/sriov_numvfs") or 0,
        hugepages_free=_hugepages_free(kernel, node),
    )


def find_device(kernel: Kernel, name: str) -> Device:
    """The device with a PCI address, or with an interface of this name or alternative name.

    Raises UsageError if there is none.
    """
    address = pci_address(name)
    if address is None:
        address = _address_of_interface(kernel, name)
    device = read_device(kernel, address)
    if device is None:
        raise UsageError(f"there is no PCI device at {address}; `ixyfwd devices --all` lists what there is")
    if not device.is_network:
        raise UsageError(
            f"{address} ({device.id}, driver {device.driver or 'none'}) is not a network device (class "
            f"{device.class_code:06x}); `ixyfwd devices --all` lists those that are"
        )
    return device


def _address_of_interface(kernel: Kernel, name: str) -> str:
    valid = name and "/" not in name and not name.startswith(".")
    if valid and not kernel.exists(f"/sys/class/net/{name}"):
        name = next((own for own, others in kernel.alternative_names().items() if name in others), name)
    if not valid or not kernel.exists(f"/sys/class/net/{name}"):
        raise UsageError(
            f"{name!r} is neither a PCI address such as 0000:03:00.0 nor an interface of this machine; "
            "`ixyfwd devices --all` lists both"
        )
    # A virtio interface hangs on a virtio device, and that on the PCI function.
    for part in reversed(kernel.real(f"/sys/class/net/{name}/device").split("/")):
        address = pci_address(part)
        if address is not None:
            return address
    raise UsageError(
        f"the interface {name} does not belong to a PCI device; name one that `ixyfwd devices --all` lists"
    )


def _interfaces(kernel: Kernel, path: str, addresses: Mapping[str, tuple[str, ...]]) -> Iterator[Interface]:
    virtio = [f"{path}/{name}" for name in kernel.names(path) if re.fullmatch(r"virtio\d+", name)]
    for folder in (path, *virtio):
        for name in kernel.names(f"{folder}/net"):
            base = f"{folder}/net/{name}"
            carrier, speed = kernel.number(f"{base}/carrier"), kernel.number(f"{base}/speed")
            yield Interface(
                name=name,
                mac=kernel.text(f"{base}/address"),
                up=bool((kernel.number(f"{base}/flags") or 0) & _FLAG_UP),
                carrier=None if carrier is None else bool(carrier),
                speed_mbps=speed if speed is not None and speed > 0 else None,
                addresses=addresses.get(name, ()),
            )


def _group_others(kernel: Kernel, group: str, address: str) -> Iterator[str]:
    if not group:
        return
    for other in kernel.names(f"/sys/kernel/iommu_groups/{group}/devices"):
        code = kernel.number(f"{DEVICES}/{other}/class") or 0
        if other != address and code >> 8 != _CLASS_PCI_BRIDGE:
            yield other


def _hugepages_free(kernel: Kernel, node: int | None) -> int | None:
    """Free 2 MiB pages on the device's node; of the whole machine if the node is not known."""
    size = "hugepages-2048kB/free_hugepages"
    if node is not None and node >= 0:
        on_node = kernel.number(f"/sys/devices/system/node/node{node}/hugepages/{size}")
        if on_node is not None:
            return on_node
    return kernel.number(f"/sys/kernel/mm/hugepages/{size}")
