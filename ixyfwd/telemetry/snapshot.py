"""The numbers of a run as one typed value, which `ixyfwd status` shows while it lasts and `ixyfwd start` at its end.

`plain.to_plain` makes the JSON of it, `plain.from_plain` reads that, `schema` describes
it, `reference` is its page. A number is declared once, here or as a row of `counters`:
a field says its type, its unit and its meaning, and a field of `Rows` stands for all
rows of a scope, each under its own name.

Every frame is in one of four places, and a snapshot says how many are in each:

    rx_packets = tx_packets + sum(drops.values()) + in_flight

A final report says by how many frames the sum misses (`uncounted`, 0 after an orderly end), or that this is unknown:
where a port could not be read at the end, its counters are those of its last reading.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from ixyfwd.telemetry.counters import PortWord, ProgramWord, Scope, Word
from ixyfwd.telemetry.plain import About, Rows

STATUS_SCHEMA: Final = "ixyfwd-status-1"
REPORT_SCHEMA: Final = "ixyfwd-report-1"
GENERATE_SCHEMA: Final = "ixyfwd-generate-1"
CAPTURE_SCHEMA: Final = "ixyfwd-capture-1"

DROPS: Final = (
    ("rx_no_descriptor", "The ring of the frame had no free descriptor."),
    ("rx_missed", "The device had no room of its own."),
    ("rx_error", "An error flag, or a frame that spans several descriptors."),
    ("tx_full", "The tx ring was full."),
    ("worker_died", "In the rings and hands of a worker that died."),
)
"""Causes in `Snapshot.drops`; those of programs follow, as PROGRAM.CAUSE."""

RunState = Literal["starting", "running", "stopping", "stopped"]
WorkerState = Literal["starting", "ready", "drained", "failed", "dead", "stopped", "stuck"]
ModelState = Literal["running", "dead", "stopped", "stuck"]
DeviceKind = Literal["model", "wire", "mixed"]


@dataclass(frozen=True, kw_only=True)
class RssRow:
    """How received frames are spread over the workers."""

    key: Annotated[str, About('"symmetric", "microsoft" or 80 hexadecimal digits.')]
    fields: Annotated[Sequence[str], About("What is hashed.")]


@dataclass(frozen=True, kw_only=True)
class LinkRow:
    """A port's link."""

    up: Annotated[bool, About("Whether it is up.")]
    speed_mbps: Annotated[int, About("Its speed; 0 while it is down.", "Mbit/s")]
    reason: Annotated[str, About("Why it is down, where the port can tell; else empty.")]


@dataclass(frozen=True, kw_only=True)
class FlowControlRow:
    """Flow control of a port."""

    mode: Annotated[str, About("As configured.")]
    xon_received: Annotated[int, About("XON frames received.", "frames")] = 0
    xoff_received: Annotated[int, About("XOFF frames received.", "frames")] = 0
    xon_sent: Annotated[int, About("XON frames sent.", "frames")] = 0
    xoff_sent: Annotated[int, About("XOFF frames sent.", "frames")] = 0


@dataclass(frozen=True, kw_only=True)
class FaultsRow:
    """What the model recorded against the driver of a port."""

    total: Annotated[int, About("All of them.", "number")]
    by_kind: Annotated[Mapping[str, int], About("The same by kind.", "number")]
    recent: Annotated[Sequence[Mapping[str, Any]], About("The last ones, oldest first.")]


@dataclass(frozen=True, kw_only=True)
class InjectedRow:
    """One injected fault, also after its end."""

    active: Annotated[bool, About("Whether it still acts.")]
    parameters: Annotated[Mapping[str, Any], About("As given.")]
    count: Annotated[int, About("How often it acted, in the kind's own unit.", "number")]


@dataclass(frozen=True, kw_only=True)
class PortHead:
    """What a port is."""

    name: Annotated[str, About("As configured.")]
    device: Annotated[str, About("Its device address, as configured.")]
    mac: Annotated[str, About("Its own MAC address.")]
    chip: Annotated[str, About("What it is.")]
    reta_entries: Annotated[int, About("Size of its RSS redirection table.", "entries")]
    link: Annotated[LinkRow, About("Its link.")]


@dataclass(frozen=True, kw_only=True)
class PortCounts:
    """A port's own counters since bring-up; the names are those of `nic.contract.Statistics`."""

    rx_packets: Annotated[int, About("Frames that passed the filters: delivered to a ring, or no room.", "frames")]
    rx_delivered: Annotated[int, About("Of these, frames written to a ring: those that rx_bytes is of.", "frames")]
    rx_bytes: Annotated[int, About("Bytes of the frames delivered, without CRC.", "bytes")]
    tx_packets: Annotated[int, About("Frames sent from the rings.", "frames")]
    tx_bytes: Annotated[int, About("Bytes sent from the rings, as the device counts them.", "bytes")]
    rx_no_descriptor: Annotated[int, About("Frames dropped: their ring had no free descriptor.", "frames")]
    rx_missed: Annotated[int, About("Frames dropped: the device had no room of its own.", "frames")]
    rx_errors: Annotated[int, About("Frames that the device refused: CRC, length, symbol errors.", "frames")]
    rx_too_long: Annotated[int, About("Of these, those longer than max_frame in [forward].", "frames")]


@dataclass(frozen=True, kw_only=True)
class PortRow(PortCounts, PortHead):
    """A port. The last three are the model's and null on a wire."""

    flow_control: Annotated[FlowControlRow, About("Flow control.")]
    wire: Annotated[Mapping[str, Any] | None, About("The account of its wire; its keys depend on the kind of wire.")]
    faults: Annotated[FaultsRow | None, About("What the model recorded against the driver.")]
    injected: Annotated[Mapping[str, InjectedRow] | None, About("What is or was injected, by kind of fault.")]


@dataclass(frozen=True, kw_only=True)
class ProgramRow:
    """A program, all workers together: in = passed + out + invalid + sum(drops)."""

    name: Annotated[str, About("As configured.")]
    words: Annotated[Mapping[ProgramWord, int], Rows(Scope.PROGRAM)]
    drops: Annotated[Mapping[str, int], About("Frames that it dropped, by cause.", "frames")]
    counters: Annotated[Mapping[str, int], About("What it counts besides, by name.", "number")]

    @property
    def dropped(self) -> int:
        """Frames that it dropped for a cause of its own."""
        return sum(self.drops.values())


@dataclass(frozen=True, kw_only=True)
class ProcessRow:
    """A process that polls. The shares are of the time since frames flow."""

    cpu: Annotated[int | None, About("The CPU that it is pinned to.")]
    pid: Annotated[int, About("Process id.")]
    run_delay_share: Annotated[float | None, About("Waiting for its CPU behind other processes.", "share")]
    steal_share: Annotated[float | None, About("Its CPU was away, by the hypervisor's word.", "share")]


@dataclass(frozen=True, kw_only=True)
class ModelProcessRow(ProcessRow):
    """The process that plays the `sim:` ports; while it is stopped or stuck, its ports show their last reading."""

    state: Annotated[ModelState, About("How it is: dead, stopped and stuck as of a worker.")]


@dataclass(frozen=True, kw_only=True)
class WorkerHead:
    """A worker's number and state."""

    index: Annotated[int, About("Its number, and that of its queue at every port.")]
    state: Annotated[
        WorkerState,
        About(
            "What it says of itself; dead if its process has ended, stopped if a signal (SIGSTOP) or a debugger holds "
            "it, stuck if it has done nothing for some seconds, not even look at its empty rings."
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class WorkerRow(ProcessRow, WorkerHead):
    """A worker. Counts per port are summed over its ports; those of pauses are null where it has no CPU of its own."""

    restarts: Annotated[int, About("Times that a new process took the place of one that had died.", "times")]
    lost: Annotated[int, About("Frames that died with its processes: in their rings and in their hands.", "frames")]
    last_death: Annotated[str | None, About("How the last one that died has ended; null: none did.")]
    ports: Annotated[Mapping[PortWord, int], Rows(Scope.PORT)]
    words: Annotated[Mapping[Word, int], Rows(Scope.WORKER)]
    pauses: Annotated[Mapping[Word, int] | None, Rows(Scope.PAUSES)]
    traffic: Annotated[Mapping[Word, int] | None, Rows(Scope.TRAFFIC, nested=True)]
    busy_ns_per_packet: Annotated[float | None, About("Time in rounds that found frames, by frame received.", "ns")]
    packets_per_burst: Annotated[float | None, About("Mean size of a receive burst.", "frames")]
    empty_poll_share: Annotated[float | None, About("Rounds that found no frame.", "share")]
    longest_pause_us: Annotated[float | None, About("The longest pause.", "us")]
    paused_share: Annotated[float | None, About("Time in pauses.", "share")]
    busy_share: Annotated[float | None, About("Time in rounds that found frames, pauses between them too.", "share")]
    rss_mib: Annotated[float, About("Resident memory without the arena.", "MiB")]

    @property
    def rx_packets(self) -> int:
        """Frames taken from the rx rings."""
        return self.ports[PortWord.RX_PACKETS]

    @property
    def tx_packets(self) -> int:
        """Frames accepted into the tx rings."""
        return self.ports[PortWord.TX_PACKETS]


@dataclass(frozen=True, kw_only=True)
class SinkRow:
    """What the sinks of the wires saw, summed."""

    received: Annotated[int, About("Frames that came back.", "frames")]
    lost: Annotated[
        int | None,
        About(
            "Gaps in their sequence; in a final report, sent to ports with a sink and not received. Null: none was.",
            "frames",
        ),
    ]
    reordered: Annotated[int, About("Frames that came behind a later one of their flow.", "frames")]
    duplicated: Annotated[int, About("Frames that came twice.", "frames")]
    corrupted: Annotated[int, About("Frames that were changed.", "frames")]
    foreign: Annotated[int, About("Frames that no generator has sent.", "frames")]
    touched: Annotated[int, About("Frames that the program touch has changed.", "frames")]
    sent: Annotated[int, About("Frames that the wires brought into the ports.", "frames")]
    shortfall: Annotated[int, About("Frames that were due and never sent.", "frames")]


@dataclass(frozen=True, kw_only=True)
class FlowsRow:
    """Generator flows, both directions together."""

    seen: Annotated[int, About("Flows that arrived.", "flows")]
    on_several_queues: Annotated[int, About("Flows that several workers handled.", "flows")]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run at one moment: the answer to `ixyfwd status --json`."""

    schema: Annotated[str, About("What this object is, and its version.")] = STATUS_SCHEMA
    instance: Annotated[str, About("Name of the instance.")]
    state: Annotated[RunState, About("What the run does.")]
    device: Annotated[DeviceKind, About("Whether its ports are simulated, real, or both.")]
    engine: Annotated[str, About("What moves descriptors.")]
    program: Annotated[str, About("The programs, in order.")]
    loop: Annotated[Literal["fused", "python"], About("What goes through the ports: C or Python.")]
    rss: Annotated[RssRow, About("Receive-side scaling.")]
    uptime_s: Annotated[float, About("Time since frames flow.", "s")]
    rx_packets: Annotated[int, About("Frames received, all ports: delivered to a ring, or no room.", "frames")]
    tx_packets: Annotated[int, About("Frames sent, all ports.", "frames")]
    drops: Annotated[Mapping[str, int], About("Frames dropped, by cause; PROGRAM.CAUSE too.", "frames", DROPS)]
    drops_in_pauses: Annotated[int | None, About("Of these, what pauses of workers explain at most.", "frames")]
    in_flight: Annotated[
        int | None,
        About("Frames in the rings; while frames move, what the other parts leave. Null: unknown.", "frames"),
    ]
    faults: Annotated[int | None, About("What the model recorded against the driver. Null: it was gone.", "number")]
    rate_mpps: Annotated[float, About("Sent: in the last second, or in the whole run.", "Mpps")]
    rate_rx_mpps: Annotated[float, About("Received, likewise.", "Mpps")]
    programs: Annotated[Sequence[ProgramRow], About("In the order in which bursts go through them.")]
    workers: Annotated[Sequence[WorkerRow], About("By index.")]
    model_process: Annotated[ModelProcessRow | None, About("Null if no port is simulated.")]
    ports: Annotated[Sequence[PortRow], About("As configured.")]
    sink: Annotated[SinkRow | None, About("Null without a wire that checks what comes back.")]
    notices: Annotated[Sequence[str], About("Sentences about what was not as it should be.")]

    @property
    def dropped(self) -> int:
        """Dropped frames of all causes."""
        return sum(self.drops.values())


@dataclass(frozen=True, kw_only=True)
class Report(Snapshot):
    """The account of a run that is over: exact, as no frame moves any more, unless `incomplete` says what it lacks."""

    schema: Annotated[str, About("What this object is, and its version.")] = REPORT_SCHEMA
    first_packet_s: Annotated[float | None, About("From the command to the first frame in a tx ring.", "s")]
    flows: Annotated[FlowsRow | None, About("Null without numbered frames.")]
    uncounted: Annotated[
        int | None, About("Frames by which the sum misses: 0 in a whole account. Null: unknown.", "frames")
    ]
    incomplete: Annotated[str | None, About("One sentence on what could not be counted; null: all was.")]
    reason: Annotated[str, About("Why it ended.")]
    error: Annotated[str | None, About("One sentence if the command failed.")]
    troubles: Annotated[Sequence[str], About("Steps of the stop that failed.")]
    exit_code: Annotated[int, About("Of the command.")]


@dataclass(frozen=True, kw_only=True)
class SingleReport:
    """What the reports of `ixyfwd generate` and `ixyfwd capture` share."""

    command: Annotated[Literal["generate", "capture"], About("The command.")]
    port: Annotated[str | None, About("Device address of the port.")]
    mac: Annotated[str | None, About("Its MAC address.")]
    device: Annotated[DeviceKind, About("Whether it is simulated.")]
    engine: Annotated[str, About("What moves descriptors.")]
    uptime_s: Annotated[float, About("Time since frames flow.", "s")]
    drops: Annotated[Mapping[str, int], About("Frames dropped, by cause.", "frames")]
    in_flight: Annotated[int | None, About("Frames in the ring. Null: unknown.", "frames")]
    rate_mpps: Annotated[float, About("Sent or received, in the whole run.", "Mpps")]
    faults: Annotated[int | None, About("What the model recorded against the driver. Null: it was gone.", "number")]
    uncounted: Annotated[
        int | None, About("Frames by which the sum misses: 0 in a whole account. Null: unknown.", "frames")
    ]
    incomplete: Annotated[str | None, About("One sentence on what could not be counted; null: all was.")]
    notices: Annotated[Sequence[str], About("Sentences about what was not as it should be.")]
    reason: Annotated[str, About("Why it ended.")]
    error: Annotated[str | None, About("One sentence if the command failed.")]
    exit_code: Annotated[int, About("Of the command.")]


@dataclass(frozen=True, kw_only=True)
class FarEndRow:
    """What the sink at the far end saw."""

    received: Annotated[int, About("Frames that came.", "frames")]
    reordered: Annotated[int, About("Frames that came behind a later one of their flow.", "frames")]
    duplicated: Annotated[int, About("Frames that came twice.", "frames")]
    corrupted: Annotated[int, About("Frames that were changed.", "frames")]
    foreign: Annotated[int, About("Frames that were not generated.", "frames")]
    lost: Annotated[int, About("Frames sent and not received.", "frames")]


@dataclass(frozen=True, kw_only=True)
class GenerateReport(SingleReport):
    """The account of `ixyfwd generate`: asked = sent + sum(drops) + in_flight."""

    schema: Annotated[str, About("What this object is, and its version.")] = GENERATE_SCHEMA
    asked: Annotated[int, About("Frames handed to the tx ring.", "frames")]
    sent: Annotated[int, About("Frames that the port has sent.", "frames")]
    shortfall: Annotated[int, About("Frames that were due and given up.", "frames")]
    sink: Annotated[FarEndRow | None, About("Null if nothing at the far end knows the frames.")]


@dataclass(frozen=True, kw_only=True)
class CaptureReport(SingleReport):
    """The account of `ixyfwd capture`: received = written + filtered + sum(drops) + in_flight."""

    schema: Annotated[str, About("What this object is, and its version.")] = CAPTURE_SCHEMA
    received: Annotated[int, About("Frames that the port has received.", "frames")]
    written: Annotated[int, About("Frames in the file.", "frames")]
    filtered: Annotated[int, About("Frames that the filter did not match.", "frames")]
    refused: Annotated[int, About("Frames that the port refused, not received: CRC, length.", "frames")]
    refused_too_long: Annotated[int, About("Of these, those longer than 1518 bytes.", "frames")]
    drops_in_pauses: Annotated[
        int | None, About("Of the drops, how many fell into pauses of the worker: an estimate.", "frames")
    ]
