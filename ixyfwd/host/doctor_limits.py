"""Rows on what this process may do: privileges, physical addresses, resource limits."""

from typing import Final

from ixyfwd.host.doctor_machine import (
    CAP_IPC_LOCK,
    CAP_NET_ADMIN,
    CAP_SYS_ADMIN,
    CAP_SYS_RAWIO,
    Finding,
    Machine,
    Need,
    Requirement,
    good,
    lacking,
    vfio_devices,
    warn,
)
from ixyfwd.kit.tree import UnreadableError
from ixyfwd.memory.layout import ARENA_PAGE_BYTES

_NAMES: Final = {
    CAP_SYS_ADMIN: "CAP_SYS_ADMIN",
    CAP_SYS_RAWIO: "CAP_SYS_RAWIO",
    CAP_NET_ADMIN: "CAP_NET_ADMIN",
}
_AS_ROOT: Final = "sudo ixyfwd start # with the same options"
_FILES_BASE: Final = 64  # interpreter, sockets, arena, logs
_FILES_PER_CHILD: Final = 16  # pidfd, pipes, order memfds, the BARs and eventfds of a port


def privileges(machine: Machine, need: Need, _: str) -> Finding:
    """Registers through sysfs and physical addresses are for privileged processes; an IOMMU makes both unnecessary."""
    wants: list[int] = []
    if len(vfio_devices(machine, need)) < len(need.devices):
        wants += [CAP_SYS_ADMIN, CAP_SYS_RAWIO]
    if need.tap:
        wants.append(CAP_NET_ADMIN)
    has = [name for capability, name in _NAMES.items() if machine.capable(capability)]
    found = ", ".join(has) or "none of CAP_SYS_ADMIN, CAP_SYS_RAWIO, CAP_NET_ADMIN"
    wanted = ", ".join(_NAMES[capability] for capability in wants) or "nothing for these ports"
    if all(_NAMES[capability] in has for capability in wants):
        return good(found, wanted)
    return lacking(True, found, wanted, _AS_ROOT)


def pagemap(machine: Machine, need: Need, _: str) -> Finding:
    """Without an IOMMU a device is given physical addresses, which pagemap shows only to CAP_SYS_ADMIN."""
    if len(vfio_devices(machine, need)) == len(need.devices):
        return good("not needed", "nothing: no port needs physical addresses")
    wanted = "/proc/self/pagemap with page frame numbers"
    if not machine.exists("/proc/self/pagemap"):
        return lacking(True, "no /proc/self/pagemap", wanted, "boot a kernel with CONFIG_PROC_PAGE_MONITOR")
    if not machine.capable(CAP_SYS_ADMIN):
        return lacking(True, "hides page frame numbers (no CAP_SYS_ADMIN)", wanted, _AS_ROOT)
    return good("readable, with page frame numbers", wanted)


def _limit(machine: Machine, name: str) -> tuple[float, float]:
    """Soft and hard value of a line of /proc/self/limits."""
    for line in machine.text("/proc/self/limits").splitlines():
        if line.startswith(name):
            words = line[len(name) :].split()
            try:
                soft, hard = (float("inf") if word == "unlimited" else float(int(word)) for word in words[:2])
            except ValueError:
                break
            return soft, hard
    raise UnreadableError(f"/proc/self/limits has no readable line {name!r}")


def locked_memory(machine: Machine, need: Need, _: str) -> Finding:
    """VFIO pins the whole arena and counts it against the limit."""
    soft, _hard = _limit(machine, "Max locked memory")
    found = "unlimited" if soft == float("inf") else f"{soft / 2**20:g} MiB"
    if not vfio_devices(machine, need):
        return good(found, "nothing: nothing is pinned through VFIO")
    if machine.capable(CAP_IPC_LOCK):
        return good(f"{found}, does not bind (CAP_IPC_LOCK)", "the arena")
    size = need.arena_pages * ARENA_PAGE_BYTES
    wanted = f"at least {size / 2**20:g} MiB for the arena"
    if soft >= size:
        return good(found, wanted)
    return lacking(True, found, wanted, f"prlimit --pid $$ --memlock={size}:{size} # in the shell that starts ixyfwd")


def open_files(machine: Machine, need: Need, _: str) -> Finding:
    soft, hard = _limit(machine, "Max open files")
    least = _FILES_BASE + _FILES_PER_CHILD * (len(need.workers) + need.ports)
    found, wanted = "unlimited" if soft == float("inf") else f"{soft:.0f}", f"at least {least}"
    if soft >= least:
        return good(found, wanted)
    top = least if hard < least else f"{hard:.0f}" if hard != float("inf") else "unlimited"
    return warn(found, wanted, f"prlimit --pid $$ --nofile={least}:{top} # in the shell that starts ixyfwd")


LIMITS: Final = (
    Requirement("permissions", "privileges", privileges),
    Requirement("permissions", "physical addresses", pagemap),
    Requirement("permissions", "locked memory", locked_memory),
    Requirement("permissions", "open files", open_files),
)
