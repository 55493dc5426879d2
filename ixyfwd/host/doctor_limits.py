"""Rows on what this process may do: privileges, physical addresses, resource limits."""

from typing import Final

from ixyfwd.config.cpus import format_cpu_list
from ixyfwd.host.doctor_machine import (
    CAP_IPC_LOCK,
    CAP_NET_ADMIN,
    CAP_SYS_ADMIN,
    CAP_SYS_RAWIO,
    CPUS,
    Finding,
    MachineFiles,
    Need,
    Requirement,
    good,
    lacking,
    vfio_devices,
    warn,
)
from ixyfwd.kit.cgroups import cpu_quota, cpuset
from ixyfwd.kit.limits import limit, open_files, processes_left
from ixyfwd.memory.layout import ARENA_PAGE_BYTES

_NAMES: Final = {
    CAP_SYS_ADMIN: "CAP_SYS_ADMIN",
    CAP_SYS_RAWIO: "CAP_SYS_RAWIO",
    CAP_NET_ADMIN: "CAP_NET_ADMIN",
}
_AS_ROOT: Final = "sudo ixyfwd start # with the same options"


def privileges(machine: MachineFiles, need: Need, _: str) -> Finding:
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


def pagemap(machine: MachineFiles, need: Need, _: str) -> Finding:
    """Without an IOMMU a device is given physical addresses, which pagemap shows only to CAP_SYS_ADMIN."""
    if len(vfio_devices(machine, need)) == len(need.devices):
        return good("not needed", "nothing: no port needs physical addresses")
    wanted = "/proc/self/pagemap with page frame numbers"
    if not machine.exists("/proc/self/pagemap"):
        return lacking(True, "no /proc/self/pagemap", wanted, "boot a kernel with CONFIG_PROC_PAGE_MONITOR")
    if not machine.capable(CAP_SYS_ADMIN):
        return lacking(True, "hides page frame numbers (no CAP_SYS_ADMIN)", wanted, _AS_ROOT)
    return good("readable, with page frame numbers", wanted)


def locked_memory(machine: MachineFiles, need: Need, _: str) -> Finding:
    """VFIO pins the whole arena and counts it against the limit."""
    soft, _hard = limit(machine, "Max locked memory")
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


def files(machine: MachineFiles, need: Need, _: str) -> Finding:
    """Descriptors of the process that needs the most. A start raises the soft limit as far as the hard one permits."""
    soft, hard = open_files(machine)
    least = need.demand.files
    found, wanted = "unlimited" if soft == float("inf") else f"{soft:.0f}", f"at least {least}"
    if soft >= least:
        return good(found, wanted)
    if hard >= least:
        return good(f"{found}, which a start raises", wanted)
    return lacking(True, found, wanted, f"prlimit --pid $$ --nofile={least}:{least} # in the shell that starts ixyfwd")


def processes(machine: MachineFiles, need: Need, _: str) -> Finding:
    """Workers, model and the threads that write: by `ulimit -u` and the control group."""
    left = processes_left(machine)
    wanted = f"{need.demand.processes} more"
    if left is None:
        return good("no limit binds", wanted)
    found = f"{left.left} more of {left.most} ({left.file})"
    if left.left >= need.demand.processes:
        return good(found, wanted)
    most = left.used + need.demand.processes
    shell = f"prlimit --pid $$ --nproc={most}:{most} # in the shell that starts ixyfwd"
    fix = f"echo {most} > {left.file}" if left.file.startswith("/") else shell
    return lacking(True, found, wanted, fix)


def quota(machine: MachineFiles, need: Need, _: str) -> Finding:
    """A group that has used its time is stopped until the next period begins: longer than any ring lasts."""
    found, wanted = cpu_quota(machine), f"none, or at least {need.demand.cpus} CPUs"
    if found is None:
        return good("none", wanted)
    said = f"{found.cpus:g} CPUs ({found.file})"
    return good(said, wanted) if found.cpus >= need.demand.cpus else warn(said, wanted, found.lift)


def allowed_cpus(machine: MachineFiles, need: Need, _: str) -> Finding:
    """A process cannot pin itself to a CPU that its control group leaves out, isolated or not."""
    found = cpuset(machine)
    if found is None:
        return good("all", "the CPUs of the workers, and the isolated ones")
    text, file = found
    allowed = machine.cpus(file)
    wanted = sorted({*need.workers, *machine.cpus(f"{CPUS}/isolated")})
    out = [cpu for cpu in wanted if cpu not in allowed]
    said, wish = f"CPU {text} ({file})", f"CPU {format_cpu_list(wanted) or text} among them"
    if not out:
        return good(said, wish)
    whole = format_cpu_list(sorted({*allowed, *out}))
    place = f"{file.rpartition('/')[0]}/cpuset.cpus"
    return warn(f"{said}, not CPU {format_cpu_list(out)}", wish, f"echo {whole} > {place}")


LIMITS: Final = (
    Requirement("permissions", "privileges", privileges),
    Requirement("permissions", "physical addresses", pagemap),
    Requirement("permissions", "locked memory", locked_memory),
    Requirement("permissions", "open files", files),
    Requirement("permissions", "processes", processes),
    Requirement("permissions", "CPU quota", quota),
    Requirement("permissions", "allowed CPUs", allowed_cpus),
)
