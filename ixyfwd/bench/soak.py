"""A long run that is checked all the time: no frame may be lost, memory may not grow, cost may not drift.

Every second the supervisor's status (as `ixyfwd status` prints it) is checked; the
first violation ends the run with a sentence. While frames move, the parts of a status
are read one after the other, so frames between them can only be bounded by what rings
hold and what passes in the meantime; the final report must add up exactly.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from ixyfwd.bench.cores import core_columns
from ixyfwd.bench.loaded import Interrupted, Load, run_load
from ixyfwd.bench.result import Row, result, spread
from ixyfwd.bench.throughput import Trial, head_of_row
from ixyfwd.errors import IxyfwdError
from ixyfwd.supervisor.observer import Silent
from ixyfwd.telemetry.plain import to_plain
from ixyfwd.telemetry.snapshot import Snapshot

MOST_SAMPLES: Final = 600
READING_S: Final = 0.25  # a status takes a few milliseconds to read, on a busy machine longer
GROWTH_ACCEPTED_MIB: Final = 8.0
Status = dict[str, Any]  # as `ixyfwd status --json` prints it
SETTLED_TICKS: Final = 3  # caches fill and pages are touched before memory is compared
MIB: Final = 2**20


@dataclass
class Watch(Silent):
    """An observer that checks every status and keeps a sample every `interval_s`.

    Its `tick` raises IxyfwdError at the first violation, which ends the run.
    `lossless`: no frame may be dropped.
    """

    trial: Trial
    lossless: bool
    interval_s: float
    progress: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    _before: Status | None = None
    _ticks: int = 0
    _base_mib: dict[str, float] = field(default_factory=dict)
    _model: psutil.Process | None = None

    def tick(self, status: Snapshot) -> None:
        """Check a status. Raises IxyfwdError at a violation."""
        self._ticks += 1
        before, now = self._before, to_plain(status)
        if before is not None:
            check_growing(before, now)
        check_status(now, self._capacity(), self.lossless)
        memory = self._memory(now)
        if self._ticks == SETTLED_TICKS:
            self._base_mib = memory
        check_memory(self._base_mib, memory)
        if before is None:
            self._before = now
        elif now["uptime_s"] - before["uptime_s"] >= self.interval_s:
            self.rows.append(self._sample(before, now, memory))
            self._before = now
            self.progress(f"{now['uptime_s']:.0f} s: {self.rows[-1]['mpps']['median']:.2f} Mpps, all checks passed")

    def _capacity(self) -> int:
        """The number of frames that all rings together hold."""
        return 2 * 2 * self.trial.workers * self.trial.ring

    def _memory(self, status: Status) -> dict[str, float]:
        """The resident memory of each process, in MiB; the workers' without the arena."""
        if self._model is None:
            children = psutil.Process().children()
            self._model = next((child for child in children if "ixyfwd.model" in child.cmdline()), None)
        found = {"supervisor": psutil.Process().memory_info().rss / MIB}
        if self._model is not None:
            found["model"] = self._model.memory_info().rss / MIB
        for worker in status["workers"]:
            if worker["rss_mib"]:
                found[f"worker {worker['index']}"] = worker["rss_mib"]
        return found

    def _sample(self, before: Status, now: Status, memory: dict[str, float]) -> Row:
        seconds = now["uptime_s"] - before["uptime_s"]
        costs = [
            (worker["busy_ns"] - past["busy_ns"]) / (worker["rx_packets"] - past["rx_packets"])
            for past, worker in zip(before["workers"], now["workers"], strict=True)
            if worker["rx_packets"] > past["rx_packets"]
        ]
        return {
            **head_of_row(self.trial, now["device"]),
            "runs": 1,
            "at_s": now["uptime_s"],
            "mpps": spread([(now["tx_packets"] - before["tx_packets"]) / seconds / 1e6]),
            "ns_per_packet": spread(costs) if costs else None,
            "rx_packets": now["rx_packets"],
            "tx_packets": now["tx_packets"],
            "dropped": sum(now["drops"].values()),
            "in_flight": now["in_flight"],
            "memory_mib": {name.replace(" ", "_"): round(size, 2) for name, size in memory.items()},
        }


def check_growing(before: Status, now: Status) -> None:
    """Check that no counter went back and no worker ended. Raises IxyfwdError."""
    for key in ("rx_packets", "tx_packets"):
        if now[key] < before[key]:
            raise IxyfwdError(f"after {now['uptime_s']} s: {key} went back from {before[key]} to {now[key]}")
    for past, worker in zip(before["workers"], now["workers"], strict=True):
        if worker["pid"] != past["pid"] or worker["state"] == "dead":
            raise IxyfwdError(f"after {now['uptime_s']} s: worker {worker['index']} (pid {past['pid']}) is gone")


def check_status(now: Status, ring_frames: int, lossless: bool) -> None:
    """Check the account of one status as far as it can be exact. Raises IxyfwdError.

    `ring_frames`: frames that all rings hold. `lossless`: the wires wait for room, so
    that no frame may be dropped.
    """
    at = f"after {now['uptime_s']} s"
    sink, drops = now["sink"], sum(now["drops"].values())
    wrong = {key: sink[key] for key in ("duplicated", "reordered", "corrupted", "foreign") if sink[key]}
    if wrong:
        raise IxyfwdError(f"{at}: the sinks report {', '.join(f'{key} {count}' for key, count in wrong.items())}")
    if now["faults"]:
        raise IxyfwdError(f"{at}: the model recorded {now['faults']} faults of the driver")
    if sink["received"] > sink["sent"]:
        raise IxyfwdError(f"{at}: the sinks received {sink['received']} frames, but only {sink['sent']} were sent")
    if lossless and (drops or sink["lost"]):
        raise IxyfwdError(f"{at}: {drops} frames dropped, {sink['lost']} lost, though the wires wait for room")
    slack = ring_frames + READING_S * 1e6 * max(now["rate_mpps"], now["rate_rx_mpps"])
    missing = now["rx_packets"] - now["tx_packets"] - drops
    if abs(missing) > slack:
        raise IxyfwdError(
            f"{at}: {now['rx_packets']} frames received, {now['tx_packets']} sent, {drops} dropped: {missing} are "
            f"in flight, but the rings hold {ring_frames} and at most {slack:.0f} can be explained"
        )


def check_memory(base: dict[str, float], now: dict[str, float]) -> None:
    """Check that no process grew by more than GROWTH_ACCEPTED_MIB since `base`. Raises IxyfwdError."""
    for name, size in now.items():
        if name in base and size - base[name] > GROWTH_ACCEPTED_MIB:
            raise IxyfwdError(
                f"the {name} has grown from {base[name]:.1f} to {size:.1f} MiB; "
                f"at most {GROWTH_ACCEPTED_MIB:g} MiB more than after {SETTLED_TICKS} s is accepted"
            )


def run(load: Load, duration_s: float, instance: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """Run for `duration_s` seconds; the result has samples as rows, a summary and problems."""
    watch = Watch(load.trial, load.rate == "max", max(1.0, duration_s / MOST_SAMPLES) - 0.5, progress)
    problems: list[str] = []
    final: Status | None = None
    begun = time.monotonic()
    try:
        final = run_load(load, duration_s, instance, watch)
        watch.rows = [{**row, **core_columns([final])} for row in watch.rows]
        if watch.lossless and final["sink"]["lost"]:
            problems.append(f"{final['sink']['lost']} frames were sent and did not come back")
    except Interrupted as stop:
        problems.append(f"the soak was stopped after {time.monotonic() - begun:.0f} s: {stop}")
    except IxyfwdError as error:
        problems.append(str(error))
    return result("soak", watch.rows, problems, duration_s=duration_s, summary=_summary(watch.rows, final))


def _summary(rows: list[Row], final: Status | None) -> dict[str, Any]:
    costs = [row["ns_per_packet"]["median"] for row in rows if row["ns_per_packet"]]
    tenth = max(1, len(costs) // 10)
    first, last = sorted(costs[:tenth]), sorted(costs[-tenth:])
    grown = (
        {name: round(size - rows[0]["memory_mib"].get(name, size), 2) for name, size in rows[-1]["memory_mib"].items()}
        if rows
        else {}
    )
    keys = ("rx_packets", "tx_packets", "drops", "in_flight", "sink", "uptime_s", "reason")
    return {
        "cost_drift": round(last[tenth // 2] / first[tenth // 2], 4) if costs else None,
        "memory_growth_mib": grown,
        "final": {key: final[key] for key in keys} if final else None,
    }
