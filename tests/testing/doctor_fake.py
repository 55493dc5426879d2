"""A machine made of files on which every row of the doctor is ok, and ways to spoil it."""

from pathlib import Path
from typing import Final

from ixyfwd.config.demand import Demand
from ixyfwd.host.doctor_machine import MachineFiles, Need

ADDRESS: Final = "0000:03:00.0"
CHIPS: Final = {"8086:10fb": "82599 SFP+"}
# Two nodes with two cores of two threads each; the workers are on node 1, where the card is.
DEMAND: Final = Demand(files=112, processes=5, cpus=3)
NEED: Final = Need(
    devices=(ADDRESS,), workers=(4, 5), demand=DEMAND, arena_pages=9, ring_fill_us=34.4, chips=CHIPS, backing="auto"
)
SIMULATED: Final = Need(workers=(4, 5), demand=DEMAND, arena_pages=9, ring_fill_us=34.4, chips=CHIPS)

_CPU: Final = "sys/devices/system/cpu"
_DEVICE: Final = f"sys/bus/pci/devices/{ADDRESS}"
_CLOCK: Final = "sys/devices/system/clocksource/clocksource0"
LIMITS: Final = """\
Limit                     Soft Limit           Hard Limit           Units
Max open files            20000                20000                files
Max processes             96365                96365                processes
Max locked memory         unlimited            unlimited            bytes
"""
MOUNTS: Final = """\
20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 0:20 / /proc rw - proc none rw
22 20 0:21 / /mnt/huge rw - hugetlbfs none rw,pagesize=2M
23 20 0:22 / /mnt/giant rw - hugetlbfs none rw,pagesize=1024M
24 20 0:23 / /sys/fs/cgroup rw - cgroup2 none rw
"""
INTERRUPTS: Final = """\
           CPU0       CPU1       CPU2       CPU3       CPU4       CPU5       CPU6       CPU7
 24:         10          0          0          0          0          0          0          0  PCI-MSI  eth0
 25:          0          0          0          0          0          0          0          0  PCI-MSI  eth1
NMI:          0          0          0          0          0          0          0          0   Non-maskable
"""


def files() -> dict[str, str]:
    """Path below the root and content."""
    found = {
        "proc/cmdline": "quiet intel_iommu=on iommu=pt isolcpus=4-5 nohz_full=4-5 rcu_nocbs=4-5\n",
        "proc/cpuinfo": "vendor_id\t: GenuineIntel\n",
        "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
        "proc/interrupts": INTERRUPTS,
        "proc/irq/24/smp_affinity_list": "0-7\n",
        "proc/irq/24/effective_affinity_list": "0\n",
        "proc/irq/25/smp_affinity_list": "4\n",
        "proc/1/comm": "init\n",
        "proc/self/cgroup": "0::/\n",
        "proc/self/status": "Name:\tixyfwd\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n",
        "proc/self/limits": LIMITS,
        "proc/self/mountinfo": MOUNTS,
        "mnt/huge/pages/.keep": "",
        "mnt/giant/.keep": "",
        "proc/self/pagemap": "",
        "proc/sys/kernel/osrelease": "6.1.0\n",
        "proc/sys/kernel/numa_balancing": "0\n",
        "proc/sys/kernel/nmi_watchdog": "0\n",
        "proc/sys/kernel/timer_migration": "1\n",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        "sys/kernel/mm/transparent_hugepage/defrag": "always defer [madvise] never\n",
        "sys/kernel/mm/ksm/run": "0\n",
        "sys/kernel/iommu_groups/7/type": "DMA\n",
        "sys/class/iommu/dmar0/name": "",
        "sys/bus/pci/drivers/vfio-pci/new_id": "",
        "sys/module/vfio/parameters/enable_unsafe_noiommu_mode": "N\n",
        "sys/module/pcie_aspm/parameters/policy": "[default] performance powersave\n",
        "dev/vfio/vfio": "",
        "dev/vfio/7": "",
        f"{_CPU}/isolated": "4-5\n",
        f"{_CPU}/nohz_full": "4-5\n",
        f"{_CPU}/online": "0-7\n",
        f"{_CPU}/possible": "0-7\n",
        f"{_CPU}/intel_pstate/no_turbo": "0\n",
        f"{_CLOCK}/current_clocksource": "tsc\n",
        f"{_CLOCK}/available_clocksource": "tsc hpet acpi_pm\n",
        f"{_DEVICE}/vendor": "0x8086\n",
        f"{_DEVICE}/device": "0x10fb\n",
        f"{_DEVICE}/numa_node": "1\n",
        f"{_DEVICE}/current_link_speed": "5.0 GT/s PCIe\n",
        f"{_DEVICE}/max_link_speed": "5.0 GT/s PCIe\n",
        f"{_DEVICE}/current_link_width": "8\n",
        f"{_DEVICE}/max_link_width": "8\n",
        f"{_DEVICE}/link/l0s_aspm": "0\n",
        f"{_DEVICE}/link/l1_aspm": "0\n",
    }
    pools = ["sys/kernel/mm/hugepages", *(f"sys/devices/system/node/node{node}/hugepages" for node in (0, 1))]
    for pool in pools:
        for size in ("2048kB", "1048576kB"):
            found[f"{pool}/hugepages-{size}/nr_hugepages"] = "64\n"
            found[f"{pool}/hugepages-{size}/free_hugepages"] = "60\n"
    found["sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages"] = "1\n"
    for node, cpus in ((0, "0-3"), (1, "4-7")):
        found[f"sys/devices/system/node/node{node}/cpulist"] = f"{cpus}\n"
    for cpu in range(8):
        found[f"{_CPU}/cpu{cpu}/topology/thread_siblings_list"] = f"{cpu & ~2},{cpu | 2}\n"
        found[f"{_CPU}/cpu{cpu}/cpufreq/scaling_governor"] = "performance\n"
        found[f"{_CPU}/cpu{cpu}/cpuidle/state0/latency"] = "0\n"
        found[f"{_CPU}/cpu{cpu}/cpuidle/state0/disable"] = "0\n"
        found[f"{_CPU}/cpu{cpu}/cpuidle/state3/latency"] = "133\n"
        found[f"{_CPU}/cpu{cpu}/cpuidle/state3/disable"] = "1\n"
    return found


def build(root: Path, changes: dict[str, str | None] | None = None) -> MachineFiles:
    """The healthy machine with some files changed. None removes a file, or a whole directory."""
    changed = changes or {}
    gone = tuple(path for path, text in changed.items() if text is None)
    whole = {**files(), **{path: text for path, text in changed.items() if text is not None}}
    for path, text in whole.items():
        if any(path == one or path.startswith(f"{one}/") for one in gone):
            continue
        at = root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)
    links = {f"{_DEVICE}/driver": "../../vfio-pci", f"{_DEVICE}/iommu_group": "../../../kernel/iommu_groups/7"}
    for path, target in links.items():
        if not any(path == one or path.startswith(f"{one}/") for one in gone):
            elsewhere = changed.get(path)
            (root / path).unlink(missing_ok=True)
            (root / path).symlink_to(target if elsewhere is None else elsewhere)
    return MachineFiles(root)
