"""Every row of the doctor in each of its states, on machines made of files."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.config.default import default_config
from ixyfwd.config.load import load_config
from ixyfwd.host.doctor import DoctorRow, counts, examine, exit_code, need_of
from ixyfwd.host.doctor_machine import FindingState, MachineFiles, Need
from tests.testing.doctor_fake import ADDRESS, INTERRUPTS, LIMITS, MOUNTS, NEED, SIMULATED, build, files

CPU = "sys/devices/system/cpu"
DEVICE = f"sys/bus/pci/devices/{ADDRESS}"
POOL = "sys/kernel/mm/hugepages"
POOL_2M = f"{POOL}/hugepages-2048kB"
NODE_2M = "sys/devices/system/node/node1/hugepages/hugepages-2048kB"
NO_CAPS = {"proc/self/status": "CapEff:\t0000000000000000\n"}
NO_IOMMU: dict[str, str | None] = {
    "sys/kernel/iommu_groups": None,
    "sys/class/iommu": None,
    f"{DEVICE}/iommu_group": None,
    f"{DEVICE}/driver": None,
}
IDENTITY = {"sys/kernel/iommu_groups/7/type": "identity\n"}
GROUPS = "sys/fs/cgroup/group"
FEW_FILES: dict[str, str | None] = {"proc/self/limits": LIMITS.replace("20000", "100  ")}
ROOT_STATUS = "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n"
USER: dict[str, str | None] = {
    "proc/self/limits": LIMITS.replace("96365", "7    "),
    "proc/self/status": "Uid:\t1000\t1000\t0\t0\nCapEff:\t0000000000000000\n",
    "proc/8/status": "Uid:\t1000\t1000\t0\t0\nThreads:\t6\n",
    "proc/9/status": "Uid:\t0\t0\t0\t0\nThreads:\t9\n",
    "proc/10/status": "",
}
QUOTA_V1: dict[str, str | None] = {
    "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n0::/\n",
    "proc/self/mountinfo": f"{MOUNTS}30 20 0:9 /docker /sys/fs/cgroup/c rw - cgroup none rw,cpuacct,cpu\n",
    "sys/fs/cgroup/c/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/c/x/cpu.cfs_quota_us": "25000\n",
    "sys/fs/cgroup/c/x/cpu.cfs_period_us": "100000\n",
}


def group(**files: str) -> dict[str, str | None]:
    """The process is in a control group of version 2, /group/a."""
    return {"proc/self/cgroup": "0::/group/a\n", **{f"{GROUPS}/{name}": text for name, text in files.items()}}


ON_DEMAND: dict[str, str | None] = {
    f"{POOL_2M}/free_hugepages": "2\n",
    f"{POOL_2M}/nr_overcommit_hugepages": "10\n",
    f"{POOL_2M}/surplus_hugepages": "2\n",
}
HUGETLB_V2: dict[str, str | None] = {
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/hugetlb.2MB.max": f"{8 << 21}\n",
    "sys/fs/cgroup/a/hugetlb.2MB.current": f"{1 << 21}\n",
    "sys/fs/cgroup/a/b/hugetlb.2MB.max": "max\n",
}
HUGETLB_V1: dict[str, str | None] = {
    "proc/self/cgroup": "5:cpu,hugetlb:/docker/x\n0::/\n",
    "proc/self/mountinfo": f"{MOUNTS}30 20 0:9 /docker/x /sys/fs/cgroup/h rw - cgroup none rw,cpu,hugetlb\n",
    "sys/fs/cgroup/h/hugetlb.2MB.limit_in_bytes": f"{8 << 21}\n",
    "sys/fs/cgroup/h/hugetlb.2MB.usage_in_bytes": f"{1 << 21}\n",
    "sys/fs/cgroup/h/hugetlb.2MB.rsvd.limit_in_bytes": "9223372036852678656\n",
    "sys/fs/cgroup/h/hugetlb.2MB.rsvd.usage_in_bytes": "0\n",
}
MOUNT_SIZE: dict[str, str | None] = {
    "proc/self/mountinfo": MOUNTS.replace("pagesize=2M", f"pagesize=2M,size={8 << 21}")
}
MEMS: dict[str, str | None] = {
    "proc/self/status": "CapEff:\t000001ffffffffff\nMems_allowed_list:\t1\n",
    f"{NODE_2M}/free_hugepages": "8\n",
}
OK, WARN, MISSING, UNKNOWN = FindingState.OK, FindingState.WARN, FindingState.MISSING, FindingState.UNKNOWN


@dataclass(frozen=True)
class Case:
    """What is changed, what the row must then say."""

    label: str
    changes: dict[str, str | None]
    state: FindingState
    found: str = ""
    fix: str = ""
    need: Need = NEED
    extra: dict[str, Any] = field(default_factory=dict)


def case(  # noqa: PLR0917 - a table
    label: str,
    changes: dict[str, Any],
    state: FindingState,
    found: str = "",
    fix: str = "",
    need: Need = NEED,
    **extra: Any,
) -> Case:
    return Case(label, changes, state, found, fix, need, extra)


def row_of(rows: list[DoctorRow], label: str) -> DoctorRow:
    (row,) = [row for row in rows if row.label == label]
    return row


HUGE = [
    case("hugepages", {f"{POOL_2M}/free_hugepages": "10\n"}, OK, "9 of 64"),
    case("hugepages", {f"{POOL_2M}/free_hugepages": "9\n"}, MISSING, "8 of 64", f"echo 65 > /{NODE_2M}/nr_hugepages"),
    case("hugepages", {f"{POOL_2M}/free_hugepages": "2\n"}, WARN, "1 of 64", "echo 72 >", SIMULATED),
    case("hugepages", {f"{POOL_2M}/free_hugepages": "2\n"}, MISSING, need=SIMULATED, backing="hugepages"),
    case("hugepages", {f"{POOL_2M}/free_hugepages": "2\n"}, OK, "not used", need=SIMULATED, backing="plain"),
    case("hugepages", {f"{POOL_2M}/free_hugepages": "2\n"}, MISSING, backing="plain"),
    case("hugepages", {POOL: None}, MISSING, "no pages of 2 MiB", "CONFIG_HUGETLBFS"),
    case("hugepages", {f"{POOL_2M}/nr_hugepages": "many\n"}, UNKNOWN, "'many', expected a number"),
    case("hugepages", ON_DEMAND, OK, "1 of 64 pages of 2 MiB free, 8 more on demand"),
    case(
        "hugepages", HUGETLB_V2, MISSING, "may have 8, and has 1", f"echo {10 << 21} > /sys/fs/cgroup/a/hugetlb.2MB.max"
    ),
    case(
        "hugepages", HUGETLB_V1, MISSING, "may have 8, and has 1", f"echo {10 << 21} > /sys/fs/cgroup/h/hugetlb.2MB.l"
    ),
    case("hugepages", {**HUGETLB_V2, "sys/fs/cgroup/a/hugetlb.2MB.max": "max"}, OK),
    case(
        "hugepages",
        MOUNT_SIZE,
        MISSING,
        "has room for 8",
        "size=18M none /mnt/huge",
        backing="hugetlbfs:/mnt/huge/pages",
    ),
    case("hugepages", {**MOUNT_SIZE, **NO_IOMMU}, MISSING, "has room for 8", "size=18M none /mnt/huge"),
    case("hugepages", MOUNT_SIZE, OK),
    case(
        "hugepages",
        MEMS,
        MISSING,
        "8 pages of 2 MiB free on the nodes that this process may use (1)",
        "node1/hugepages",
    ),
    case("hugepages", {"sys/kernel": None}, UNKNOWN, "sysfs"),
    case(
        "hugepages of node 1", {f"{NODE_2M}/free_hugepages": "8\n"}, WARN, "8 of 64", "node1/hugepages/hugepages-2048"
    ),
    case("hugepages of node 0", {}, OK, "60 of 64 pages of 2 MiB free; 60 of 64 pages of 1 GiB free"),
    case("hugepages of node 1", {"sys/devices/system/node/node1/hugepages": None}, UNKNOWN),
    case("hugepages of node 1", {NODE_2M: None}, WARN, "1 GiB", "echo 9 >"),
    case("hugetlbfs", {}, OK, "mounted at /mnt/huge", backing="hugetlbfs:/mnt/huge"),
    case("hugetlbfs", {}, OK, "mounted at /mnt/huge", backing="hugetlbfs:/mnt/huge/"),
    case("hugetlbfs", {}, OK, "mounted at /mnt/huge", backing="hugetlbfs:/mnt/huge/pages"),
    case("hugetlbfs", {}, MISSING, "not a directory", "mkdir -p /mnt/other && mount", backing="hugetlbfs:/mnt/other"),
    case("hugetlbfs", {}, MISSING, "/mnt is on ext4", "mount -t hugetlbfs", backing="hugetlbfs:/mnt"),
    case("hugetlbfs", {}, MISSING, "pages of 1048576 KiB", "/dev/hugepages-2M", backing="hugetlbfs:/mnt/giant"),
    case("hugetlbfs", NO_IOMMU, OK, "mounted at /mnt/huge, /mnt/giant"),
    case("hugetlbfs", {**NO_IOMMU, "mnt/huge": None}, MISSING, "mounted at", "mkdir -p /dev/hugepages-2M"),
    case("hugetlbfs", {"proc/self/mountinfo": "no table"}, UNKNOWN, "expected a mount"),
    case("hugetlbfs", {"proc/self/mountinfo": None}, UNKNOWN, "cannot be read"),
]
MEMORY = [
    case("transparent hugepages", {"sys/kernel/mm/transparent_hugepage/defrag": "[always] never\n"}, WARN, "always"),
    case("transparent hugepages", {"sys/kernel/mm/transparent_hugepage/enabled": "madvise\n"}, UNKNOWN, "brackets"),
    case("transparent hugepages", {"sys/kernel/mm/transparent_hugepage": None}, OK, "not built"),
    case("same-page merging", {"sys/kernel/mm/ksm/run": "1\n"}, WARN, "on", "echo 0 > /sys/kernel/mm/ksm/run"),
    case("same-page merging", {"sys/kernel/mm/ksm": None}, OK, "not built"),
    case("same-page merging", {"sys/kernel/mm/ksm/run": ""}, UNKNOWN),
    case("NUMA balancing", {"proc/sys/kernel/numa_balancing": "1\n"}, WARN, "on", "echo 0 >"),
    case("NUMA balancing", {"proc/sys/kernel/numa_balancing": "1\n", "sys/devices/system/node": None}, OK, "one node"),
    case("NUMA balancing", {"proc/sys/kernel/numa_balancing": None}, OK, "not built"),
    case("NUMA balancing", {"proc/sys/kernel/numa_balancing": "x"}, UNKNOWN),
    case("swap", {"proc/swaps": "Filename Type\n/dev/sda2 partition 1 2 -2\n"}, WARN, "/dev/sda2", "swapoff -a"),
    case("swap", {"proc/swaps": None}, OK, "not built"),
    case("swap", {"proc/swaps": "\0\1"}, UNKNOWN, "heading"),
    case("swap", {"proc": None}, UNKNOWN, "procfs"),
]
IOMMU = [
    case("IOMMU", {}, OK, "on: dmar0, 1 groups (intel_iommu=on, iommu=pt on the command line)"),
    case("IOMMU", NO_IOMMU, WARN, "off", "add intel_iommu=on iommu=pt"),
    case("IOMMU", {**NO_IOMMU, "proc/cpuinfo": "AuthenticAMD"}, WARN, "off", "amd_iommu=on"),
    case("IOMMU", {**NO_IOMMU, "etc/default/grub": ""}, WARN, "off", "sed -i"),
    case("IOMMU", {**NO_IOMMU, "usr/sbin/grubby": ""}, WARN, "off", "grubby --update-kernel=ALL"),
    case("IOMMU", {"sys/kernel/iommu_groups": None}, WARN, "dmar0 without groups"),
    case("IOMMU", NO_IOMMU, OK, "off", need=SIMULATED),
    case("IOMMU", {"proc/cmdline": None}, UNKNOWN, "/proc/cmdline cannot be read"),
    case("vfio-pci", {}, OK, "loaded"),
    case("vfio-pci", {"sys/bus/pci/drivers": None}, MISSING, "not found in /lib/modules/6.1.0", "modprobe vfio-pci"),
    case(
        "vfio-pci",
        {"sys/bus/pci/drivers": None, "lib/modules/6.1.0/modules.dep": "kernel/drivers/vfio/pci/vfio-pci.ko.xz:"},
        MISSING,
        "installed",
        "modprobe vfio-pci",
    ),
    case("vfio-pci", {"sys/bus/pci/drivers": None, **NO_IOMMU}, OK, "not loaded"),
    case("vfio-pci", {"sys/bus/pci/drivers": None}, OK, "not loaded", need=SIMULATED),
    case("vfio-pci", {"sys/bus/pci/drivers": None, "proc/sys/kernel/osrelease": None}, UNKNOWN),
    case("VFIO files", {}, OK, "access to /dev/vfio/vfio, /dev/vfio/7"),
    case("VFIO files", {"dev/vfio": None}, MISSING, "no /dev/vfio/vfio", "modprobe"),
    case("VFIO files", {"dev/vfio": None}, OK, "not there", need=SIMULATED),
    case("VFIO files", {"dev/vfio": None, **NO_IOMMU}, OK, "not there"),
    case("VFIO no-IOMMU mode", {"sys/module/vfio": None}, OK, "not offered"),
    case(
        "VFIO no-IOMMU mode", {"sys/module/vfio/parameters/enable_unsafe_noiommu_mode": "Y\n"}, WARN, "on", "echo N >"
    ),
]
LIMIT = [
    case("privileges", NO_CAPS, OK, "none of"),
    case("privileges", {**NO_CAPS, **NO_IOMMU}, MISSING, "none of", "sudo ixyfwd start"),
    case("privileges", NO_CAPS, MISSING, "none of", "sudo", SIMULATED, tap=True),
    case("privileges", {"proc/self/status": "Name: x\n"}, UNKNOWN, "CapEff"),
    case("privileges", {"proc/self/status": "CapEff:\tzz\n"}, UNKNOWN, "expected a number"),
    case("physical addresses", {}, OK, "not needed"),
    case("physical addresses", {**IDENTITY, **NO_CAPS}, OK, "not needed"),
    case("physical addresses", {**IDENTITY, **NO_CAPS, f"{DEVICE}/driver": None}, MISSING, "hides"),
    case("physical addresses", NO_IOMMU, OK, "page frame numbers"),
    case("physical addresses", {**NO_IOMMU, **NO_CAPS}, MISSING, "hides", "sudo"),
    case("physical addresses", {**NO_IOMMU, "proc/self/pagemap": None}, MISSING, "no /proc/self/pagemap"),
    case("physical addresses", {**NO_IOMMU, "proc/self/status": ""}, UNKNOWN),
    case("locked memory", {"proc/self/limits": LIMITS.replace("unlimited", "1048576  ")}, OK, "1 MiB, does not bind"),
    case(
        "locked memory",
        {**NO_CAPS, "proc/self/limits": LIMITS.replace("unlimited", "1048576  ")},
        MISSING,
        "1 MiB",
        "--memlock=18874368:18874368",
    ),
    case("locked memory", NO_CAPS, OK, "unlimited"),
    case("locked memory", {"proc/self/limits": LIMITS.replace("unlimited", "lots     ")}, UNKNOWN),
    case("open files", FEW_FILES, MISSING, "100", "prlimit --pid $$ --nofile=112:112"),
    case(
        "open files", {"proc/self/limits": LIMITS.replace("20000   ", "100     ", 1)}, OK, "100, which a start raises"
    ),
    case("open files", {"proc/self/limits": ""}, UNKNOWN, "Max open files"),
    case("processes", {}, OK, "no limit binds"),
    case("processes", group(**{"pids.max": "max", "a/pids.max": "9", "a/pids.current": "4"}), OK, "5 more of 9"),
    case(
        "processes",
        group(**{"pids.max": "8", "pids.current": "4", "a/pids.max": "max"}),
        MISSING,
        "4 more",
        "echo 9 > /",
    ),
    case("processes", group(**{"a/pids.max": "few", "a/pids.current": "4"}), UNKNOWN, "'few'"),
    case("processes", USER, MISSING, "1 more of 7 (ulimit -u)", "prlimit --pid $$ --nproc=11:11"),
    case("processes", {**USER, "proc/self/status": ROOT_STATUS}, OK, "no limit binds"),
    case("CPU quota", {}, OK, "none"),
    case("CPU quota", group(**{"a/cpu.max": "max 100000"}), OK, "none"),
    case("CPU quota", group(**{"a/cpu.max": "300000 100000"}), OK, "3 CPUs"),
    case("CPU quota", group(**{"cpu.max": "150000 100000"}), WARN, "1.5 CPUs", f"echo max > /{GROUPS}/cpu.max"),
    case(
        "CPU quota",
        group(**{"cpu.max": "50000 100000", "a/cpu.max": "90000 100000"}),
        WARN,
        "0.5 CPUs",
        "group/cpu.max",
    ),
    case("CPU quota", group(**{"a/cpu.max": "1 0"}), UNKNOWN, "a period of 0"),
    case("CPU quota", QUOTA_V1, WARN, "0.25 CPUs", "echo -1 > /sys/fs/cgroup/c/x/cpu.cfs_quota_us"),
    case("CPU quota", {**QUOTA_V1, "sys/fs/cgroup/c/x/cpu.cfs_quota_us": "-1"}, OK, "none"),
    case("CPU quota", {"proc/self/cgroup": None}, OK, "none"),
    case("CPU quota", {"proc/self/cgroup": "0:/"}, UNKNOWN, "expected a control group"),
    case("CPU quota", {"proc/self/cgroup": "0::/../other"}, OK, "none"),
    case("allowed CPUs", {}, OK, "all"),
    case("allowed CPUs", group(**{"a/cpuset.cpus.effective": "0-7"}), OK, "CPU 0-7"),
    case(
        "allowed CPUs",
        group(**{"a/cpuset.cpus.effective": "0-4"}),
        WARN,
        "not CPU 5",
        f"echo 0-5 > /{GROUPS}/a/cpuset.cpus",
    ),
    case("allowed CPUs", group(**{"a/cpuset.cpus.effective": "0-x"}), UNKNOWN, "'0-x'"),
]
CPUS = [
    case("isolated CPUs", {f"{CPU}/isolated": "5\n"}, WARN, "isolated: 5; not CPU 4", "add isolcpus=4-5"),
    case("isolated CPUs", {f"{CPU}/isolated": "\n"}, WARN, "none"),
    case("isolated CPUs", {f"{CPU}/isolated": "a-b\n"}, UNKNOWN, "expected a list of CPUs"),
    case("timer ticks", {f"{CPU}/nohz_full": "(null)\n"}, WARN, "none; not CPU 4-5", "nohz_full=4-5"),
    case("timer ticks", {f"{CPU}/nohz_full": None}, WARN, "not built", "CONFIG_NO_HZ_FULL"),
    case("timer ticks", {"sys": None}, UNKNOWN, "sysfs"),
    case("RCU callbacks", {"proc/cmdline": "quiet\n"}, WARN, "none", "rcu_nocbs=4-5"),
    case("RCU callbacks", {"proc/cmdline": "rcu_nocbs=all\n", f"{CPU}/nohz_full": "\n"}, OK, "0-7"),
    case("RCU callbacks", {"proc/cmdline": "rcu_nocbs=4-N\n", f"{CPU}/nohz_full": "\n"}, OK, "4-7"),
    case("RCU callbacks", {"proc/cmdline": "nohz_full=4-5\n"}, OK, "4-5"),
    case("RCU callbacks", {"proc/cmdline": "rcu_nocbs=x\n"}, UNKNOWN, "rcu_nocbs=x"),
    case(
        "governor", {f"{CPU}/cpu5/cpufreq/scaling_governor": "powersave\n"}, WARN, "powersave (CPU 5)", "cpu5/cpufreq"
    ),
    case("governor", {f"{CPU}/cpu{n}/cpufreq": None for n in (4, 5)}, OK, "does not scale"),
    case("governor", {f"{CPU}/cpu4/cpufreq/scaling_governor": ""}, UNKNOWN, "empty"),
    case("turbo", {f"{CPU}/intel_pstate/no_turbo": "1\n"}, WARN, "off", "echo 0 > /sys/devices/system/cpu/intel"),
    case("turbo", {f"{CPU}/intel_pstate": None, f"{CPU}/cpufreq/boost": "0\n"}, WARN, "off", "echo 1 >"),
    case("turbo", {f"{CPU}/intel_pstate": None}, OK, "not switchable"),
    case("turbo", {f"{CPU}/intel_pstate/no_turbo": "?"}, UNKNOWN),
    case("SMT siblings", {}, OK, "2 workers, 2 cores"),
    case("SMT siblings", {}, WARN, "CPU 4,6 are one core", 'workers = "4"', workers=(4, 6)),
    case("SMT siblings", {}, WARN, "2 workers on 1 CPUs", 'workers = "4"', workers=(4, 4)),
    case("SMT siblings", {f"{CPU}/cpu4/topology": None}, UNKNOWN),
    case("SMT siblings", {f"{CPU}/cpu4/topology/thread_siblings_list": "\n"}, UNKNOWN, "does not list CPU 4"),
    case("sleep states", {f"{CPU}/cpu4/cpuidle/state3/disable": "0\n"}, WARN, "133 us", "cpu4/cpuidle/state3/disable"),
    case("sleep states", {f"{CPU}/cpu4/cpuidle/state3/disable": "0\n"}, OK, "idle is spin", spin=True),
    case("sleep states", {f"{CPU}/cpu{n}/cpuidle": None for n in (4, 5)}, OK, "chooses no sleep states"),
    case("sleep states", {f"{CPU}/cpu4/cpuidle/state0/latency": "soon\n"}, UNKNOWN),
]
OTHERS = [
    case(
        "clock",
        {"sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n"},
        WARN,
        "hpet",
        "echo tsc > /sys/devices/system/clocksource",
    ),
    case(
        "clock",
        {
            "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
            "sys/devices/system/clocksource/clocksource0/available_clocksource": "hpet\n",
        },
        WARN,
        "hpet",
        "tsc=reliable",
    ),
    case("clock", {"sys/devices/system/clocksource/clocksource0/current_clocksource": ""}, UNKNOWN, "empty"),
    case("interrupts", {}, OK, "none of 1 in use"),
    case(
        "interrupts",
        {"proc/irq/24/effective_affinity_list": "5\n"},
        WARN,
        "1 of 1 in use, on CPU 5",
        "for i in 24; do echo 0-3,6-7 > /proc/irq/$i/smp_affinity_list; done",
    ),
    case(
        "interrupts",
        {"proc/irq/24/effective_affinity_list": "5\n", "proc/irq/24/smp_affinity_list": "0-3\n"},
        OK,
        "none of 1",
    ),
    case("interrupts", {"proc/irq/24/effective_affinity_list": None}, WARN, "on CPU 4-5"),
    case(
        "interrupts", {"proc/irq/24/effective_affinity_list": "1\n"}, WARN, fix="leave a CPU", workers=tuple(range(8))
    ),
    case("interrupts", {"proc/interrupts": ""}, UNKNOWN, "heading"),
    case("interrupts", {"proc/interrupts": INTERRUPTS.replace("10", "aa")}, UNKNOWN, "interrupt 24"),
    case("interrupts", {"proc/irq/24/effective_affinity_list": "here\n"}, UNKNOWN),
    case("irqbalance", {"proc/77/comm": "irqbalance\n"}, WARN, "process 77", "systemctl disable --now irqbalance"),
    case("irqbalance", {"proc": None}, UNKNOWN, "procfs"),
    case("lockup watchdog", {"proc/sys/kernel/nmi_watchdog": "1\n"}, WARN, "on", "echo 0 >"),
    case("lockup watchdog", {"proc/sys/kernel/nmi_watchdog": None}, OK, "not built"),
    case("lockup watchdog", {"proc/sys/kernel": None}, UNKNOWN),
    case("timer migration", {"proc/sys/kernel/timer_migration": "0\n"}, WARN, "off", "echo 1 >"),
    case("timer migration", {"proc/sys/kernel/timer_migration": None}, OK, "not offered"),
    case("timer migration", {"proc/sys/kernel": None}, UNKNOWN),
]
DEVICES = [
    case("82599 devices", {}, OK, f"1: {ADDRESS}"),
    case("82599 devices", {f"{DEVICE}/device": "0x1572\n"}, MISSING, "none", f"no 82599 at {ADDRESS}"),
    case("82599 devices", {f"{DEVICE}/device": "0x1572\n"}, OK, "none", need=SIMULATED),
    case("82599 devices", {f"{DEVICE}/vendor": ""}, UNKNOWN),
    case(f"driver of {ADDRESS}", {}, OK, "vfio-pci"),
    case(f"driver of {ADDRESS}", {f"{DEVICE}/driver": "../ixgbe"}, MISSING, "ixgbe", f"ixyfwd bind {ADDRESS}"),
    case(f"driver of {ADDRESS}", {f"{DEVICE}/driver": "../ixgbe"}, OK, "ixgbe", need=SIMULATED),
    case(f"driver of {ADDRESS}", {f"{DEVICE}/driver": None}, MISSING, "none", "ixyfwd bind"),
    case(f"driver of {ADDRESS}", NO_IOMMU, OK, "none"),
    case(f"driver of {ADDRESS}", {**NO_IOMMU, f"{DEVICE}/driver": "../uio_pci_generic"}, OK, "uio_pci_generic"),
    case(f"driver of {ADDRESS}", {**NO_IOMMU, f"{DEVICE}/driver": "../vfio-pci"}, MISSING, "without", "--driver none"),
    case(f"driver of {ADDRESS}", {"sys/kernel/iommu_groups/7/name": "vfio-noiommu"}, MISSING, fix="--driver none"),
    case(f"driver of {ADDRESS}", {**IDENTITY, f"{DEVICE}/driver": None}, OK, "none"),
    case(f"driver of {ADDRESS}", {**NO_IOMMU, f"{DEVICE}/sriov_numvfs": "2\n"}, MISSING, "2 virtual", "echo 0 >"),
    case(f"driver of {ADDRESS}", {DEVICE: None}, UNKNOWN, "is not there"),
    case(f"PCIe link of {ADDRESS}", {f"{DEVICE}/current_link_width": "4\n"}, WARN, "5 GT/s x4", "lspci -vvs"),
    case(f"PCIe link of {ADDRESS}", {f"{DEVICE}/current_link_speed": "2.5 GT/s PCIe\n"}, WARN, "2.5 GT/s x8"),
    case(f"PCIe link of {ADDRESS}", {f"{DEVICE}/current_link_speed": "8.0 GT/s PCIe\n"}, OK, "8 GT/s x8"),
    case(f"PCIe link of {ADDRESS}", {f"{DEVICE}/current_link_speed": "Unknown\n"}, UNKNOWN, "'Unknown'"),
    case(f"PCIe link of {ADDRESS}", {f"{DEVICE}/current_link_width": "0\n"}, UNKNOWN, "says 0"),
    case(f"NUMA node of {ADDRESS}", {}, OK, "node 1"),
    case(f"NUMA node of {ADDRESS}", {f"{DEVICE}/numa_node": "0\n"}, WARN, "CPU 4-5 are not", 'workers = "0-1"'),
    case(f"NUMA node of {ADDRESS}", {f"{DEVICE}/numa_node": "-1\n"}, UNKNOWN, "(-1)"),
    case(f"NUMA node of {ADDRESS}", {"sys/devices/system/node": None}, OK, "one node"),
    case(f"link power saving of {ADDRESS}", {f"{DEVICE}/link/l1_aspm": "1\n"}, WARN, "on: L1", "link/l1_aspm"),
    case(f"link power saving of {ADDRESS}", {f"{DEVICE}/link": None, "sys/module/pcie_aspm": None}, OK, "not offered"),
    case(f"link power saving of {ADDRESS}", {f"{DEVICE}/link/l1_aspm": "on\n"}, UNKNOWN),
]
CASES = [*HUGE, *MEMORY, *IOMMU, *LIMIT, *CPUS, *OTHERS, *DEVICES]


@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.label}-{one.state}")
def test_a_row_says_what_is_there(tmp_path: Path, one: Case) -> None:
    machine = build(tmp_path, one.changes)
    row = row_of(examine(machine, replace(one.need, **one.extra)), one.label)
    assert row.state is one.state, row
    assert one.found in row.found
    assert one.fix in row.fix
    assert bool(row.fix) == (row.state in {WARN, MISSING}), row
    assert row.wanted


def test_every_row_is_ok_on_a_machine_that_is_ready(tmp_path: Path) -> None:
    rows = examine(build(tmp_path), NEED)
    assert [row for row in rows if row.state is not OK] == []
    assert exit_code(rows) == 0
    assert {one.label for one in CASES} <= {row.label for row in rows}


def test_every_row_has_a_case_for_each_trouble() -> None:
    troubled = {one.label for one in CASES if one.state is not OK}
    unreadable = {one.label for one in CASES if one.state is UNKNOWN}
    # These read nothing but whether something exists, or one word that any text answers.
    assert troubled - unreadable <= {"VFIO files", "VFIO no-IOMMU mode", "hugepages of node 0"}


def test_only_what_is_required_decides_the_exit_code(tmp_path: Path) -> None:
    rows = examine(build(tmp_path, {f"{POOL_2M}/free_hugepages": "0\n"}), SIMULATED)
    assert exit_code(rows) == 0
    rows = examine(MachineFiles(tmp_path), NEED)
    assert exit_code(rows) == 1
    assert counts(rows)["missing"] == 1


def test_an_empty_machine_is_unknown_and_no_traceback(tmp_path: Path) -> None:
    rows = examine(MachineFiles(tmp_path), NEED)
    assert counts(rows)["unknown"] > 15
    assert all(row.found for row in rows)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = build(tmp_path)
    original = Path.read_text

    def denied(self: Path, *arguments: Any, **options: Any) -> str:
        if self.name == "limits":
            raise PermissionError(13, "Permission denied")
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", denied)
    row = row_of(examine(machine, NEED), "open files")
    assert (row.state, row.found) == (UNKNOWN, "/proc/self/limits cannot be read (Permission denied)")


def test_vfio_files_without_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: not str(path).endswith("/7"))
    row = row_of(examine(build(tmp_path), NEED), "VFIO files")
    assert (row.state, row.found) == (MISSING, "no access to /dev/vfio/7")
    assert row.fix == f"chown {os.getuid()} /dev/vfio/7"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("healthy")
    build(root)
    return root


@settings(max_examples=40, deadline=None)
@given(path=st.sampled_from(sorted(files())), garbage=st.binary(max_size=40))
def test_garbage_in_any_file_is_a_row_and_no_traceback(healthy: Path, path: str, garbage: bytes) -> None:
    (healthy / path).write_bytes(garbage)
    try:
        rows = examine(MachineFiles(healthy), NEED)
    finally:
        (healthy / path).write_text(files()[path])
    assert {one.label for one in CASES} <= {row.label for row in rows}


def test_directories_in_place_of_all_files_are_no_traceback(tmp_path: Path) -> None:
    machine = build(tmp_path)
    for path in files():
        (tmp_path / path).unlink()
        (tmp_path / path).mkdir()
    rows = examine(machine, NEED)
    assert row_of(rows, "swap").found == "/proc/swaps cannot be read (Is a directory)"


def test_the_need_follows_the_configuration(tmp_path: Path) -> None:
    need = need_of(default_config([0, 1, 2]), [0, 1, 2], {})
    assert (need.hardware, len(need.workers), need.arena_pages) == (False, 2, 6)
    assert (need.demand.processes, need.demand.cpus) == (5, 3)
    file = tmp_path / "real.toml"
    file.write_text(
        '[cpu]\nworkers = "2,1"\n[forward]\nring_size = 4096\nidle = "spin"\n[memory]\nbacking = "hugepages"\n'
        '[[port]]\nname = "a"\ndevice = "0000:03:00.0"\n[[port]]\nname = "b"\ndevice = "sim:b"\n'
        '[[link]]\nports = ["a", "b"]\n'
    )
    need = need_of(load_config(file), [0, 1, 2], {})
    assert (need.devices, need.workers, need.backing, need.spin) == ((ADDRESS,), (2, 1), "hugepages", True)
    assert 275 < need.ring_fill_us < 276
