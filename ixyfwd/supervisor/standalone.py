"""The model by itself, for any driver that attaches to its sockets: `run_model`."""

import os
import select
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import fields
from types import TracebackType
from typing import Any, Protocol, Self

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.lineserver import LineServer
from ixyfwd.kit.linewaiting import Waiting
from ixyfwd.kit.loop import Loop
from ixyfwd.model.client import ModelStats, PortStats
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.modelproc import ModelProcess
from ixyfwd.supervisor.room import check_model_room
from ixyfwd.supervisor.serve import LAST_ROUNDS
from ixyfwd.supervisor.signals import StopSignals
from ixyfwd.supervisor.state import PORTS_HELD, TURN_S, held_sentence
from ixyfwd.telemetry.model_report import ModelPortRow, ModelReport, ModelStatus
from ixyfwd.telemetry.plain import from_plain, to_plain

TICK_S = 1.0
RECENT_FAULTS = 64


class ModelObserver(Protocol):
    """The observer of a model by itself, told how it goes."""

    def started(self, spec: ModelSpec, pid: int) -> None:
        """The model with the process id `pid` serves its sockets."""

    def notice(self, text: str) -> None:
        """A sentence of a model that goes on."""

    def tick(self, status: ModelStatus) -> None:
        """A second has passed."""


def run_model(spec: ModelSpec, duration_s: float | None, observer: ModelObserver) -> ModelReport:
    """Serve until a signal, the end of the duration or the end of the model process; returns the final report.

    Raises what the model reports if it cannot listen or plug its wires in.
    """
    check_model_room(len(spec.ports))
    with ExitStack() as outer:
        signals = outer.enter_context(StopSignals())
        desk = outer.enter_context(_Desk(_take_name(spec, outer)))
        with ExitStack() as stack:
            model = ModelProcess(spec)
            stack.callback(model.end)
            serving = _Serving(model, signals, desk, duration_s)
            observer.started(spec, model.child.pid)
            reason, error = serving.until_the_end(observer)
            status = serving.status()
            report = ModelReport(
                **{one.name: getattr(status, one.name) for one in fields(status)},
                reason=reason,
                error=error,
                exit_code=int(error is not None or status.faults > 0),
            )
        waiting = desk.waiting()
    waiting.answer(to_plain(report))
    return report


def _take_name(spec: ModelSpec, stack: ExitStack) -> Instance | None:
    """As an instance, for `ixyfwd instances` and `ixyfwd stop`. The model serves without that, too: its sockets are
    elsewhere."""
    try:
        instance = Instance(f"model-{os.getpid()}")
    except IxyfwdError:
        return None
    stack.callback(instance.close)
    instance.describe("model", "model", [port.directory or port.socket for port in spec.ports])
    return instance


class _Desk:
    """The control socket of an `ixyfwd model` as an instance: `ixyfwd stop` comes here. Wires and faults are steered
    by another, the model process's own."""

    def __init__(self, instance: Instance | None) -> None:
        """Without an instance nothing comes."""
        self.asked_to_stop = False
        self._loop = Loop()
        self.fd = self._loop.fd
        self._control: LineServer | None = None
        if instance is not None:
            self._control = LineServer(str(instance.socket("control")), self._loop, {"stop": self._stop}, _ignore)

    def _stop(self, request: Mapping[str, Any]) -> None:
        """Answered with the final report."""
        self.asked_to_stop = True

    def dispatch(self) -> None:
        """Hear what clients have said."""
        self._loop.dispatch()

    def waiting(self) -> Waiting:
        """Those who asked for the stop, also while everything was taken down."""
        for _ in range(LAST_ROUNDS):
            self.dispatch()
        return Waiting([]) if self._control is None else self._control.detach_waiting()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._control is not None:
            self._control.close()
        self._loop.close()


def _ignore(text: str) -> None:
    """Its only command does not fail."""


class _Serving:
    def __init__(self, model: ModelProcess, signals: StopSignals, desk: _Desk, duration_s: float | None) -> None:
        self._model = model
        self._signals = signals
        self._desk = desk
        self._begun = time.monotonic()
        self._end = self._begun + duration_s if duration_s is not None else float("inf")
        self._stats: ModelStats = {"ports": []}

    def until_the_end(self, observer: ModelObserver) -> tuple[str, str | None]:
        """Reason and error. The last statistics are taken at the end, or were at the last tick if the model died."""
        try:
            reason = self._wait(observer.tick, observer.notice)
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

    def _wait(self, tick: Callable[[ModelStatus], None], tell: Callable[[str], None]) -> str:
        next_tick = self._begun
        while True:
            now = time.monotonic()
            if self._signals.received:
                return f"{self._signals.received} received"
            if self._desk.asked_to_stop:
                return "stop command"
            if now >= self._end:
                return "duration over"
            if now >= next_tick:
                self._tell_held(tell)
                if self._model.turns(TURN_S):
                    self._stats = self._model.client.stats()
                if next_tick > self._begun:
                    tick(self.status())
                next_tick = max(next_tick + TICK_S, now)
            wait = min(next_tick, self._end) - time.monotonic()
            select.select([self._signals.fd, self._model.child.pidfd, self._desk.fd], [], [], max(wait, 0))
            self._desk.dispatch()
            if not self._model.child.alive():
                raise IxyfwdError("the model ended")

    def _tell_held(self, tell: Callable[[str], None]) -> None:
        before, held = self._model.pulse.held, self._model.pulse.look()
        if held != before:
            tell(held_sentence(self._model.child.name, held, PORTS_HELD))

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
