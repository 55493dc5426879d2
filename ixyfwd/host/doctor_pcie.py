"""Rows on devices: which there are, who drives them, how they are attached."""

import re
from typing import Final

from ixyfwd.config.cpus import format_cpu_list
from ixyfwd.host.doctor_machine import (
    NODES,
    PCI_DEVICES,
    Finding,
    FindingState,
    MachineFiles,
    Need,
    Requirement,
    good,
    lacking,
    warn,
)
from ixyfwd.host.doctor_memory import node_of
from ixyfwd.kit.tree import UnreadableError

WANTED_GT_S: Final = 5.0  # 82599 datasheet 1.3: PCIe v2.0, 5 GT/s, up to 8 lanes
WANTED_LANES: Final = 8
_UIO_DRIVERS: Final = ("uio_pci_generic", "igb_uio")  # they do nothing with a device
_ASPM_POLICY: Final = "/sys/module/pcie_aspm/parameters/policy"


def device_ids(machine: MachineFiles) -> dict[str, str]:
    """Vendor and device ("8086:10fb") of every PCI function by address."""
    found = {}
    for address in machine.names(PCI_DEVICES):
        vendor, device = (machine.number(f"{PCI_DEVICES}/{address}/{name}") for name in ("vendor", "device"))
        found[address] = f"{vendor:04x}:{device:04x}"
    return found


def known_devices(machine: MachineFiles, need: Need) -> list[str]:
    """Addresses of the devices that the driver takes."""
    chips = need.chips or {}
    return [address for address, pci_id in device_ids(machine).items() if pci_id in chips]


def devices(machine: MachineFiles, need: Need, _: str) -> Finding:
    """The devices that a driver of ixyfwd knows; those of the configuration must be among them."""
    found = known_devices(machine, need)
    text = f"{len(found)}: {', '.join(found)}" if found else "none"
    if not need.hardware:
        return good(text, "nothing: no port is a real device")
    wanted = f"those of the configuration: {', '.join(need.devices)}"
    lost = [address for address in need.devices if address not in found]
    if not lost:
        return good(text, wanted)
    fix = f"lspci -nn -d 8086: # no 82599 at {', '.join(lost)}: check the card, and the configuration"
    return lacking(True, text, wanted, fix)


def driver(machine: MachineFiles, need: Need, address: str) -> Finding:
    """The driver of a device: vfio-pci behind an IOMMU, none where addresses are physical; `pci` refuses others."""
    _there(machine, address)
    bound = machine.driver(address)
    if address not in need.devices:
        return good(bound or "none", "nothing: not in the configuration")
    group, translated = machine.iommu_group(address), machine.translates(address)
    wanted = "vfio-pci" if translated else "vfio-pci or none" if group else "none (reached through sysfs)"
    if bound == "vfio-pci":
        if group:
            return good(bound, wanted)
        return lacking(True, "vfio-pci without an IOMMU", wanted, f"ixyfwd bind {address} --driver none")
    if bound and bound not in _UIO_DRIVERS:
        return lacking(True, bound, wanted, f"ixyfwd bind {address}")
    if translated:
        return lacking(True, bound or "none", wanted, f"ixyfwd bind {address} --driver vfio-pci")
    return _free_of_functions(machine, address, bound, wanted)


def _free_of_functions(machine: MachineFiles, address: str, bound: str, wanted: str) -> Finding:
    """A device whose virtual functions may be in use by others is not taken through sysfs."""
    virtual = f"{PCI_DEVICES}/{address}/sriov_numvfs"
    if machine.exists(virtual) and machine.number(virtual):
        found = f"{bound or 'none'}, with {machine.number(virtual)} virtual functions on"
        return lacking(True, found, f"{wanted}, without virtual functions", f"echo 0 > {virtual}")
    return good(bound or "none", wanted)


def link(machine: MachineFiles, _need: Need, address: str) -> Finding:
    """Two ports at 10 Gb/s need 5 GT/s on 8 lanes."""
    base = _there(machine, address)
    speed, width = _speed(machine, f"{base}/current_link_speed"), machine.number(f"{base}/current_link_width")
    best = _speed(machine, f"{base}/max_link_speed"), machine.number(f"{base}/max_link_width")
    found = f"{speed:g} GT/s x{width} (the card can do {best[0]:g} GT/s x{best[1]})"
    wanted = f"{WANTED_GT_S:g} GT/s x{WANTED_LANES}"
    if width == 0:
        raise UnreadableError(f"{base}/current_link_width says 0: the link is down or the device is no PCIe device")
    if speed >= WANTED_GT_S and width >= WANTED_LANES:
        return good(found, wanted)
    return warn(found, wanted, f"lspci -vvs {address} # move the card to a slot with 8 lanes of PCIe 2.0")


def numa(machine: MachineFiles, need: Need, address: str) -> Finding:
    """A worker on another node crosses the interconnect for every descriptor."""
    _there(machine, address)
    node, nodes = node_of(machine, address), machine.nodes()
    wanted = "all workers on the device's node"
    if len(nodes) == 1:
        return good("one node only", wanted)
    if node < 0:
        return Finding(FindingState.UNKNOWN, "the firmware does not say which node the device is on (-1)", wanted)
    local = machine.cpus(f"{NODES}/node{node}/cpulist")
    far = sorted(set(need.workers) - local)
    if not far:
        return good(f"device and workers on node {node}", wanted)
    found = f"device on node {node}, workers on CPU {format_cpu_list(far)} are not"
    fix = f'in the configuration: [cpu] workers = "{format_cpu_list(sorted(local)[: len(need.workers)])}"'
    return warn(found, wanted, fix)


def aspm(machine: MachineFiles, _need: Need, address: str) -> Finding:
    """A link that sleeps wakes up too late for the next doorbell."""
    base = f"{_there(machine, address)}/link"
    on = [name for name in ("l0s_aspm", "l1_aspm") if _flag(machine, f"{base}/{name}")]
    if not machine.exists(base) and not machine.exists(_ASPM_POLICY):
        return good("not offered by this kernel", "off")
    if on:
        fix = "; ".join(f"echo 0 > {base}/{name}" for name in on)
        return warn(f"on: {', '.join(name.removesuffix('_aspm').upper() for name in on)}", "off", fix)
    return good("off", "off")


def _flag(machine: MachineFiles, path: str) -> bool:
    return machine.exists(path) and machine.number(path) != 0


def _there(machine: MachineFiles, address: str) -> str:
    base = f"{PCI_DEVICES}/{address}"
    if not machine.exists(base):
        raise UnreadableError(f"{base} is not there")
    return base


def _speed(machine: MachineFiles, path: str) -> float:
    text = machine.text(path)
    found = re.match(r"(\d+(?:\.\d+)?) GT/s", text)
    if found is None:
        raise UnreadableError(f"{path} says {text[:40]!r}, expected a speed in GT/s")
    return float(found[1])


PCIE: Final = (Requirement("devices", "82599 devices", devices),)
DEVICE: Final = (
    Requirement("devices", "driver of", driver),
    Requirement("devices", "PCIe link of", link),
    Requirement("devices", "NUMA node of", numa),
    Requirement("devices", "link power saving of", aspm),
)
