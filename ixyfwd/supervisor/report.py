"""The numbers of a run: what `status` prints while it lasts and what `start` prints when it ends.

Every frame is in one of four places, and the report says how many are in each:

    rx_packets = tx_packets + sum(drops.values()) + in_flight

rx_packets: frames that passed a port's filters while it received (delivered to a ring, or dropped for lack of room).
tx_packets: frames that a port has sent. Both are the ports' own counters. drops come from the ports (no descriptor,
packet buffer full) and from the workers' counters (error frames, tx ring full, lost with a dead worker). in_flight is
read from the rings by the ports' drivers: received but not taken by a worker, or queued but not sent. After an orderly
stop the sum is exact; while frames move the parts are read one after the other, and in_flight is what is left.

drops_in_pauses is no part of that sum: an estimate of the drops for which a worker was not there (supervisor/loss.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ixyfwd.probe.stolen import StolenWatch
from ixyfwd.programs.contract import ProgramOptions
from ixyfwd.supervisor.loss import pause_row
from ixyfwd.supervisor.modelproc import ModelProcess
from ixyfwd.supervisor.observer import Status
from ixyfwd.supervisor.ports import Port
from ixyfwd.supervisor.verdicts import program_drops
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.counters import PortWord, Word

SINK_SUMS = ("received", "lost", "reordered", "duplicated", "corrupted", "foreign", "touched")


@dataclass(frozen=True)
class Moment:
    """Totals at one moment (CLOCK_MONOTONIC): the base of a rate."""

    at_s: float
    rx_packets: int
    tx_packets: int

    def rates_since(self, before: "Moment") -> tuple[float, float]:
        """Received and sent Mpps between two moments."""
        seconds = max(self.at_s - before.at_s, 1e-9)
        return (
            (self.rx_packets - before.rx_packets) / seconds / 1e6,
            (self.tx_packets - before.tx_packets) / seconds / 1e6,
        )


def drops_by_cause(
    ports: Sequence[Port], workers: Sequence[Worker], programs: Sequence[ProgramOptions]
) -> dict[str, int]:
    """Dropped frames by cause; the causes are the README's, and those of programs, by "PROGRAM.CAUSE"."""
    totals = [worker.totals() for worker in workers]
    drops = {
        "rx_no_descriptor": sum(port.driver.statistics.rx_no_descriptor for port in ports),
        "rx_missed": sum(port.driver.statistics.rx_missed for port in ports),
        "rx_error": sum(total.rx_errors for total in totals),
        "tx_full": sum(total.tx_full for total in totals),
    }
    # A dead worker's page tells what it had in its hands.
    died = sum(
        total.in_hand for worker, total in zip(workers, totals, strict=True) if worker.pid and not worker.alive()
    )
    return {**drops, **program_drops(programs, workers), "worker_died": died}


def in_rings(ports: Sequence[Port], workers: Sequence[Worker]) -> int:
    """Frames in the rings: received and not yet taken, queued and not yet sent. Exact once nothing moves."""
    found = [port.driver.in_flight(worker.index, worker.queue(port)) for port in ports for worker in workers]
    return sum(one.received + one.queued for one in found)


def port_rows(ports: Sequence[Port], model: Mapping[str, Any] | None) -> list[Status]:
    """A row per port."""
    wires = {row["name"]: row for row in model["ports"]} if model else {}
    rows: list[Status] = []
    for port in ports:
        link, statistics = port.driver.link(), port.driver.statistics
        rows.append(
            {
                "name": port.name,
                "device": port.plan.device,
                "mac": port.driver.mac,
                "chip": port.driver.chip,
                "reta_entries": len(port.driver.reta),
                "link": {"up": link.up, "speed_mbps": link.speed_mbps, "reason": link.reason},
                "rx_packets": statistics.rx_packets,
                "rx_bytes": statistics.rx_bytes,
                "tx_packets": statistics.tx_packets,
                "tx_bytes": statistics.tx_bytes,
                "rx_no_descriptor": statistics.rx_no_descriptor,
                "rx_missed": statistics.rx_missed,
                "rx_errors": statistics.rx_errors,
                "flow_control": {"mode": port.plan.flow_control, **statistics.pause_frames},
                "wire": wires.get(port.name, {}).get("wire"),
                "faults": wires.get(port.name, {}).get("faults"),
                "injected": wires.get(port.name, {}).get("injected"),
            }
        )
    return rows


def worker_rows(workers: Sequence[Worker], stolen: StolenWatch, seconds: float) -> list[Status]:
    """A row per worker, after `seconds` of traffic. `busy_ns_per_packet` is time in rounds that found frames, over
    frames received."""
    rows: list[Status] = []
    for worker in workers:
        totals = worker.totals()
        polls, empty = worker.word(Word.POLLS), worker.word(Word.EMPTY_POLLS)
        bursts, busy_ns = worker.word(Word.BURSTS), worker.word(Word.BUSY_NS)
        rows.append(
            {
                "index": worker.index,
                "cpu": worker.spec.cpu,
                "pid": worker.pid,
                "state": worker.state.name.lower() if worker.alive() else "dead",
                "rx_packets": totals.rx_packets,
                "tx_packets": totals.tx_packets,
                "tx_full": totals.tx_full,
                "rx_no_buffer": _over_ports(worker, PortWord.RX_NO_BUFFER),
                "busy_ns": busy_ns,
                "busy_ns_per_packet": round(busy_ns / totals.rx_packets, 2) if totals.rx_packets else None,
                "packets_per_burst": round(totals.rx_packets / bursts, 1) if bursts else None,
                "empty_poll_share": round(empty / polls, 4) if polls else None,
                "yields": worker.word(Word.YIELDS),
                "sleeps": worker.word(Word.SLEEPS),
                "wakeups": worker.word(Word.WAKEUPS),
                "traffic": traffic_words(worker),
                "rss_mib": round(worker.own_memory_mib(), 1),
                **stolen_shares(stolen, worker.pid),
                **pause_row(worker, seconds),
            }
        )
    return rows


def model_row(model: ModelProcess | None, stolen: StolenWatch) -> Status | None:
    """The process that plays the ports; None if no port is simulated."""
    if model is None:
        return None
    return {"cpu": model.spec.cpu, "pid": model.child.pid, **stolen_shares(stolen, model.child.pid)}


def stolen_shares(stolen: StolenWatch, pid: int) -> Status:
    """Of the time since frames flow: the wait behind other processes, and what the hypervisor says it took."""
    found = stolen.shares(pid)
    return {"run_delay_share": found.run_delay, "steal_share": found.steal}


def traffic_words(worker: Worker) -> Status | None:
    """The counters of a worker that generates or captures; None for a forwarder's."""
    if worker.spec.traffic is None:
        return None
    return {word.name.lower(): worker.word(word) for word in Word if Word.ASKED <= word <= Word.ERRNO}


def _over_ports(worker: Worker, word: PortWord) -> int:
    return sum(worker.port_word(port, word) for port in range(len(worker.spec.ports)))


def fault_count(model: Mapping[str, Any] | None) -> int:
    """Misuses that the model has recorded, over all ports."""
    return sum(row["faults"]["total"] for row in model["ports"]) if model else 0


def sink_sums(model: Mapping[str, Any] | None, final: bool) -> Status | None:
    """What the sinks saw, summed; None without a wire that has one. `lost` is final only when nothing is on its way:
    then it is sent minus received, before that the sinks' gaps."""
    rows = [row["wire"] for row in model["ports"] if row["wire"].get("sink")] if model else []
    if not rows:
        return None
    sums: Status = {key: sum(row["sink"].get(key, 0) for row in rows) for key in SINK_SUMS}
    sent = sum(row["totals"]["in"] for row in rows)
    if final:
        sums["lost"] = sent - (sums["received"] - sums["duplicated"] - sums["foreign"] - sums["corrupted"])
    sums["sent"] = sent
    sums["shortfall"] = sum(row["totals"]["shortfall"] for row in rows)
    return sums


def flow_summary(flows: Mapping[str, Sequence[int]]) -> Status | None:
    """How many generator flows arrived, and how many of them through more than one queue, both directions together.

    Queue number is worker number: a flow on several queues was handled by several workers.
    """
    if not flows:
        return None
    return {"seen": len(flows), "on_several_queues": sum(len(queues) > 1 for queues in flows.values())}
