"""The final account of a run, and what it lacks.

A port that cannot be read takes its last counts with it, a worker that dies in the middle of a burst that burst.
Neither is guessed; both are said.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ixyfwd.roles.contract import Sums
from ixyfwd.supervisor.ports import Port
from ixyfwd.supervisor.report import fault_count, flow_summary, in_rings, port_rows, sink_sums
from ixyfwd.supervisor.state import Forwarder
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.snapshot import Report

Attempt = Callable[[Callable[[], None]], bool]
"""Takes a step; false if it failed, which is noted."""


def final_account(forwarder: Forwarder, running_until_s: float, attempt: Attempt, why: str) -> Report:
    """The report of a run that has stopped, without its troubles. Exact, because nothing moves any more."""
    unread = [port for port in forwarder.ports if not attempt(partial(forwarder.read_port, port))]
    found: dict[str, Any] = {"faults": None, "sink": None, "ports": [], "flows": None}
    in_flight = _in_flight(forwarder, attempt, unread)

    def from_model() -> None:
        model = forwarder.model_stats()
        found.update(faults=fault_count(model), sink=sink_sums(model, forwarder.far_ends(), final=True))
        found.update(flows=flow_summary(forwarder.model_flows()), ports=port_rows(forwarder.ports, model))

    asked = attempt(from_model)
    if not asked:
        attempt(lambda: found.update(ports=port_rows(forwarder.ports, None)))
    seconds = max(running_until_s - forwarder.begun.at_s, 1e-9)
    counted = forwarder.counted(seconds)
    uncounted = None if in_flight is None else _uncounted(forwarder, counted, in_flight)
    return Report(
        **counted,
        **found,
        in_flight=in_flight,
        uncounted=uncounted,
        incomplete=_incomplete(forwarder, unread, uncounted, asked),
        first_packet_s=forwarder.first_packet_s(),
        rate_mpps=round(counted["tx_packets"] / seconds / 1e6, 3),
        rate_rx_mpps=round(counted["rx_packets"] / seconds / 1e6, 3),
        reason=why,
        error=None,
        troubles=(),
        exit_code=0,
    )


def _in_flight(forwarder: Forwarder, attempt: Attempt, unread: list[Port]) -> int | None:
    """Frames in all rings; None if a port does not say. That port is `unread` then, too."""
    frames: list[int] = []
    for port in forwarder.ports:
        if port not in unread and not attempt(partial(_add_rings, frames, port, forwarder.workers)):
            unread.append(port)
    return None if unread else sum(frames)


def _add_rings(frames: list[int], port: Port, workers: Sequence[Worker]) -> None:
    frames.append(in_rings(port, workers))


def _uncounted(forwarder: Forwarder, counted: Mapping[str, Any], in_flight: int) -> int:
    """The number of frames by which the sum misses, as the role of the workers has it."""
    workers = forwarder.workers
    sums = Sums(int(counted["rx_packets"]), int(counted["tx_packets"]), counted["drops"], in_flight)
    died = any(worker.pid and not worker.alive() for worker in workers)
    return forwarder.plan.loop.order.uncounted(sums, lambda word: sum(one.word(word) for one in workers), died=died)


def _incomplete(forwarder: Forwarder, unread: Sequence[Port], uncounted: int | None, asked: bool) -> str | None:
    """A sentence on what is missing; None: nothing."""
    parts = []
    if unread:
        names = " and ".join(port.name for port in unread)
        whose = (
            f"port {names} could not be read at the end: its"
            if len(unread) == 1
            else (f"ports {names} could not be read at the end: their")
        )
        read_at_s = min(forwarder.read_at_s.get(port.name, forwarder.begun.at_s) for port in unread)
        age_s = time.monotonic() - read_at_s
        parts.append(f"{whose} counters are {age_s:.1f} s old, and what went through since then is not among them")
    elif uncounted:
        dead = [worker.name for worker in forwarder.workers if worker.pid and not worker.alive()]
        cause = f", since {' and '.join(dead)} died in the middle of a burst" if dead else ""
        parts.append(f"the sum misses by {uncounted:,} frames{cause}")
    if not asked:
        parts.append("the wires and the faults that the model knows of could not be asked for")
    return "; ".join(parts) or None
