"""A forwarder that has come up: its parts, and its status at any moment."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ixyfwd.errors import DeviceGoneError
from ixyfwd.model.client import ModelStats
from ixyfwd.plan.plan import Plan
from ixyfwd.probe.stolen import StolenWatch
from ixyfwd.supervisor.events import Change, Events
from ixyfwd.supervisor.loss import drops_in_pauses
from ixyfwd.supervisor.modelproc import ModelProcess
from ixyfwd.supervisor.ports import Port
from ixyfwd.supervisor.pulse import STUCK_LOOKS, Held
from ixyfwd.supervisor.report import (
    Moment,
    drops_by_cause,
    fault_count,
    model_row,
    port_rows,
    sink_sums,
    wire_notices,
    worker_rows,
)
from ixyfwd.supervisor.verdicts import program_rows
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.counters import Word
from ixyfwd.telemetry.snapshot import LinkRow, PortRow, RssRow, RunState, Snapshot

TURN_S = 0.1  # for the model to be seen to go on, before a tick leaves it alone
LINK_RETRIES_S = (5.0, 15.0, 35.0, 75.0, 155.0)


QUEUES_HELD = "nothing takes frames from its queues until it goes on"
PORTS_HELD = "its ports stand still until it goes on, and what is shown of them is of before"


def held_sentence(name: str, held: Held | None, consequence: str) -> str:
    """What a notice says of a process that is held or not any more."""
    match held:
        case None:
            return f"{name} goes on"
        case "stopped":
            return f"{name} is stopped, by SIGSTOP or a debugger: {consequence} (`kill -CONT` its pid)"
        case "stuck":
            return f"{name} is stuck, it has done nothing for {STUCK_LOOKS} s: {consequence}"


def because(reason: str | None) -> str:
    """ " (the reason)" if a port can tell why its link is down."""
    return f" ({reason})" if reason else ""


def _link_change(name: str, link: LinkRow) -> Change:
    state = "up" if link.up else "down"
    return Change("link", f"port {name}", state, f"port {name}: link {state}{'' if link.up else because(link.reason)}")


@dataclass
class Forwarder:
    """The parts of a run between its bring-up and its stop."""

    plan: Plan
    ports: Sequence[Port]
    workers: Sequence[Worker]
    model: ModelProcess | None
    notices: list[str]
    command_begun_ns: int
    events: Events
    state: RunState = "starting"
    begun: Moment = field(default_factory=lambda: Moment(time.monotonic(), 0, 0))
    last: Moment = field(default_factory=lambda: Moment(time.monotonic(), 0, 0))
    rates: tuple[float, float] = (0.0, 0.0)  # rx, tx in Mpps between the last two ticks
    stolen: StolenWatch = field(init=False)
    wire_news: list[str] = field(default_factory=list)  # as last reported; among the notices, too
    read_at_s: dict[str, float] = field(default_factory=dict)  # by port, when its counters were read
    model_turns: bool = True  # at the last `read_ports`; while it does not, its ports are not touched
    last_model: ModelStats | None = None  # as of the last status that asked the model
    last_rows: dict[str, PortRow] = field(default_factory=dict)  # of its ports, likewise
    told_held: dict[str, Held | None] = field(default_factory=dict)  # by process
    links: dict[str, bool] = field(default_factory=dict)  # by port, as last reported
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

    def workers_done(self) -> bool | None:
        """Whether a worker has come to its end; None where their role has none."""
        ends = [worker.spec.order.done(worker.word) for worker in self.workers]
        return None if all(end is None for end in ends) else any(ends)

    def read_ports(self, turn_s: float = TURN_S) -> None:
        """Fetch the ports' clear-on-read counters into their 64-bit sums, long before 32 bits are full.

        Those of a model that is not seen to go on within `turn_s` stay as they are.
        """
        self.model_turns = self.model is None or self.model.turns(turn_s)
        for port in self.ports:
            if self.model_turns or not self._is_played(port):
                self.read_port(port)

    def _is_played(self, port: Port) -> bool:
        """Whether the model plays it."""
        return self.model is not None and any(port.name == played.name for played in self.model.spec.ports)

    def read_port(self, port: Port) -> None:
        """Fetch the clear-on-read counters of one port into its 64-bit sums."""
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

    def link_changes(self, status: Snapshot) -> list[Change]:
        """The ports whose link came or went since the last call."""
        now = {port.name: port.link for port in status.ports}
        changed = [name for name, link in now.items() if self.links.get(name, link.up) != link.up]
        self.links = {name: link.up for name, link in now.items()}
        return [_link_change(name, now[name]) for name in changed]

    def new_wire_notices(self, ports: Sequence[PortRow]) -> list[Change]:
        """What the wires say that they have not said before; from now on it is among the notices."""
        new = [text for text in wire_notices(ports) if text not in self.wire_news]
        self.wire_news += new
        self.notices += new
        return [Change("wire", "wires", "notice", text) for text in new]

    def held_changes(self) -> list[Change]:
        """The processes that are held since the last call, or go on again. To be called once a tick."""
        alive = [worker for worker in self.workers if worker.alive()]
        pulses = {f"{worker.name} (pid {worker.pid})": (worker.name, worker.pulse, QUEUES_HELD) for worker in alive}
        if self.model is not None:
            pulses[self.model.child.name] = ("model", self.model.pulse, PORTS_HELD)
        told = []
        for name, (subject, pulse, consequence) in pulses.items():
            held = pulse.look()
            if held != self.told_held.get(name):
                text = held_sentence(name, held, consequence)
                told.append(Change("model" if subject == "model" else "worker", subject, held or "goes on", text))
                if held is not None and text not in self.notices:
                    self.notices.append(text)
            self.told_held[name] = held
        return told

    def retry_links(self, status: Snapshot) -> None:
        """Set links up again that have been down for a while: LINK_RETRIES_S seconds after they went, no more."""
        now = time.monotonic()
        for port, row in zip(self.ports, status.ports, strict=True):
            if not self.model_turns and self._is_played(port):
                continue
            if row.link.up:
                self.link_retries.pop(port.name, None)
                continue
            retries = self.link_retries.setdefault(port.name, [now + after_s for after_s in LINK_RETRIES_S])
            if retries and now >= retries[0]:
                del retries[0]
                port.driver.retry_link()

    def status(self) -> Snapshot:
        """A snapshot as of the last `read_ports`; while frames move, `in_flight` is what the other parts leave."""
        if self.model_turns:
            self.last_model, self.last_rows = self.model_stats(), {}
        model = self.last_model
        rows = port_rows(self.ports, model, self.last_rows)
        self.last_rows = {port.name: row for port, row in zip(self.ports, rows, strict=True) if self._is_played(port)}
        counted = self.counted(time.monotonic() - self.begun.at_s)
        return Snapshot(
            **counted,
            in_flight=max(0, counted["rx_packets"] - counted["tx_packets"] - sum(counted["drops"].values())),
            faults=fault_count(model),
            rate_mpps=round(self.rates[1], 3),
            rate_rx_mpps=round(self.rates[0], 3),
            ports=rows,
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
        """The port that frames of each port leave by at last, if no program says otherwise; both by name.

        A frame that leaves by a cable goes on from the port at its other end.
        """
        links = self.plan.workers[0].links if self.plan.workers else ()
        leaves = {self.ports[rx].name: self.ports[tx].name for rx, tx in links}
        cables = {port.name: port.wire.leads_to for port in self.model.spec.ports} if self.model else {}
        found: dict[str, str] = {}
        for name, end in leaves.items():
            seen = {name}
            while (other := cables.get(end)) is not None and other in leaves and other not in seen:
                seen.add(other)
                end = leaves[other]  # noqa: PLW2901
            found[name] = end
        return found

    def feeds_done(self) -> bool:
        """Whether every finite wire of the model has fed all that it has.

        False without a model, and while the model does not go on.
        """
        return self.model is not None and self.model.turns(TURN_S) and self.model.client.feeds_done()

    def model_flows(self) -> Mapping[str, Sequence[int]]:
        """Which queues each generator flow came out of; empty without a model."""
        return {} if self.model is None else self.model.client.flows()

    def first_packet_s(self) -> float | None:
        """From the beginning of the command to the first frame handed to a tx ring; None before that."""
        stamps = [stamp for worker in self.workers if (stamp := worker.word(Word.FIRST_TX_NS))]
        return round((min(stamps) - self.command_begun_ns) / 1e9, 3) if stamps else None
