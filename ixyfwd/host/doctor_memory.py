"""Rows on memory: hugepages, what the kernel does behind a program's back, swap."""

from contextlib import suppress
from typing import Final

from ixyfwd.errors import IxyfwdError
from ixyfwd.host.doctor_machine import Finding, MachineFiles, Need, Requirement, good, lacking, vfio_devices, warn
from ixyfwd.kit.mounts import mounts
from ixyfwd.kit.tree import UnreadableError
from ixyfwd.memory.hugepages import NODES, POOL, HugepagePool, node_pool, pool_of, shortages
from ixyfwd.memory.hugetlbfs import find_mount, mount_problem

_POOLS: Final = "/sys/kernel/mm/hugepages"
_SIZES: Final = (("2 MiB", "hugepages-2048kB"), ("1 GiB", "hugepages-1048576kB"))


def hugepages(machine: MachineFiles, need: Need, _: str) -> Finding:
    """Enough 2 MiB pages for the arena. Without them simulated ports run in ordinary pages, real ones do not."""
    wanted = f"{need.arena_pages} free pages of 2 MiB for the arena"
    if need.backing == "plain" and not need.hardware:
        return good("not used: memory.backing is plain", "nothing")
    required = need.hardware or need.backing not in {"auto", "plain"}
    if not machine.exists(POOL):
        if not machine.exists("/sys/kernel"):
            raise UnreadableError("/sys/kernel is not there (is sysfs mounted?)")
        fix = "boot a kernel with CONFIG_HUGETLBFS on a processor with 2 MiB pages"
        return lacking(required, "the kernel has no pages of 2 MiB", wanted, fix)
    homes = {node_of(machine, device) for device in need.devices}
    node = homes.pop() if len(homes) == 1 and len(machine.nodes()) > 1 else None
    found = list(shortages(machine, need.arena_pages, _mount(machine, need), node))
    if not found:
        return good(str(pool_of(machine)), wanted)
    return lacking(required, "; ".join(one.found for one in found), wanted, " && ".join(one.fix for one in found))


def node_hugepages(machine: MachineFiles, need: Need, node: str) -> Finding:
    """Pages of both sizes on one node; the arena belongs on the node of its devices."""
    base = f"{NODES}/node{node}/hugepages"
    if not machine.exists(base):
        if len(machine.nodes()) > 1:
            raise UnreadableError(f"{base} is not there")
        base = _POOLS
    pools = {label: pool_of(machine, f"{base}/{name}") for label, name in _SIZES if machine.exists(f"{base}/{name}")}
    found = "; ".join(f"{pool.free} of {pool.total} pages of {label} free" for label, pool in pools.items())
    homes = {node_of(machine, device) for device in need.devices}
    if int(node) not in homes or len(machine.nodes()) == 1:
        return good(found or "no hugepages", "nothing: no configured device is on this node alone")
    wanted = f"{need.arena_pages} free pages of 2 MiB beside the device"
    pool = pools.get("2 MiB", HugepagePool(0, 0))
    if pool.free >= need.arena_pages:
        return good(found, wanted)
    more = pool.total + need.arena_pages - pool.free
    return warn(found or "no hugepages", wanted, f"echo {more} > {node_pool(node)}/nr_hugepages")


def node_of(machine: MachineFiles, device: str) -> int:
    """A device's NUMA node; -1 if the firmware does not say or there is no such device."""
    path = f"/sys/bus/pci/devices/{device}/numa_node"
    return machine.number(path) if machine.exists(path) else -1


def hugetlbfs(machine: MachineFiles, need: Need, _: str) -> Finding:
    """A named backing and physical addresses need a mount: the other arenas are memfds."""
    places = [mount.point for mount in mounts(machine) if mount.kind == "hugetlbfs"]
    found = f"mounted at {', '.join(places)}" if places else "not mounted"
    asked = _asked(need)
    if asked is not None:
        wanted, problem = f"hugetlbfs of 2 MiB pages at {asked}", mount_problem(machine, asked)
        return good(found, wanted) if problem is None else lacking(True, problem[0], wanted, problem[1])
    if len(vfio_devices(machine, need)) == len(need.devices):
        return good(found, "nothing: the arena is a memfd")
    wanted = "a hugetlbfs of 2 MiB pages for physical addresses"
    try:
        find_mount(machine)
    except UnreadableError:
        raise
    except IxyfwdError as error:
        return lacking(True, found, wanted, str(error).rpartition("as root: ")[2])
    return good(found, wanted)


def _asked(need: Need) -> str | None:
    kind, _, path = need.backing.partition(":")
    return path if kind == "hugetlbfs" else None


def _mount(machine: MachineFiles, need: Need) -> str | None:
    """The mount that the arena will be in, or None."""
    asked = _asked(need)
    if asked is None and len(vfio_devices(machine, need)) < len(need.devices):
        with suppress(IxyfwdError):
            asked = find_mount(machine)
    return asked


def transparent_hugepages(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """A fault that waits for compaction can stall a worker for longer than a ring takes to fill."""
    base = "/sys/kernel/mm/transparent_hugepage"
    wanted = "not defrag = always (page faults would wait for compaction)"
    if not machine.exists(base):
        return good("not built into this kernel", wanted)
    enabled, defrag = machine.chosen(f"{base}/enabled"), machine.chosen(f"{base}/defrag")
    found = f"enabled = {enabled}, defrag = {defrag}"
    if enabled != "never" and defrag == "always":
        return warn(found, wanted, f"echo madvise > {base}/defrag")
    return good(found, wanted)


def ksm(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """Merging scans memory and turns the next write into a fault."""
    path = "/sys/kernel/mm/ksm/run"
    if not machine.exists(path):
        return good("not built into this kernel", "off")
    value = machine.number(path)
    return warn("on", "off", f"echo 0 > {path}") if value == 1 else good("off", "off")


def numa_balancing(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """Automatic NUMA balancing, which unmaps pages to see which CPU touches them: faults in the middle of a burst."""
    path = "/proc/sys/kernel/numa_balancing"
    if not machine.exists(path):
        return good("not built into this kernel", "off")
    value = machine.number(path)
    if value and len(machine.nodes()) > 1:
        return warn("on", "off", f"echo 0 > {path}")
    return good("on, with one node" if value else "off", "off")


def swap(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """Hugepages are never swapped out, but a worker's code and tables may be."""
    path = "/proc/swaps"
    if not machine.exists(path):
        if machine.exists("/proc/self"):
            return good("not built into this kernel", "off")
        raise UnreadableError("/proc/self is not there (is procfs mounted?)")
    lines = machine.text(path).splitlines()
    if not lines or not lines[0].startswith("Filename"):
        raise UnreadableError(f"{path} has no heading, expected a table")
    areas = [line.split()[0] for line in lines[1:] if line.split()]
    return warn(f"on: {', '.join(areas)}", "off", "swapoff -a") if areas else good("off", "off")


MEMORY: Final = (
    Requirement("memory", "hugepages", hugepages),
    Requirement("memory", "hugetlbfs", hugetlbfs),
    Requirement("memory", "transparent hugepages", transparent_hugepages),
    Requirement("memory", "same-page merging", ksm),
    Requirement("memory", "NUMA balancing", numa_balancing),
    Requirement("memory", "swap", swap),
)
NODE: Final = (Requirement("memory", "hugepages of node", node_hugepages),)
