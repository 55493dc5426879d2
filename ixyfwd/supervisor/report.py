"""The numbers of a run: the rows of a snapshot.

`telemetry/snapshot.py` says what they are. rx_packets and tx_packets are the ports' own counters. drops come from the
ports (no descriptor, packet buffer full) and from the workers' counters (error frames, tx ring full, lost with a dead
worker). in_flight is read from the rings by the ports' drivers: received but not taken by a worker, or queued but not
sent. After an orderly stop the sum is exact; while frames move the parts are read one after the other, and in_flight is
what is left.

drops_in_pauses is no part of that sum: an estimate of the drops for which a worker was not there (supervisor/loss.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ixyfwd.errors import DeviceGoneError
from ixyfwd.model.client import ModelStats, PortStats
from ixyfwd.probe.stolen import Shares
from ixyfwd.supervisor.loss import pause_figures
from ixyfwd.supervisor.modelproc import ModelProcess
from ixyfwd.supervisor.ports import Port
from ixyfwd.supervisor.verdicts import program_drops
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.counters import PortWord, Scope, Word
from ixyfwd.telemetry.plain import Rows, from_plain, items
from ixyfwd.telemetry.snapshot import (
    FaultsRow,
    FlowControlRow,
    FlowsRow,
    InjectedRow,
    LinkRow,
    ModelProcessRow,
    PortCounts,
    PortRow,
    ProgramRow,
    SinkRow,
    WorkerRow,
)


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


def drops_by_cause(ports: Sequence[Port], workers: Sequence[Worker], programs: Sequence[ProgramRow]) -> dict[str, int]:
    """Dropped frames by cause (`docs/forwarding.md`); those of programs as "PROGRAM.CAUSE"."""
    totals = [worker.totals() for worker in workers]
    drops = {
        "rx_no_descriptor": sum(port.driver.statistics.rx_no_descriptor for port in ports),
        "rx_missed": sum(port.driver.statistics.rx_missed for port in ports),
        "rx_error": sum(total.rx_errors for total in totals),
        "tx_full": sum(total.tx_full for total in totals),
    }
    # Until its rings are rebuilt, a dead worker's page tells what it had in its hands.
    died = sum(worker.lost for worker in workers) + sum(
        total.in_hand for worker, total in zip(workers, totals, strict=True) if worker.pid and not worker.alive()
    )
    return {**drops, **program_drops(programs), "worker_died": died}


def in_rings(port: Port, workers: Sequence[Worker]) -> int:
    """Frames in a port's rings: received and not yet taken, queued and not yet sent. Exact once nothing moves."""
    found = [port.driver.in_flight(worker.index, worker.queue(port)) for worker in workers]
    return sum(one.received + one.queued for one in found)


def port_rows(
    ports: Sequence[Port], model: ModelStats | None, kept: Mapping[str, PortRow] | None = None
) -> list[PortRow]:
    """A row per port. `kept`: rows of before, of ports that are not to be touched now."""
    played = {row["name"]: row for row in model["ports"]} if model else {}
    return [(kept or {}).get(port.name) or _port_row(port, played.get(port.name)) for port in ports]


def _port_row(port: Port, played: PortStats | None) -> PortRow:
    link, statistics = _link_row(port), port.driver.statistics
    return PortRow(
        name=port.name,
        device=port.plan.device,
        mac=port.driver.mac,
        chip=port.driver.chip,
        reta_entries=len(port.driver.reta),
        link=link,
        **{item.name: getattr(statistics, item.name) for item in items(PortCounts)},
        flow_control=FlowControlRow(mode=port.plan.options.flow_control.value, **statistics.pause_frames),
        wire=played["wire"] if played else None,
        faults=from_plain(FaultsRow, played["faults"]) if played else None,
        injected={kind: from_plain(InjectedRow, one) for kind, one in played["injected"].items()} if played else None,
    )


def wire_notices(ports: Sequence[PortRow]) -> list[str]:
    """Sentences about what wires could not do, or an operator should know."""
    rows = [(port.name, port.wire) for port in ports if port.wire is not None]
    said = [(name, text) for name, wire in rows for text in (*wire.get("notices", ()), wire.get("error")) if text]
    return [f"port {name}: {text}" for name, text in said]


def wire_error(ports: Sequence[PortRow]) -> str | None:
    """The first wire that could not do what it was asked for; None if all could."""
    return next(
        (f"port {port.name}: {port.wire['error']}" for port in ports if port.wire and port.wire.get("error")), None
    )


def _link_row(port: Port) -> LinkRow:
    """Raises IxyfwdError, but for a device that is gone: that is why its link is down."""
    try:
        link = port.driver.link()
    except DeviceGoneError as error:
        return LinkRow(up=False, speed_mbps=0, reason=str(error))
    return LinkRow(up=link.up, speed_mbps=link.speed_mbps, reason=link.reason)


def worker_rows(workers: Sequence[Worker], stolen: Mapping[int, Shares], seconds: float) -> list[WorkerRow]:
    """A row per worker, after `seconds` of traffic. `stolen`: by process id."""
    return [_worker_row(worker, stolen[worker.pid], seconds) for worker in workers]


def _worker_row(worker: Worker, stolen: Shares, seconds: float) -> WorkerRow:
    words, ports = _words(worker, Scope.WORKER), _over_ports(worker)
    polls, bursts, received = words[Word.POLLS], words[Word.BURSTS], ports[PortWord.RX_PACKETS]
    return WorkerRow(
        index=worker.index,
        cpu=worker.spec.cpu,
        pid=worker.pid,
        state=worker.said,
        restarts=worker.restarts,
        lost=worker.lost,
        last_death=worker.last_death,
        ports=ports,
        words=words,
        pauses=_words(worker, Scope.PAUSES) if worker.spec.watches_pauses else None,
        traffic=_words(worker, Scope.TRAFFIC) if worker.spec.order.traffic_words else None,
        busy_ns_per_packet=round(words[Word.BUSY_NS] / received, 2) if received else None,
        packets_per_burst=round(received / bursts, 1) if bursts else None,
        empty_poll_share=round(words[Word.EMPTY_POLLS] / polls, 4) if polls else None,
        rss_mib=round(worker.own_memory_mib(), 1),
        run_delay_share=stolen.run_delay,
        steal_share=stolen.steal,
        **pause_figures(worker, seconds),
    )


def model_row(model: ModelProcess | None, stolen: Mapping[int, Shares]) -> ModelProcessRow | None:
    """The process that plays the ports; None if no port is simulated."""
    if model is None:
        return None
    shares = stolen[model.child.pid]
    return ModelProcessRow(
        cpu=model.spec.cpu,
        pid=model.child.pid,
        state=model.said,
        run_delay_share=shares.run_delay,
        steal_share=shares.steal,
    )


def _words(worker: Worker, scope: Scope) -> dict[Word, int]:
    return {row: worker.word(row) for row in Rows(scope).rows if isinstance(row, Word)}


def _over_ports(worker: Worker) -> dict[PortWord, int]:
    """Summed over the ports; last things first, as in `Worker.totals`."""
    ports = range(len(worker.spec.ports))
    rows = [row for row in Rows(Scope.PORT).rows if isinstance(row, PortWord)]
    return {row: sum(worker.port_word(port, row) for port in ports) for row in reversed(rows)}


def fault_count(model: ModelStats | None) -> int:
    """Misuses that the model has recorded, over all ports."""
    return sum(row["faults"]["total"] for row in model["ports"]) if model else 0


def sink_sums(model: ModelStats | None, far_ends: Mapping[str, str], final: bool) -> SinkRow | None:
    """What the sinks saw, summed; None without a wire that has one.

    `far_ends`: the port that frames of a port leave by. `lost` is final only when nothing is on its way: then it is
    sent minus received, before that the sinks' gaps. Only frames count that leave by a port with a sink.
    """
    rows = {row["name"]: row["wire"] for row in model["ports"] if row["wire"].get("sink")} if model else {}
    if not rows:
        return None
    sums: dict[str, Any] = {
        item.name: sum(row["sink"].get(item.name, 0) for row in rows.values()) for item in items(SinkRow)
    }
    sums["sent"] = sum(row["totals"]["in"] for row in rows.values())
    sums["shortfall"] = sum(row["totals"]["shortfall"] for row in rows.values())
    checked = [row["totals"]["in"] for name, row in rows.items() if far_ends.get(name) in rows]
    if not checked:
        sums["lost"] = None
    elif final:
        sums["lost"] = sum(checked) - (sums["received"] - sums["duplicated"] - sums["foreign"] - sums["corrupted"])
    return SinkRow(**sums)


def flow_summary(flows: Mapping[str, Sequence[int]]) -> FlowsRow | None:
    """How many generator flows arrived, and how many of them through more than one queue, both directions together.

    Queue number is worker number: a flow on several queues was handled by several workers.
    """
    if not flows:
        return None
    return FlowsRow(seen=len(flows), on_several_queues=sum(len(queues) > 1 for queues in flows.values()))
