"""Rows on the workers' CPUs: who else runs there, how fast they are, how they sleep."""

import re
from collections.abc import Iterable
from typing import Final

from ixyfwd.config.cpus import format_cpu_list
from ixyfwd.host.doctor_irq import irq_affinity, irqbalance
from ixyfwd.host.doctor_machine import CPUS, Finding, MachineFiles, Need, Requirement, good, warn
from ixyfwd.kit.tree import UnreadableError

_PSTATE: Final = "/sys/devices/system/cpu/intel_pstate/no_turbo"
_BOOST: Final = "/sys/devices/system/cpu/cpufreq/boost"
_CLOCK: Final = "/sys/devices/system/clocksource/clocksource0"
# Clocks that are read without leaving the process (vDSO).
_FAST_CLOCKS: Final = frozenset({"tsc", "kvm-clock", "hyperv_clocksource_tsc_page"})


def _workers(need: Need) -> str:
    return format_cpu_list(sorted(set(need.workers)))


def _outside(need: Need, inside: Iterable[int], found: str, wanted: str, fix: str) -> Finding:
    """Good if all workers' CPUs are `inside`."""
    left = sorted(set(need.workers) - set(inside))
    if not left:
        return good(found, wanted)
    return warn(f"{found}; not CPU {format_cpu_list(left)}", wanted, fix)


def isolated(machine: MachineFiles, need: Need, _: str) -> Finding:
    """The scheduler puts nothing on an isolated CPU by itself."""
    cpus = machine.cpus(f"{CPUS}/isolated")
    found = f"isolated: {format_cpu_list(sorted(cpus)) or 'none'}"
    workers = _workers(need)
    return _outside(need, cpus, found, f"CPU {workers} isolated", machine.boot_fix(f"isolcpus={workers}"))


def tickless(machine: MachineFiles, need: Need, _: str) -> Finding:
    """Without nohz_full the timer interrupts a worker up to 1000 times a second."""
    path, workers = f"{CPUS}/nohz_full", _workers(need)
    wanted = f"no timer ticks on CPU {workers}"
    if not machine.exists(path):
        if not machine.exists(CPUS):
            raise UnreadableError(f"{CPUS} is not there (is sysfs mounted?)")
        return warn("not built into this kernel", wanted, "boot a kernel with CONFIG_NO_HZ_FULL")
    cpus = machine.cpus(path)
    found = f"without ticks: {format_cpu_list(sorted(cpus)) or 'none'}"
    return _outside(need, cpus, found, wanted, machine.boot_fix(f"nohz_full={workers}"))


def rcu_callbacks(machine: MachineFiles, need: Need, _: str) -> Finding:
    """nohz_full implies rcu_nocbs for its CPUs (kernel-parameters.txt)."""
    line, workers = machine.command_line(), _workers(need)
    cpus: set[int] = set()
    if "rcu_nocbs" in line or "nohz_full" in line:
        cpus |= _listed(machine, line.get("rcu_nocbs", ""))
        path = f"{CPUS}/nohz_full"
        cpus |= machine.cpus(path) if machine.exists(path) else set()
    found = f"moved away from: {format_cpu_list(sorted(cpus)) or 'none'}"
    return _outside(need, cpus, found, f"CPU {workers} without RCU callbacks", machine.boot_fix(f"rcu_nocbs={workers}"))


def _listed(machine: MachineFiles, text: str) -> set[int]:
    """A CPU list of the command line, where "all" and "2-N" are allowed too."""
    possible = machine.cpus(f"{CPUS}/possible")
    if text == "all":
        return set(possible)
    text = re.sub(r"\bN\b", str(max(possible, default=0)), text)
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        bounds = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        if bounds is None:
            raise UnreadableError(f"/proc/cmdline says rcu_nocbs={text}, expected a list of CPUs")
        found |= set(range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1))
    return found & set(possible)


def governor(machine: MachineFiles, need: Need, _: str) -> Finding:
    """A governor that follows the load is late for every burst."""
    by_cpu = {}
    for cpu in sorted(set(need.workers)):
        path = f"{CPUS}/cpu{cpu}/cpufreq/scaling_governor"
        if machine.exists(path):
            by_cpu[cpu] = machine.text(path)
    if not by_cpu:
        return good("this kernel does not scale the frequency", "performance")
    if "" in by_cpu.values():
        raise UnreadableError("a scaling_governor file is empty, expected a governor")
    found = ", ".join(sorted(set(by_cpu.values())))
    slow = [cpu for cpu, name in by_cpu.items() if name != "performance"]
    if not slow:
        return good(found, "performance")
    fix = "; ".join(f"echo performance > {CPUS}/cpu{cpu}/cpufreq/scaling_governor" for cpu in slow)
    return warn(f"{found} (CPU {format_cpu_list(slow)})", "performance", fix)


def turbo(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """On is faster; off makes measurements repeatable."""
    wanted = "on (off only for repeatable measurements)"
    for path, on_value in ((_PSTATE, 0), (_BOOST, 1)):
        if machine.exists(path):
            if machine.number(path) == on_value:
                return good("on", wanted)
            return warn("off", wanted, f"echo {on_value} > {path}")
    return good("not switchable by this kernel", wanted)


def siblings(machine: MachineFiles, need: Need, _: str) -> Finding:
    """Two workers on the threads of one core share its execution units and caches."""
    wanted = "a core for each worker"
    cores: dict[frozenset[int], list[int]] = {}
    for cpu in sorted(set(need.workers)):
        threads = machine.cpus(f"{CPUS}/cpu{cpu}/topology/thread_siblings_list")
        if cpu not in threads:
            raise UnreadableError(f"{CPUS}/cpu{cpu}/topology/thread_siblings_list does not list CPU {cpu}")
        cores.setdefault(threads, []).append(cpu)
    shared = [cpus for cpus in cores.values() if len(cpus) > 1]
    twice = len(need.workers) - len(set(need.workers))
    if not shared and not twice:
        return good(f"{len(cores)} {'worker, 1 core' if len(cores) == 1 else f'workers, {len(cores)} cores'}", wanted)
    parts = [f"CPU {format_cpu_list(cpus)} are one core" for cpus in shared]
    if twice:
        parts.append(f"{len(need.workers)} workers on {len(set(need.workers))} CPUs")
    first = format_cpu_list([cpus[0] for cpus in cores.values()])
    return warn("; ".join(parts), wanted, f'in the configuration: [cpu] workers = "{first}"')


def sleep_states(machine: MachineFiles, need: Need, _: str) -> Finding:
    """Waking up must take less time than the wire takes to fill a ring."""
    wanted = f"waking up within {need.ring_fill_us:.0f} us, the time that fills a ring"
    if need.spin:
        return good("never entered: idle is spin", wanted)
    slow: dict[str, int] = {}
    found_any = False
    for cpu in sorted(set(need.workers)):
        base = f"{CPUS}/cpu{cpu}/cpuidle"
        for name in machine.names(base):
            if not re.fullmatch(r"state\d+", name) or not machine.exists(f"{base}/{name}/latency"):
                continue
            found_any = True
            path = f"{base}/{name}/disable"
            off = machine.exists(path) and machine.number(path)
            latency_us = machine.number(f"{base}/{name}/latency")
            if not off and latency_us > need.ring_fill_us:
                slow[path] = latency_us
    if not slow:
        return good("none is slower" if found_any else "this kernel chooses no sleep states", wanted)
    fix = "; ".join(f"echo 1 > {path}" for path in slow)
    return warn(f"up to {max(slow.values())} us", wanted, fix)


def clock(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """Every other clock costs a system call, or worse, a device access per reading."""
    path = f"{_CLOCK}/current_clocksource"
    name = machine.text(path)
    if not name:
        raise UnreadableError(f"{path} is empty, expected a clock")
    if name in _FAST_CLOCKS:
        return good(name, "tsc")
    if "tsc" in machine.text(f"{_CLOCK}/available_clocksource").split():
        return warn(name, "tsc", f"echo tsc > {path}")
    return warn(name, "tsc", machine.boot_fix("tsc=reliable"))


def watchdog(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """The hard-lockup watchdog takes a performance counter and interrupts every CPU."""
    path = "/proc/sys/kernel/nmi_watchdog"
    if not machine.exists(path):
        if not machine.exists("/proc/sys/kernel"):
            raise UnreadableError("/proc/sys/kernel is not there (is procfs mounted?)")
        return good("not built into this kernel", "off")
    return warn("on", "off", f"echo 0 > {path}") if machine.number(path) else good("off", "off")


def timer_migration(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """Timers that were set from a worker's CPU move to one that is busy anyway."""
    path = "/proc/sys/kernel/timer_migration"
    if not machine.exists(path):
        if not machine.exists("/proc/sys/kernel"):
            raise UnreadableError("/proc/sys/kernel is not there (is procfs mounted?)")
        return good("not offered by this kernel", "on")
    return good("on", "on") if machine.number(path) else warn("off", "on", f"echo 1 > {path}")


CPU: Final = (
    Requirement("cpu", "isolated CPUs", isolated),
    Requirement("cpu", "timer ticks", tickless),
    Requirement("cpu", "RCU callbacks", rcu_callbacks),
    Requirement("cpu", "governor", governor),
    Requirement("cpu", "turbo", turbo),
    Requirement("cpu", "SMT siblings", siblings),
    Requirement("cpu", "sleep states", sleep_states),
    Requirement("cpu", "clock", clock),
    Requirement("cpu", "interrupts", irq_affinity),
    Requirement("cpu", "irqbalance", irqbalance),
    Requirement("cpu", "lockup watchdog", watchdog),
    Requirement("cpu", "timer migration", timer_migration),
)
