"""A forwarder that has come up: its parts, and its status at any moment."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ixyfwd.errors import DeviceGoneError
from ixyfwd.model.client import ModelStats
from ixyfwd.plan.plan import Plan
from ixyfwd.probe.stolen import StolenWatch
from ixyfwd.supervisor.loss import drops_in_pauses
from ixyfwd.supervisor.modelproc import ModelProcess
from ixyfwd.supervisor.ports import Port
from ixyfwd.supervisor.report import (
    Moment,
    drops_by_cause,
    fault_count,
    model_row,
    port_rows,
    sink_sums,
    worker_rows,
)
from ixyfwd.supervisor.verdicts import program_rows
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.counters import Word
from ixyfwd.telemetry.snapshot import RssRow, RunState, Snapshot
from ixyfwd.worker.order import GenerateOrder

LINK_RETRIES_S = (5.0, 15.0, 35.0, 75.0, 155.0)


def because(reason: str | None) -> str:
    """ " (the reason)" if a port can tell why its link is down."""
    return f" ({reason})" if reason else ""


@dataclass
class Forwarder:
    """The parts of a run between its bring-up and its stop."""

    plan: Plan
    ports: Sequence[Port]
    workers: Sequence[Worker]
    model: ModelProcess | None
    notices: list[str]
    command_begun_ns: int
    state: RunState = "starting"
    begun: Moment = field(default_factory=lambda: Moment(time.monotonic(), 0, 0))
    last: Moment = field(default_factory=lambda: Moment(time.monotonic(), 0, 0))
    rates: tuple[float, float] = (0.0, 0.0)  # rx, tx in Mpps between the last two ticks
    stolen: StolenWatch = field(init=False)
    read_at_s: dict[str, float] = field(default_factory=dict)  # by port, when its counters were read
    links: dict[str, bool] = field(default_factory=dict)  # by port, as last told to somebody
    link_retries: dict[str, list[float]] = field(default_factory=dict)  # when to come, for ports whose link is down

    def __post_init__(self) -> None:
        self._watch_cpus()

    def _watch_cpus(self) -> None:
        cpus = {worker.pid: worker.spec.cpu for worker in self.workers}
        if self.model is not None:
            cpus[self.model.child.pid] = self.model.spec.cpu
        self.stolen = StolenWatch(cpus)

    def begin(self) -> None:
        """Frames flow from now on."""
        self.state = "running"
        self._watch_cpus()
        self.begun = self.last = Moment(time.monotonic(), 0, 0)
        for worker in self.workers:
            worker.go()

    @property
    def generates(self) -> bool:
        """Whether frames come from a worker and not from outside."""
        return any(isinstance(worker.spec.traffic, GenerateOrder) for worker in self.workers)

    def traffic_done(self) -> bool | None:
        """Whether a worker that generates or captures has come to its end; None for forwarders."""
        if all(worker.spec.traffic is None for worker in self.workers):
            return None
        return any(worker.word(Word.DONE) or worker.word(Word.ERRNO) for worker in self.workers)

    def read_ports(self) -> None:
        """Fetch the ports' clear-on-read counters into their 64-bit sums; long before 32 bits are full."""
        for port in self.ports:
            self.read_port(port)

    def read_port(self, port: Port) -> None:
        """The same of one port."""
        port.driver.read_statistics([worker.queue(port) for worker in self.workers])
        self.read_at_s[port.name] = time.monotonic()

    def lost_port(self) -> str | None:
        """A sentence about the first port whose device is gone; None if all of them answer."""
        for port in self.ports:
            try:
                port.driver.link()
            except DeviceGoneError as gone:
                text = str(gone)
                return text if text.startswith("port ") else f"port {port.name}: {text}"
        return None

    def moment(self) -> Moment:
        """The totals as of the last `read_ports`."""
        rx = sum(port.driver.statistics.rx_packets for port in self.ports)
        tx = sum(port.driver.statistics.tx_packets for port in self.ports)
        return Moment(time.monotonic(), rx, tx)

    def tick(self) -> Snapshot:
        """Read the counters, refresh the rates."""
        self.read_ports()
        now = self.moment()
        self.rates = now.rates_since(self.last)
        self.last = now
        return self.status()

    def link_changes(self, status: Snapshot) -> list[str]:
        """A sentence for each port whose link came or went since the last call."""
        now = {port.name: port.link for port in status.ports}
        changed = [name for name, link in now.items() if self.links.get(name, link.up) != link.up]
        self.links = {name: link.up for name, link in now.items()}
        return [f"port {name}: link {'up' if now[name].up else 'down' + because(now[name].reason)}" for name in changed]

    def retry_links(self, status: Snapshot) -> None:
        """Set links up again that have been down for a while: LINK_RETRIES_S seconds after they went, no more."""
        now = time.monotonic()
        for port, row in zip(self.ports, status.ports, strict=True):
            if row.link.up:
                self.link_retries.pop(port.name, None)
                continue
            retries = self.link_retries.setdefault(port.name, [now + after_s for after_s in LINK_RETRIES_S])
            if retries and now >= retries[0]:
                del retries[0]
                port.driver.retry_link()

    def status(self) -> Snapshot:
        """A snapshot as of the last `read_ports`; while frames move, `in_flight` is what the other parts leave."""
        model = self.model_stats()
        counted = self.counted(time.monotonic() - self.begun.at_s)
        return Snapshot(
            **counted,
            in_flight=max(0, counted["rx_packets"] - counted["tx_packets"] - sum(counted["drops"].values())),
            faults=fault_count(model),
            rate_mpps=round(self.rates[1], 3),
            rate_rx_mpps=round(self.rates[0], 3),
            ports=port_rows(self.ports, model),
            sink=sink_sums(model, self.far_ends(), final=False),
        )

    def counted(self, seconds: float) -> dict[str, Any]:
        """Fields of a snapshot after `seconds` of traffic: all that neither model nor rings have to be asked for."""
        now, stolen = self.moment(), self.stolen.shares()
        programs = program_rows(self.plan.loop.programs, self.workers)
        return {
            "instance": self.plan.instance,
            "state": self.state,
            "device": self.plan.device,
            "engine": self.plan.loop.engine,
            "program": ", ".join(program.name for program in self.plan.loop.programs),
            "loop": "fused" if self.plan.loop.fused else "python",
            "rss": RssRow(key=self.plan.rss.key, fields=list(self.plan.rss.fields)),
            "uptime_s": round(seconds, 3),
            "rx_packets": now.rx_packets,
            "tx_packets": now.tx_packets,
            "drops": drops_by_cause(self.ports, self.workers, programs),
            "drops_in_pauses": drops_in_pauses(self.ports, self.workers, seconds),
            "programs": programs,
            "workers": worker_rows(self.workers, stolen, seconds),
            "model_process": model_row(self.model, stolen),
            "notices": tuple(self.notices),
        }

    def model_stats(self) -> ModelStats | None:
        """What the model says of its wires and faults; None without a model."""
        return None if self.model is None else self.model.client.stats()

    def far_ends(self) -> Mapping[str, str]:
        """By the name of a port, that of the port its frames leave by, if no program says otherwise."""
        links = self.plan.workers[0].links if self.plan.workers else ()
        return {self.ports[rx].name: self.ports[tx].name for rx, tx in links}

    def feeds_done(self) -> bool:
        """Whether every finite wire of the model has fed all that it has; False without a model."""
        return self.model is not None and self.model.client.feeds_done()

    def model_flows(self) -> Mapping[str, Sequence[int]]:
        """Which queues each generator flow came out of; empty without a model."""
        return {} if self.model is None else self.model.client.flows()

    def first_packet_s(self) -> float | None:
        """From the beginning of the command to the first frame handed to a tx ring; None before that."""
        stamps = [stamp for worker in self.workers if (stamp := worker.word(Word.FIRST_TX_NS))]
        return round((min(stamps) - self.command_begun_ns) / 1e9, 3) if stamps else None
