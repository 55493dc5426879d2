"""What `doctor --measure` sees: a process spins on each CPU that would poll, for a second, and notes what it misses."""

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import psutil

from ixyfwd.host.doctor_machine import Need
from ixyfwd.probe.distance import round_trip_ns
from ixyfwd.probe.pauses import Watched, observe_cpus

SHOWN_SHARE: Final = 0.001  # of a CPU's time; processes below that are not named
NS_PER_S: Final = 1e9


@dataclass(frozen=True)
class User:
    """A process that ran meanwhile, and the share of a CPU's time that it took."""

    pid: int
    name: str
    share: float


@dataclass(frozen=True)
class Distance:
    """The round trip of a cache line between two CPUs, before and after the watch; None is what cannot be measured."""

    worker: int
    model: int
    before_ns: float | None
    after_ns: float | None


@dataclass(frozen=True)
class Seen:
    """The result of a watch. `users`: by CPU the processes that were last seen on it, the busiest first."""

    duration_s: float
    watched: Mapping[int, Watched]
    users: Mapping[int, tuple[User, ...]] = field(default_factory=dict)
    distances: tuple[Distance, ...] = ()


def watch_machine(need: Need, duration_s: float) -> Seen:
    """Watch the CPUs of the workers and of the model. Raises IxyfwdError if that fails."""
    cpus = {*need.workers, *([] if need.model is None else [need.model])}
    pairs = [] if need.model is None else [(worker, need.model) for worker in sorted(set(need.workers) - {need.model})]
    before_ns = [round_trip_ns(*pair) for pair in pairs]
    ran_before, begun_s = _cpu_times(), time.monotonic()
    watched = observe_cpus(cpus, duration_s)
    users = _users(ran_before, cpus, time.monotonic() - begun_s)
    distances = tuple(
        Distance(*pair, before, round_trip_ns(*pair)) for pair, before in zip(pairs, before_ns, strict=True)
    )
    return Seen(duration_s, watched, users, distances)


def _cpu_times() -> dict[tuple[int, float], float]:
    """CPU time in seconds of every process so far, by process id and start."""
    found = {}
    for process in psutil.process_iter():
        try:
            times = process.cpu_times()
            found[process.pid, process.create_time()] = times.user + times.system
        except psutil.Error:
            continue  # it has ended since
    return found


def _users(
    before: Mapping[tuple[int, float], float], cpus: Collection[int], elapsed_s: float
) -> dict[int, tuple[User, ...]]:
    """Who ran since `before`, without this process and the watchers, which have ended."""
    found: dict[int, list[User]] = {cpu: [] for cpu in cpus}
    for process in psutil.process_iter():
        try:
            cpu, times = process.cpu_num(), process.cpu_times()
            ran_s = times.user + times.system - before.get((process.pid, process.create_time()), 0.0)
            share = min(1.0, ran_s / elapsed_s)
            if process.pid != os.getpid() and cpu in found and share >= SHOWN_SHARE:
                found[cpu].append(User(process.pid, process.name(), round(share, 4)))
        except psutil.Error:
            continue
    return {cpu: tuple(sorted(users, key=lambda user: -user.share)) for cpu, users in found.items()}


@dataclass(frozen=True)
class Account:
    """A CPU's time in numbers; shares of the elapsed time, None where the kernel does not say."""

    pauses_per_s: float
    paused_share: float
    longest_us: float
    overrun_share: float  # of frames at line rate that would be lost
    run_delay_share: float | None
    steal_share: float | None


def account_of(watched: Watched, ring_fill_us: float) -> Account:
    """Pauses are gaps that are longer than a ring lasts."""
    elapsed_ns = max(1, watched.elapsed_ns)
    ring_ns = ring_fill_us * 1000
    pauses_ns = [gap for gap in watched.gaps_ns if gap > ring_ns]

    def share(ns: float | None) -> float | None:
        return None if ns is None else round(min(1.0, ns / elapsed_ns), 6)

    return Account(
        pauses_per_s=round(len(pauses_ns) / elapsed_ns * NS_PER_S, 1),
        paused_share=share(sum(pauses_ns)) or 0.0,
        longest_us=max(pauses_ns, default=0) / 1000,
        overrun_share=share(sum(gap - ring_ns for gap in pauses_ns)) or 0.0,
        run_delay_share=share(watched.run_delay_ns),
        steal_share=share(watched.steal_ns),
    )


def as_json(seen: Seen, ring_fill_us: float) -> dict[str, Any]:
    """The result as plain data, for `doctor --measure --json`."""
    return {
        "duration_s": seen.duration_s,
        "ring_lasts_us": round(ring_fill_us, 1),
        "cpus": [
            {
                "cpu": cpu,
                **asdict(account_of(watched, ring_fill_us)),
                "processes": [asdict(user) for user in seen.users.get(cpu, ())],
            }
            for cpu, watched in sorted(seen.watched.items())
        ],
        "distances": [asdict(distance) for distance in seen.distances],
    }
