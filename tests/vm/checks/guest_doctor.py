"""`ixyfwd doctor` in the guest: every row held against what the shell reads there, and its advice taken."""

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from tests.vm import inside
from tests.vm.guest import CheckError, Hardware
from tests.vm.lab import Check, Lab

Rows = Mapping[str, Mapping[str, Any]]
CONFIG = "/tmp/doctor.toml"
ROWS_AT_LEAST = 36
_CPU = "/sys/devices/system/cpu"
_POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB"
_CLOCK = "/sys/devices/system/clocksource/clocksource0"

# What the shell reads, and what the row of that name must say if that is the answer (worker on CPU 1).
TRUTHS: tuple[tuple[str, str, Callable[[str, Mapping[str, Any]], bool]], ...] = (
    (
        "hugepages",
        f"echo $(cat {_POOL}/free_hugepages) of $(cat {_POOL}/nr_hugepages)",
        lambda said, row: row["found"] == f"{said} pages of 2 MiB free",
    ),
    (
        "hugepages of node 0",
        "cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
        lambda said, row: f"of {said} pages of 2 MiB" in row["found"],
    ),
    (
        "hugetlbfs",
        "grep -c ' hugetlbfs ' /proc/mounts || true",
        lambda said, row: row["found"].startswith("not mounted" if said == "0" else "mounted"),
    ),
    (
        "transparent hugepages",
        "grep -o '\\[.*\\]' /sys/kernel/mm/transparent_hugepage/enabled | tr -d '[]'",
        lambda said, row: f"enabled = {said}," in row["found"],
    ),
    ("same-page merging", "cat /sys/kernel/mm/ksm/run", lambda said, row: _is(row, said == "1")),
    (
        "NUMA balancing",
        "ls -d /sys/devices/system/node/node[0-9]* | wc -l",
        lambda said, row: said == "1" and _is(row, False),
    ),
    (
        "turbo",
        f"ls {_CPU}/intel_pstate/no_turbo {_CPU}/cpufreq/boost 2>/dev/null | wc -l",
        lambda said, row: said == "0" and row["found"] == "not switchable by this kernel",
    ),
    (
        "sleep states",
        f"ls -d {_CPU}/cpu1/cpuidle/state* 2>/dev/null | wc -l",
        lambda said, row: said != "0" or row["found"] == "this kernel chooses no sleep states",
    ),
    (
        "physical addresses",
        "ls /sys/kernel/iommu_groups | wc -l",
        lambda said, row: row["found"] == ("readable, with page frame numbers" if said == "0" else "not needed"),
    ),
    (
        "VFIO files",
        "[ $(ls /sys/kernel/iommu_groups | wc -l) = 0 ] || [ -e /dev/vfio/vfio ]; echo $?",
        lambda said, row: _is(row, said == "1"),
    ),
    (
        "82599 devices",
        "grep -lx 0x10fb /sys/bus/pci/devices/*/device | wc -l",
        lambda said, row: row["found"].startswith(f"{said}: "),
    ),
    ("swap", "tail -n +2 /proc/swaps | wc -l", lambda said, row: _is(row, said != "0")),
    (
        "IOMMU",
        "ls /sys/kernel/iommu_groups | wc -l",
        lambda said, row: row["found"].startswith("off" if said == "0" else "on") and _is(row, said == "0"),
    ),
    (
        "vfio-pci",
        "ls -d /sys/bus/pci/drivers/vfio-pci 2>/dev/null | wc -l",
        lambda said, row: (row["found"] == "loaded") == (said == "1"),
    ),
    (
        "VFIO no-IOMMU mode",
        "cat /sys/module/vfio/parameters/enable_unsafe_noiommu_mode 2>/dev/null || echo none",
        lambda said, row: row["found"].startswith({"none": "not offered", "N": "off", "Y": "on"}[said]),
    ),
    ("privileges", "id -u", lambda said, row: said == "0" and "CAP_SYS_ADMIN, CAP_SYS_RAWIO" in row["found"]),
    ("open files", "ulimit -Sn", lambda said, row: row["found"] == said),
    (
        "locked memory",
        "ulimit -Sl",
        lambda said, row: row["found"].startswith("unlimited" if said == "unlimited" else f"{int(said) / 1024:g} MiB"),
    ),
    (
        "isolated CPUs",
        f"cat {_CPU}/isolated",
        lambda said, row: row["found"].startswith(f"isolated: {said or 'none'}") and _is(row, said != "1"),
    ),
    ("timer ticks", f"cat {_CPU}/nohz_full 2>/dev/null || echo absent", lambda said, row: _is(row, said != "1")),
    (
        "RCU callbacks",
        "grep -c rcu_nocbs=1 /proc/cmdline || true",
        lambda said, row: _is(row, said == "0"),
    ),
    (
        "governor",
        f"cat {_CPU}/cpu1/cpufreq/scaling_governor 2>/dev/null || echo none",
        lambda said, row: row["found"].startswith("this kernel does not scale" if said == "none" else said),
    ),
    (
        "SMT siblings",
        f"cat {_CPU}/cpu1/topology/thread_siblings_list",
        lambda _, row: row["found"] == "1 worker, 1 core",
    ),
    ("clock", f"cat {_CLOCK}/current_clocksource", lambda said, row: row["found"] == said),
    (
        "interrupts",
        # Interrupts with a number that ever fired and that are led to CPU 1 and not on their way from there.
        'awk \'$1 ~ /^[0-9]+:$/ && $2 + $3 > 0 {sub(":", "", $1); print $1}\' /proc/interrupts | while read i; do '
        "for list in smp effective; do case $(cat /proc/irq/$i/${list}_affinity_list) in 1|0-1|0,1) echo $i;; esac; "
        "done; done | uniq -d | wc -l",
        lambda said, row: row["found"].startswith("none" if said == "0" else f"{said} of"),
    ),
    ("irqbalance", "cat /proc/[0-9]*/comm | grep -cx irqbalance || true", lambda said, row: _is(row, said != "0")),
    ("lockup watchdog", "cat /proc/sys/kernel/nmi_watchdog || echo 0", lambda said, row: _is(row, said == "1")),
    ("timer migration", "cat /proc/sys/kernel/timer_migration || echo 1", lambda said, row: _is(row, said == "0")),
)
DEVICE_TRUTHS: tuple[tuple[str, str, Callable[[str, Mapping[str, Any]], bool]], ...] = (
    ("driver of", "basename $(readlink driver || echo none)", lambda said, row: row["found"] == said),
    (
        "PCIe link of",
        "echo $(cut -d' ' -f1 current_link_speed) $(cat current_link_width) | sed 's/\\.0 / /; s, , GT/s x,'",
        lambda said, row: row["found"].startswith(f"{said} "),
    ),
    (
        "link power saving of",
        "cat link/*aspm 2>/dev/null | grep -c 1 || true",
        lambda said, row: _is(row, said != "0"),
    ),
    ("NUMA node of", "ls -d /sys/devices/system/node/node[0-9]* | wc -l", lambda said, _: said == "1"),
)


def _is(row: Mapping[str, Any], troubled: bool) -> bool:
    return bool((row["state"] != "ok") == troubled)


def _ask(lab: Lab, status: int, *arguments: str) -> Rows:
    """Rows by label; the exit code must be `status`, in the report and of the process."""
    report = inside.run_json(lab, "doctor", *arguments, "--json", status=status)
    rows = {f"{row['name']} {row['subject']}" if row["subject"] else row["name"]: row for row in report["rows"]}
    missing = [f"{label}: {row['found']}" for label, row in rows.items() if row["state"] == "missing"]
    if report["schema"] != 1 or report["exit_code"] != status or bool(missing) != (status == 1):
        raise CheckError(f"exit code {status} with these missing: {missing}")
    return rows


def _addresses(lab: Lab) -> list[str]:
    found = lab.must("grep -lx 0x10fb /sys/bus/pci/devices/*/device | xargs -n 1 dirname | xargs -n 1 basename").split()
    if len(found) != 2:
        raise CheckError(f"the guest shows these 82599: {found}")
    return found


def _configure(lab: Lab) -> list[str]:
    """A configuration of the two real ports, one worker on CPU 1; their addresses."""
    found = _addresses(lab)
    ports = "".join(f'[[port]]\nname = "{name}"\ndevice = "{at}"\n' for name, at in zip("ab", found, strict=True))
    inside.write(lab, CONFIG, f'[cpu]\nworkers = "1"\n{ports}[[link]]\nports = ["a", "b"]\n')
    return found


def _hold(lab: Lab, rows: Rows) -> int:
    """Every row against the shell; the number of rows compared."""
    scripts = [(label, script, holds) for label, script, holds in TRUTHS]
    for address in _addresses(lab):
        for label, script, holds in DEVICE_TRUTHS:
            scripts.append((f"{label} {address}", f"cd /sys/bus/pci/devices/{address}; {script}", holds))
    said = lab.must("".join(f"( {script} ) 2>/dev/null | tr '\\n' ' '; echo; " for _, script, _ in scripts))
    answers = [line.strip() for line in said.split("\n")[: len(scripts)]]
    wrong = [
        f"{label}: the shell says {answer!r}, the row {rows[label]['state']} {rows[label]['found']!r}"
        for (label, _, holds), answer in zip(scripts, answers, strict=True)
        if not holds(answer, rows[label])
    ]
    if wrong:
        raise CheckError("; ".join(wrong))
    if len(rows) < ROWS_AT_LEAST:
        raise CheckError(f"only {len(rows)} rows")
    return len(scripts)


def simulated(lab: Lab) -> str:
    """Without a configuration nothing is required."""
    rows = _ask(lab, 0)
    if rows["hugepages"]["state"] != "warn":
        raise CheckError(f"hugepages: {rows['hugepages']}")
    return f"{len(rows)} rows, nothing required is missing; exit code 0"


def hugepages(lab: Lab) -> str:
    """Real ports without hugepages: missing, and the printed command is the cure."""
    _configure(lab)
    rows = _ask(lab, 1, "-c", CONFIG)
    compared = _hold(lab, rows)
    missing = [label for label, row in rows.items() if row["state"] == "missing"]
    if missing != ["hugepages", "hugetlbfs"]:  # ports without an IOMMU need a file in a hugetlbfs
        raise CheckError(f"missing: {missing}")
    for label in missing:
        lab.must(f"chroot /host sh -c {shlex.quote(rows[label]['fix'])}")  # where ixyfwd runs, and looks for mounts
    rows = _ask(lab, 0, "-c", CONFIG)
    _hold(lab, rows)
    return f"{compared} rows agree with the shell; exit code 1, then 0 with {rows['hugepages']['found']}"


def kernel_driver(lab: Lab) -> str:
    """A port that Linux drives is missing for ixyfwd, with the command that takes it."""
    lab.must("modprobe ixgbe")
    first = _addresses(lab)[0]
    rows = _ask(lab, 1, "-c", CONFIG)
    _hold(lab, rows)
    row = rows[f"driver of {first}"]
    if (row["state"], row["found"], row["fix"]) != ("missing", "ixgbe", f"ixyfwd bind {first}"):
        raise CheckError(f"driver: {row}")
    # Where `bind` keeps its journal: the host's tree is read-only in the guest.
    lab.must("mount -t tmpfs -o mode=755 tmpfs /host/var/lib")
    for address in _addresses(lab):
        done = inside.run(lab, *rows[f"driver of {address}"]["fix"].split()[1:])
        if done.status:
            raise CheckError(f"bind ended with {done.status}: {done.output}")
    _hold(lab, _ask(lab, 0, "-c", CONFIG))
    return f"ixgbe on {first}: exit code 1, then 0 after `{row['fix']}`"


def prepared(lab: Lab) -> str:
    """IOMMU, hugepages and isolated CPU 1: only vfio-pci is missing, by file and by module."""
    _configure(lab)
    rows = _ask(lab, 1, "-c", CONFIG)
    compared = _hold(lab, rows)
    good = ("hugepages", "IOMMU", "isolated CPUs")
    if any(rows[name]["state"] != "ok" for name in good) or rows["vfio-pci"]["state"] != "missing":
        raise CheckError(f"{[rows[name] for name in (*good, 'vfio-pci')]}")
    return f"{compared} rows agree with the shell; missing: vfio-pci"


def vfio(lab: Lab) -> str:
    """The printed command loads vfio-pci; devices that have it need nothing more."""
    rows = _ask(lab, 1, "-c", CONFIG)
    lab.must(rows["vfio-pci"]["fix"])
    for address in _addresses(lab):
        at = f"/sys/bus/pci/devices/{address}"
        lab.must(f"echo vfio-pci > {at}/driver_override; echo {address} > /sys/bus/pci/drivers_probe")
    rows = _ask(lab, 0, "-c", CONFIG)
    _hold(lab, rows)
    groups = lab.must("ls /dev/vfio | grep -vx vfio | sort").split()
    if any(f"/dev/vfio/{group}" not in rows["VFIO files"]["found"] for group in groups):
        raise CheckError(f"groups {groups}: {rows['VFIO files']}")
    if rows["interrupts"]["state"] == "warn":
        lab.must(rows["interrupts"]["fix"])
        rows = _ask(lab, 0, "-c", CONFIG)
        _hold(lab, rows)
    if rows["interrupts"]["state"] != "ok":
        raise CheckError(f"interrupts: {rows['interrupts']}")
    return f"exit code 0; {rows['VFIO files']['found']}; interrupts {rows['interrupts']['found']}"


DOCTOR_CHECKS = (
    Check(
        "guest-doctor",
        "ixyfwd doctor without IOMMU and hugepages, and its advice taken",
        (("simulated", simulated), ("hugepages", hugepages), ("kernel driver", kernel_driver)),
    ),
    Check(
        "guest-doctor-vfio",
        "ixyfwd doctor with IOMMU, hugepages and an isolated CPU",
        (("prepared", prepared), ("vfio", vfio)),
        hardware=Hardware(iommu=True, hugepages=64, kernel="isolcpus=1 nohz_full=1 rcu_nocbs=1"),
    ),
)
