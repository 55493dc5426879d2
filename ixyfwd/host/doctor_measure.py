"""Rows of `doctor --measure`: what was seen, judged by how long a ring lasts."""

from collections.abc import Iterator
from typing import Final

from ixyfwd.config.cpus import format_cpu_list
from ixyfwd.host.doctor import DoctorRow
from ixyfwd.host.doctor_machine import Finding, FindingState, MachineFiles, Need, good, warn
from ixyfwd.host.doctor_watch import Account, Distance, Seen, User, account_of
from ixyfwd.probe.distance import NEAR_BELOW_NS, distance_of

TOPIC: Final = "measured"
NOTICEABLE: Final = 0.001  # share of a CPU's time
NAMED_USERS: Final = 3


def measured_rows(machine: MachineFiles, need: Need, seen: Seen) -> list[DoctorRow]:
    """Three rows per CPU, one per pair of worker and model."""
    return [
        DoctorRow(TOPIC, name, subject, finding.state, finding.found, finding.wanted, finding.fix)
        for name, subject, finding in _findings(machine, need, seen)
    ]


def unmeasured_row(reason: str) -> DoctorRow:
    """The one row where the watch failed."""
    return DoctorRow(TOPIC, "pauses", "", FindingState.UNKNOWN, reason, "to be known", "")


def _findings(machine: MachineFiles, need: Need, seen: Seen) -> Iterator[tuple[str, str, Finding]]:
    for cpu, watched in sorted(seen.watched.items()):
        subject, account = f"on CPU {cpu}", account_of(watched, need.ring_fill_us)
        yield "pauses", subject, _pauses(need, cpu, account)
        yield "processes", subject, _processes(machine, need, cpu, account, seen.users.get(cpu, ()))
        yield "hypervisor", subject, _hypervisor(account)
    for distance in seen.distances:
        yield "distance", f"of CPU {distance.worker} and {distance.model}", _distance(distance)


def _pauses(need: Need, cpu: int, account: Account) -> Finding:
    wanted = f"none longer than {need.ring_fill_us:.0f} us, the time that fills a ring"
    if not account.pauses_per_s:
        return good("none longer than a ring lasts", wanted)
    found = (
        f"{account.pauses_per_s:.0f} a second, {_percent(account.paused_share)} of the time, "
        f"the longest {_time(account.longest_us)}"
    )
    if cpu in need.workers:
        found += f"; {_percent(account.overrun_share)} of frames lost at line rate"
    else:
        found += "; the model's wires stand still meanwhile"
    return warn(found, wanted, "the rows below say who takes the CPU, the rows on cpu how to keep it")


def _processes(machine: MachineFiles, need: Need, cpu: int, account: Account, users: tuple[User, ...]) -> Finding:
    """Run delay is what a process that polls waits; who ran meanwhile is only likely to be the reason."""
    wanted = "no other process on the CPU"
    if account.run_delay_share is None:
        found = "/proc/PID/schedstat does not say how long a process waits"
        return Finding(FindingState.UNKNOWN, found, wanted)
    found = f"{_percent(account.run_delay_share)} of the time behind others"
    if account.run_delay_share < NOTICEABLE:
        return good(found, wanted)
    if users:
        named = [f"{user.name} (process {user.pid}) {_percent(user.share)}" for user in users[:NAMED_USERS]]
        found += f": {', '.join(named)}"
    if cpu not in need.workers:
        return warn(found, wanted, "end them, or give the model a CPU of its own: [cpu] model")
    workers = format_cpu_list(sorted(set(need.workers)))
    return warn(found, wanted, f"end them, or keep them away: {machine.boot_fix(f'isolcpus={workers}')}")


def _hypervisor(account: Account) -> Finding:
    """A host that does not report steal shows in pauses that nothing else explains."""
    wanted = "no time taken by a hypervisor"
    fix = "in a virtual machine: have the host give it CPUs of its own; else look for interrupts and firmware (SMI)"
    if account.steal_share is not None and account.steal_share >= NOTICEABLE:
        return warn(f"says that it took {_percent(account.steal_share)} of the time", wanted, fix)
    explained = (account.run_delay_share or 0.0) + (account.steal_share or 0.0)
    unexplained = account.paused_share - explained
    if unexplained >= NOTICEABLE:
        return warn(f"says nothing; {_percent(unexplained)} of the time is unexplained", wanted, fix)
    if account.steal_share is None:
        return Finding(FindingState.UNKNOWN, "/proc/stat does not say what a hypervisor takes", wanted)
    return good("took nothing", wanted)


def _distance(distance: Distance) -> Finding:
    wanted = f"near: a cache line there and back within {NEAR_BELOW_NS:.0f} ns"
    before, after = distance.before_ns, distance.after_ns
    if before is None or after is None:
        return Finding(FindingState.UNKNOWN, "no answer from one of the CPUs within a second", wanted)
    fix = "choose CPUs with a common last-level cache in [cpu]; in a virtual machine, have the host pin its CPUs"
    kinds = distance_of(before), distance_of(after)
    found = f"{before:.0f} ns before, {after:.0f} ns after"
    if kinds[0] != kinds[1]:
        return warn(f"changed from {kinds[0]} to {kinds[1]}: {found}", wanted, fix)
    return good(f"near: {found}", wanted) if kinds[0] == "near" else warn(f"far: {found}", wanted, fix)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _time(us: float) -> str:
    return f"{us:.0f} us" if us < 1000 else f"{us / 1000:.1f} ms"
