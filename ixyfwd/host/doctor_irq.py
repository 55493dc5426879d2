"""Rows on interrupts: which are led to the workers' CPUs, and by whom."""

from ixyfwd.config.cpus import format_cpu_list
from ixyfwd.host.doctor_machine import CPUS, Finding, MachineFiles, Need, good, warn
from ixyfwd.kit.tree import UnreadableError


def irq_affinity(machine: MachineFiles, need: Need, _: str) -> Finding:
    """Every interrupt on a worker's CPU takes microseconds from it. Those that never fired do not count."""
    workers = set(need.workers)
    wanted = f"no device interrupts on CPU {format_cpu_list(sorted(workers))}"
    fired = _fired(machine)
    led: dict[int, frozenset[int]] = {}
    for name in machine.names("/proc/irq"):
        if name.isdigit() and fired.get(int(name)):
            where = _affinity(machine, name) & workers
            if where:
                led[int(name)] = where
    if not led:
        return good(f"none of {sum(1 for count in fired.values() if count)} in use", wanted)
    cpus = sorted({cpu for where in led.values() for cpu in where})
    found = f"{len(led)} of {sum(1 for count in fired.values() if count)} in use, on CPU {format_cpu_list(cpus)}"
    others = sorted(machine.cpus(f"{CPUS}/online") - workers)
    if not others:
        return warn(found, wanted, 'leave a CPU to the kernel, in the configuration: [cpu] workers = "..."')
    numbers = " ".join(str(number) for number in sorted(led))
    there = format_cpu_list(others)
    return warn(found, wanted, f"for i in {numbers}; do echo {there} > /proc/irq/$i/smp_affinity_list; done")


def _affinity(machine: MachineFiles, irq: str) -> frozenset[int]:
    """Where an interrupt goes; where it may go if the kernel does not say.

    One that has been told to go elsewhere moves when it fires next: until then the effective list is the old one.
    """
    allowed = machine.cpus(f"/proc/irq/{irq}/smp_affinity_list")
    effective = f"/proc/irq/{irq}/effective_affinity_list"
    cpus = machine.cpus(effective) if machine.exists(effective) else frozenset[int]()
    return allowed & cpus if cpus else allowed


def _fired(machine: MachineFiles) -> dict[int, int]:
    """How often each numbered interrupt fired, on all CPUs together."""
    lines = machine.text("/proc/interrupts").splitlines()
    if not lines or not lines[0].split() or not all(word.startswith("CPU") for word in lines[0].split()):
        raise UnreadableError("/proc/interrupts has no heading of CPUs, expected a table")
    columns = len(lines[0].split())
    found = {}
    for line in lines[1:]:
        number, _, rest = line.partition(":")
        if number.strip().isdigit():
            counts = rest.split()[:columns]
            if len(counts) < columns or not all(count.isdigit() for count in counts):
                raise UnreadableError(f"/proc/interrupts has a broken line for interrupt {number.strip()}")
            found[int(number)] = sum(int(count) for count in counts)
    return found


def irqbalance(machine: MachineFiles, _need: Need, _: str) -> Finding:
    """The irqbalance daemon, which moves interrupts back to the workers' CPUs."""
    pids = [name for name in machine.names("/proc") if name.isdigit()]
    if not pids:
        raise UnreadableError("/proc shows no process (is procfs mounted?)")
    for pid in pids:
        try:
            name = machine.text(f"/proc/{pid}/comm")
        except UnreadableError:
            continue  # it has ended since
        if name == "irqbalance":
            return warn(f"runs (process {pid})", "does not run", "systemctl disable --now irqbalance")
    return good("does not run", "does not run")
