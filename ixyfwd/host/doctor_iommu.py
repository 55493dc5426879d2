"""Rows on the IOMMU and VFIO."""

import os
from typing import Final

from ixyfwd.host.doctor_machine import Finding, MachineFiles, Need, Requirement, good, lacking, vfio_devices, warn

_PARAMETERS: Final = ("intel_iommu", "amd_iommu", "iommu", "iommu.passthrough")
_NOIOMMU: Final = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"


def iommu(machine: MachineFiles, need: Need, _: str) -> Finding:
    """With an IOMMU a device reaches the arena and nothing else."""
    line = machine.command_line()
    said = [f"{name}={line[name]}" if line[name] else name for name in _PARAMETERS if name in line]
    units, groups = machine.names("/sys/class/iommu"), machine.iommu_groups()
    where = f" ({', '.join(said)} on the command line)" if said else ""
    if groups:
        return good(f"on: {', '.join(units) or 'of an unnamed kind'}, {groups} groups{where}", "on")
    if not need.hardware:
        return good(f"off{where}", "nothing: no port is a real device")
    vendor = "amd_iommu=on" if "AuthenticAMD" in machine.text("/proc/cpuinfo") else "intel_iommu=on"
    fix = f"{machine.boot_fix(f'{vendor} iommu=pt')}, with VT-d or AMD-Vi on in the firmware"
    if not units:
        return warn(f"off{where}: the device can write anywhere in memory", "on", fix)
    return warn(f"{', '.join(units)} without groups{where}", "on", fix)


def vfio_module(machine: MachineFiles, need: Need, _: str) -> Finding:
    """vfio-pci hands a device to a program; without an IOMMU sysfs does that too."""
    loaded = machine.exists("/sys/bus/pci/drivers/vfio-pci") or machine.exists("/sys/module/vfio_pci")
    if not need.hardware:
        return good("loaded" if loaded else "not loaded", "nothing: no port is a real device")
    if loaded:
        return good("loaded", "vfio-pci")
    release = machine.text("/proc/sys/kernel/osrelease")
    if not vfio_devices(machine, need):
        return good("not loaded", "nothing: without an IOMMU devices are reached through sysfs")
    if _available(machine, release):
        return lacking(True, "not loaded, installed", "vfio-pci", "modprobe vfio-pci")
    found = f"not loaded and not found in /lib/modules/{release}"
    return lacking(True, found, "vfio-pci", f"modprobe vfio-pci # after installing the modules of kernel {release}")


def _available(machine: MachineFiles, release: str) -> bool:
    base = f"/lib/modules/{release}"
    lists = (f"{base}/modules.dep", f"{base}/modules.builtin")
    return any("/vfio-pci.ko" in machine.text(path) for path in lists if machine.exists(path))


def vfio_files(machine: MachineFiles, need: Need, _: str) -> Finding:
    """The container /dev/vfio/vfio and the group of each configured device."""
    container = "/dev/vfio/vfio"
    wanted = f"read and write access to {container} and the groups of the devices"
    reached = vfio_devices(machine, need)
    if not reached:
        found = "there" if machine.exists(container) else "not there"
        return good(f"{container} {found}", "nothing: no port is reached through VFIO")
    groups = {machine.iommu_group(device) for device in reached}
    # A group's file is there only once one of its devices has vfio-pci; the driver row says when it has not.
    paths = [container, *(f"/dev/vfio/{group}" for group in sorted(groups))]
    there = [path for path in paths if machine.exists(path)]
    if container not in there:
        return lacking(True, f"no {container}", wanted, "modprobe vfio-pci")
    barred = [path for path in there if not machine.accessible(path)]
    if barred:
        return lacking(True, f"no access to {', '.join(barred)}", wanted, f"chown {os.getuid()} {' '.join(barred)}")
    return good(f"access to {', '.join(there)}", wanted)


def noiommu(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """VFIO's mode without protection gives nothing that sysfs does not give."""
    if not machine.exists(_NOIOMMU):
        return good("not offered by this kernel", "off")
    if machine.text(_NOIOMMU) in {"Y", "1"}:
        return warn("on: VFIO devices can write anywhere in memory", "off", f"echo N > {_NOIOMMU}")
    return good("off", "off")


IOMMU: Final = (
    Requirement("iommu", "IOMMU", iommu),
    Requirement("iommu", "vfio-pci", vfio_module),
    Requirement("iommu", "VFIO files", vfio_files),
    Requirement("iommu", "VFIO no-IOMMU mode", noiommu),
)
