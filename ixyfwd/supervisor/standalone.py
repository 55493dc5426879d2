"""The model by itself, for whoever attaches to its sockets: `run_model`."""

import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

from ixyfwd.errors import IxyfwdError
from ixyfwd.model.client import ModelStats
from ixyfwd.model.spec import ModelSpec
from ixyfwd.supervisor.modelproc import ModelProcess
from ixyfwd.supervisor.room import check_model_room
from ixyfwd.supervisor.signals import StopSignals

TICK_S = 1.0
RECENT_FAULTS = 64

Report = dict[str, Any]


class ModelObserver(Protocol):
    """Who watches. A report has `uptime_s`, `ports`, `faults`, `faults_by_kind` and `recent_faults`."""

    def started(self, spec: ModelSpec, pid: int) -> None: ...

    def tick(self, report: Report) -> None: ...


def run_model(spec: ModelSpec, duration_s: float | None, observer: ModelObserver) -> Report:
    """Serve until a signal, the end of the duration or the end of the model process; returns the final report.

    The report has also `reason`, `error` (one sentence or None) and `exit_code`: 1 after an error or a fault.
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
        return {"reason": reason, "error": error, **serving.report(), "exit_code": serving.exit_code(error)}


class _Serving:
    def __init__(self, model: ModelProcess, signals: StopSignals, duration_s: float | None) -> None:
        self._model = model
        self._signals = signals
        self._begun = time.monotonic()
        self._end = self._begun + duration_s if duration_s is not None else float("inf")
        self._stats: ModelStats = {"ports": []}

    def until_the_end(self, tick: Callable[[Report], None]) -> tuple[str, str | None]:
        """Reason and error. The last statistics are taken at the end, or were at the last tick if the model died."""
        try:
            reason = self._wait(tick)
            self._model.client.stop()  # captures are written out
            self._stats = self._model.client.stats()
        except IxyfwdError as error:
            child = self._model.child
            died = child.wait(0.1)  # a death explains more than its consequence
            return "failure", f"{child.name} {child.obituary()}" if died else str(error)
        return reason, None

    def _wait(self, tick: Callable[[Report], None]) -> str:
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
                    tick(self.report())
                next_tick = max(next_tick + TICK_S, now)
            wait = min(next_tick, self._end) - time.monotonic()
            select.select([self._signals.fd, self._model.child.pidfd], [], [], max(wait, 0))
            if not self._model.child.alive():
                raise IxyfwdError("the model ended")

    def report(self) -> Report:
        """The latest statistics with what they come to."""
        by_kind: dict[str, int] = {}
        recent: list[dict[str, Any]] = []
        sockets = {port.name: port for port in self._model.spec.ports}
        rows: list[dict[str, Any]] = []
        for row in self._stats["ports"]:
            spec = sockets[row["name"]]
            place = {"directory": spec.directory} if spec.directory else {"socket": spec.socket}
            rows.append({**place, "device_id": f"{spec.device_id:04x}", "mac": spec.mac, **row})
            for kind, number in row["faults"]["by_kind"].items():
                by_kind[kind] = by_kind.get(kind, 0) + number
            recent += ({"port": row["name"], **fault} for fault in row["faults"]["recent"])
        recent.sort(key=lambda fault: fault["time_ns"])
        return {
            "uptime_s": round(time.monotonic() - self._begun, 3),
            "ports": rows,
            "faults": self._fault_count(),
            "faults_by_kind": by_kind,
            "recent_faults": recent[-RECENT_FAULTS:],
        }

    def _fault_count(self) -> int:
        return sum(row["faults"]["total"] for row in self._stats["ports"])

    def exit_code(self, error: str | None) -> int:
        """1 if the model failed or a driver did something wrong."""
        return int(error is not None or self._fault_count() > 0)
