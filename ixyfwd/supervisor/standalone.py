"""The model by itself, for whoever attaches to its sockets: `run_model`."""

import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from typing import Any, Protocol

from ixyfwd.errors import IxyfwdError
from ixyfwd.model.client import ModelStats, PortStats
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.supervisor.modelproc import ModelProcess
from ixyfwd.supervisor.room import check_model_room
from ixyfwd.supervisor.signals import StopSignals
from ixyfwd.telemetry.model_report import ModelPortRow, ModelReport, ModelStatus
from ixyfwd.telemetry.plain import from_plain

TICK_S = 1.0
RECENT_FAULTS = 64


class ModelObserver(Protocol):
    """What is told how it goes."""

    def started(self, spec: ModelSpec, pid: int) -> None: ...

    def tick(self, status: ModelStatus) -> None: ...


def run_model(spec: ModelSpec, duration_s: float | None, observer: ModelObserver) -> ModelReport:
    """Serve until a signal, the end of the duration or the end of the model process; returns the final report.

    Raises what the model reports if it cannot listen or plug its wires in.
    """
    check_model_room(len(spec.ports))
    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        model = ModelProcess(spec)
        stack.callback(model.end)
        serving = _Serving(model, signals, duration_s)
        observer.started(spec, model.child.pid)
        reason, error = serving.until_the_end(observer.tick)
        status = serving.status()
        return ModelReport(
            **{one.name: getattr(status, one.name) for one in fields(status)},
            reason=reason,
            error=error,
            exit_code=int(error is not None or status.faults > 0),
        )


class _Serving:
    def __init__(self, model: ModelProcess, signals: StopSignals, duration_s: float | None) -> None:
        self._model = model
        self._signals = signals
        self._begun = time.monotonic()
        self._end = self._begun + duration_s if duration_s is not None else float("inf")
        self._stats: ModelStats = {"ports": []}

    def until_the_end(self, tick: Callable[[ModelStatus], None]) -> tuple[str, str | None]:
        """Reason and error. The last statistics are taken at the end, or were at the last tick if the model died."""
        try:
            reason = self._wait(tick)
            self._model.client.stop()  # captures are written out
            self._stats = self._model.client.stats()
        except IxyfwdError as error:
            child = self._model.child
            died = child.wait(0.1)  # a death explains more than its consequence
            return "failure", f"{child.name} {child.obituary()}" if died else str(error)
        return reason, self._wire_error()

    def _wire_error(self) -> str | None:
        """What a wire could not do of what it was asked for."""
        wires = ((row["name"], row["wire"].get("error")) for row in self._stats["ports"])
        return next((f"port {name}: {error}" for name, error in wires if error), None)

    def _wait(self, tick: Callable[[ModelStatus], None]) -> str:
        next_tick = self._begun
        while True:
            now = time.monotonic()
            if self._signals.received:
                return f"{self._signals.received} received"
            if now >= self._end:
                return "duration over"
            if now >= next_tick:
                self._stats = self._model.client.stats()
                if next_tick > self._begun:
                    tick(self.status())
                next_tick = max(next_tick + TICK_S, now)
            wait = min(next_tick, self._end) - time.monotonic()
            select.select([self._signals.fd, self._model.child.pidfd], [], [], max(wait, 0))
            if not self._model.child.alive():
                raise IxyfwdError("the model ended")

    def status(self) -> ModelStatus:
        """The latest statistics with what they come to."""
        by_kind: dict[str, int] = {}
        recent: list[dict[str, Any]] = []
        specs = {port.name: port for port in self._model.spec.ports}
        rows: list[ModelPortRow] = []
        for found in self._stats["ports"]:
            rows.append(_row(specs[found["name"]], found))
            for kind, number in found["faults"]["by_kind"].items():
                by_kind[kind] = by_kind.get(kind, 0) + number
            recent += ({"port": found["name"], **fault} for fault in found["faults"]["recent"])
        recent.sort(key=lambda fault: fault["time_ns"])
        return ModelStatus(
            uptime_s=round(time.monotonic() - self._begun, 3),
            ports=rows,
            faults=sum(row.faults.total for row in rows),
            faults_by_kind=by_kind,
            recent_faults=recent[-RECENT_FAULTS:],
        )


def _row(spec: PortSpec, found: PortStats) -> ModelPortRow:
    more = {
        "socket": None if spec.directory else spec.socket,
        "directory": spec.directory or None,
        "device_id": f"{spec.device_id:04x}",
        "mac": spec.mac,
    }
    return from_plain(ModelPortRow, {**found, **more}, f"port {spec.name}")
