"""Which processes have a device open. Taking it from its driver then would hang in the kernel until they let go."""

from dataclasses import dataclass

from ixyfwd.host.devices import Device
from ixyfwd.host.kernel import Kernel


@dataclass(frozen=True)
class Holder:
    """A process, and the file of the device that it has open."""

    pid: int
    command: str
    file: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command}, {self.file})"


def holders(kernel: Kernel, device: Device) -> list[Holder]:
    """Processes that drive `device` themselves: through VFIO, or through its files in sysfs, or by ixyfwd's lock.

    Only root sees the files of all processes.
    """
    nodes = {f"/run/ixyfwd/{device.address}.lock"}
    nodes |= {f"/dev/vfio/devices/{name}" for name in kernel.names(f"{device.path}/vfio-dev")}
    if device.iommu_group:
        nodes |= {f"/dev/vfio/{device.iommu_group}", f"/dev/vfio/noiommu-{device.iommu_group}"}
    folder = kernel.real(device.path)
    nodes |= {f"{folder}/{name}" for name in kernel.names(device.path) if name.startswith(("resource", "config"))}
    found = []
    for pid in (name for name in kernel.names("/proc") if name.isdecimal()):
        for fd in kernel.names(f"/proc/{pid}/fd"):
            file = kernel.link(f"/proc/{pid}/fd/{fd}")
            if file in nodes:
                found.append(Holder(int(pid), kernel.text(f"/proc/{pid}/comm") or "?", file))
                break
    return found
