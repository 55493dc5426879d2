"""A run at a given load, the common part of `latency`, `rfc2544` and `soak`."""

from dataclasses import dataclass, replace
from typing import Any, Final

from ixyfwd.bench.cores import Patience, run_measured, was_interrupted
from ixyfwd.bench.throughput import DAMAGE, Trial, check_account, config_for, wire_for
from ixyfwd.config.schema import Config, Idle
from ixyfwd.errors import IxyfwdError
from ixyfwd.model.wires.contract import Rate
from ixyfwd.supervisor.observer import Observer, Silent
from ixyfwd.traffic.schedule import IMIX

LINE_BITS_PER_S: Final = 10_000_000_000
GAP_BYTES: Final = 20  # preamble, start of frame and gap; the CRC is in the frame's size
DIRECTIONS: Final = 2


@dataclass(frozen=True)
class Load:
    """A trial with its wires' pace. `rate`: frames per second and direction, or as in a configuration."""

    trial: Trial
    rate: Rate
    idle: Idle = "spin"
    collect_garbage: bool = False
    count: int | None = None  # frames of each direction; None: for as long as it runs

    def config(self, instance: str) -> Config:
        """The configuration of the forwarder and its wires."""
        base = config_for(self.trial, instance)
        forward = replace(base.forward, idle=self.idle, collect_garbage=self.collect_garbage)
        wire = replace(wire_for(self.trial), rate=self.rate, count=self.count)
        ports = tuple(replace(port, wire=wire) for port in base.ports)
        return replace(base, ports=ports, forward=forward)


def run_load(
    load: Load,
    duration_s: float | None,
    instance: str,
    observer: Observer | None = None,
    patience: Patience | None = None,
) -> dict[str, Any]:
    """Run for `duration_s` seconds, or until all frames are sent (None); returns the final report.

    Raises IxyfwdError if the run failed, if a frame was damaged, duplicated or
    overtaken, or if the account does not close, and Interrupted if the run was
    interrupted. Lost frames are in the report.
    """
    report = run_measured(
        load.config(instance),
        duration_s=duration_s,
        until_done=duration_s is None,
        observer=observer or Silent(),
        patience=patience,
    )
    if was_interrupted(report):
        raise Interrupted(report["reason"])
    if report["error"]:
        raise IxyfwdError(f"{load.trial}: {report['error']}")
    damage = {key: report["sink"][key] for key in DAMAGE if key != "lost" and report["sink"][key]}
    if damage:
        raise IxyfwdError(f"{load.trial}: the sinks report {', '.join(f'{key} {n}' for key, n in damage.items())}")
    check_account(report, load.trial)
    return report


class Interrupted(IxyfwdError):
    """A run that a signal ended; the measurements before it are valid."""


def mean_frame_bytes(frame: int | str) -> float:
    """The mean size, in bytes with CRC, of a trial's frames; `frame` as in a trial."""
    if isinstance(frame, int):
        return float(frame)
    return sum(size * weight for size, weight in IMIX) / sum(weight for _, weight in IMIX)


def line_rate(frame: int | str) -> float:
    """The line rate of 10 GbE in frames per second and direction; `frame` as in a trial."""
    return LINE_BITS_PER_S / (8 * (mean_frame_bytes(frame) + GAP_BYTES))


def worker_costs(reports: list[dict[str, Any]]) -> list[float]:
    """The costs, in busy ns per packet, of every worker that had packets."""
    return [worker["busy_ns_per_packet"] for report in reports for worker in report["workers"] if worker["rx_packets"]]
