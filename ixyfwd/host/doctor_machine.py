"""What the doctor looks at: files below a root, and what the configuration needs of the machine."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ixyfwd.config.cpus import parse_cpu_list
from ixyfwd.config.demand import Demand
from ixyfwd.kit.tree import Tree, UnreadableError

CAP_IPC_LOCK: Final = 14  # linux/capability.h
CAP_NET_ADMIN: Final = 12
CAP_SYS_RAWIO: Final = 17
CAP_SYS_ADMIN: Final = 21
PCI_DEVICES: Final = "/sys/bus/pci/devices"
NODES: Final = "/sys/devices/system/node"
GROUPS: Final = "/sys/kernel/iommu_groups"
CPUS: Final = "/sys/devices/system/cpu"


class FindingState(StrEnum):
    """How a requirement is met.

    `MISSING` is required and not there; `WARN` costs something; `UNKNOWN` could not be read.
    """

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What was found and what is wanted. `fix` is a shell command for root, or a sentence where none can do it."""

    state: FindingState
    found: str
    wanted: str
    fix: str = ""


@dataclass(frozen=True)
class Need:
    """What a configuration asks of the machine.

    `devices` are PCI addresses, `workers` CPUs in the order of the workers, `model` the model's CPU if a port is
    simulated, `demand` what the run needs of limits, `arena_pages` 2 MiB pages, `backing` as in the configuration,
    `ring_fill_us` the time in which line rate fills an empty receive ring, `chips` the names of the PCI ids
    ("8086:10fb") that the driver takes. `spin`: the workers never sleep. `tap`: some wire is a TAP interface.
    """

    devices: tuple[str, ...] = ()
    workers: tuple[int, ...] = ()
    model: int | None = None
    demand: Demand = field(default_factory=Demand)
    arena_pages: int = 0
    backing: str = "auto"
    ring_fill_us: float = 0.0
    spin: bool = False
    tap: bool = False
    chips: Mapping[str, str] | None = None

    @property
    def hardware(self) -> bool:
        """Whether some port is a real device."""
        return bool(self.devices)


@dataclass(frozen=True)
class Requirement:
    """One row: `judge` takes the machine, the need and, where the row is about one of several things, its name."""

    topic: str
    name: str
    judge: Callable[["MachineFiles", Need, str], Finding]


class MachineFiles(Tree):
    """Files of the kernel below a root, and what they say."""

    def cpus(self, path: str) -> frozenset[int]:
        """A list of CPUs, which may be empty (the kernel then writes nothing or "(null)")."""
        text = self.text(path)
        if text in {"", "(null)"}:
            return frozenset()
        try:
            return frozenset(parse_cpu_list(text))
        except ValueError:
            raise UnreadableError(f"{path} says {text[:40]!r}, expected a list of CPUs") from None

    def chosen(self, path: str) -> str:
        """The word in brackets of a file such as "always [madvise] never"."""
        text = self.text(path)
        inside = text.partition("[")[2].partition("]")[0]
        if not inside:
            raise UnreadableError(f"{path} says {text[:40]!r}, expected one word in brackets")
        return inside

    def link_name(self, path: str) -> str:
        """Last part of what a symbolic link points to; empty if there is none."""
        try:
            return os.path.basename(os.readlink(self.at(path)))
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise UnreadableError(f"{path} cannot be read ({error.strerror or error})") from None

    def accessible(self, path: str) -> bool:
        """Whether this process may read and write `path`."""
        return os.access(self.at(path), os.R_OK | os.W_OK)

    def capable(self, capability: int) -> bool:
        """Whether this process has a capability (a bit of CapEff in /proc/self/status)."""
        for line in self.text("/proc/self/status").splitlines():
            if line.startswith("CapEff:"):
                mask = self.number("/proc/self/status", f"0x{line.split(':', 1)[1].strip()}")
                return bool(mask >> capability & 1)
        raise UnreadableError("/proc/self/status has no line CapEff")

    def command_line(self) -> dict[str, str]:
        """The kernel's parameters; a later one wins."""
        words = self.text("/proc/cmdline").split()
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def nodes(self) -> list[int]:
        """NUMA nodes; node 0 alone where the kernel knows of none."""
        found = [int(name[4:]) for name in self.names(NODES) if name.startswith("node") and name[4:].isdigit()]
        return sorted(found) or [0]

    def iommu_groups(self) -> int:
        """IOMMU groups; 0 without an IOMMU that is on."""
        return sum(not self._pretended(group) for group in self.names(GROUPS))

    def iommu_group(self, address: str) -> str:
        """The device's group; empty without an IOMMU."""
        group = self.link_name(f"{PCI_DEVICES}/{address}/iommu_group")
        return "" if self._pretended(group) else group

    def translates(self, address: str) -> bool:
        """Whether the device's addresses go through an IOMMU, so that physical ones would be wrong."""
        group = self.iommu_group(address)
        kind = f"{GROUPS}/{group}/type"
        return bool(group) and not (self.exists(kind) and self.text(kind) == "identity")

    def driver(self, address: str) -> str:
        """The kernel driver that holds the device; empty if none does."""
        return self.link_name(f"{PCI_DEVICES}/{address}/driver")

    def _pretended(self, group: str) -> bool:
        """VFIO makes groups without an IOMMU in its no-IOMMU mode; their name tells."""
        name = f"{GROUPS}/{group}/name"
        return self.exists(name) and self.text(name) == "vfio-noiommu"

    def boot_fix(self, parameters: str) -> str:
        """How to have parameters on the kernel's command line from the next boot on."""
        if self.exists("/usr/sbin/grubby"):
            return f'grubby --update-kernel=ALL --args="{parameters}" # then reboot'
        if self.exists("/etc/default/grub"):
            edit = f"""sed -i 's|^GRUB_CMDLINE_LINUX="|&{parameters} |' /etc/default/grub"""
            update = "update-grub" if self.exists("/usr/sbin/update-grub") else "grub2-mkconfig -o /boot/grub2/grub.cfg"
            return f"{edit} && {update} # then reboot"
        return f"add {parameters} to the kernel's command line in the boot loader and reboot"


def vfio_devices(machine: MachineFiles, need: Need) -> list[str]:
    """The configured devices that are, or have to be, reached through VFIO; the others take physical addresses."""
    return [
        address
        for address in need.devices
        if machine.translates(address) or (machine.driver(address) == "vfio-pci" and machine.iommu_group(address))
    ]


def lacking(required: bool, found: str, wanted: str, fix: str) -> Finding:
    """`MISSING` if it is required, else `WARN`."""
    return Finding(FindingState.MISSING if required else FindingState.WARN, found, wanted, fix)


def good(found: str, wanted: str) -> Finding:
    """A finding that needs no action."""
    return Finding(FindingState.OK, found, wanted)


def warn(found: str, wanted: str, fix: str) -> Finding:
    """A finding with which a run works, at a price; `fix` removes it."""
    return Finding(FindingState.WARN, found, wanted, fix)
