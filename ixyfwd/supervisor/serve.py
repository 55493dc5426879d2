"""Watching a running forwarder: processes, signals, the control socket, the clock."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from ixyfwd.errors import DeviceError, DeviceGoneError, IxyfwdError
from ixyfwd.kit.lineserver import LineServer
from ixyfwd.kit.linewaiting import Waiting
from ixyfwd.kit.loop import Loop
from ixyfwd.supervisor.events import Change
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.observer import Observer
from ixyfwd.supervisor.ports import Port
from ixyfwd.supervisor.recovery import Recovery
from ixyfwd.supervisor.signals import StopSignals
from ixyfwd.supervisor.state import Forwarder
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.plain import to_plain

TICK_S = 1.0
DONE_CHECK_S = 0.05  # how often a finite wire is asked whether it is done
ANSWER_S = 0.5  # for the model to be seen to go on, before a status is made without it
STATUS_KEPT_S = 0.1  # making one takes 20 ms where the supervisor shares its CPU, and a crowd may ask for thousands
DEATH_S = 0.1  # from what a death leads to until the death is known
LAST_ROUNDS = 50  # of the loop, for all that clients have asked while the run was stopped
SETTLE_S = 0.05  # time for the last frames to pass before the stop begins; the drain would catch them anyway


@dataclass(frozen=True)
class Reason:
    """Why a run ends. `error` is a sentence if something went wrong."""

    why: str
    error: str | None = None


class Server:
    """The supervisor's loop. One per run; `close` removes the control socket."""

    def __init__(self, forwarder: Forwarder, instance: Instance, signals: StopSignals) -> None:
        self._forwarder = forwarder
        self._reason: Reason | None = None
        self._trouble: IxyfwdError | None = None  # found by a command; it ends the run as if a tick had found it
        self._untold: list[str] = []
        self._made: tuple[float, dict[str, Any]] | None = None  # the last status: when, and what it says
        self._loop = Loop()
        self._watched: list[int] = []
        self._recovery = Recovery(forwarder, self._tell, self._watch_worker, self._forget)
        commands = {"status": self._status, "stop": self._stop_command, "inject": self._inject}
        self._control = LineServer(str(instance.socket("control")), self._loop, commands, self._notice)
        self._watch(signals.fd, lambda: self._stop(f"{signals.received} received"))
        for worker in forwarder.workers:
            self._watch_worker(worker)
        for port in forwarder.ports:
            if port.function.removal_fd >= 0:
                self._watch(port.function.removal_fd, self._wanted_back(port))
        if forwarder.model is not None:
            child = forwarder.model.child
            self._watch(child.pidfd, lambda: self._fail(f"{child.name} {child.obituary()}"))

    def _watch(self, fd: int, call: Callable[[], None]) -> None:
        self._watched.append(fd)
        self._loop.watch(fd, call)

    def _tell(self, change: Change) -> None:
        """Now as an event, and at the next tick as a line."""
        self._forwarder.events.add(change)
        self._untold.append(change.text)

    def _watch_worker(self, worker: Worker) -> None:
        self._watch(worker.pidfd, partial(self._died, worker))

    def _forget(self, fd: int) -> None:
        self._watched.remove(fd)
        self._loop.forget(fd)

    def _stop(self, why: str, error: str | None = None) -> None:
        self._reason = self._reason or Reason(why, error)

    def _died(self, worker: Worker) -> None:
        if self._reason is not None:
            return
        if self._recovery.is_on and self._forwarder.state == "running" and not self._port_is_gone(worker):
            self._recovery.died(worker)
        else:
            self._fail(self._cause_of_death(worker))

    def _port_is_gone(self, worker: Worker) -> bool:
        return worker.lost_memory() and self._forwarder.lost_port() is not None

    def _wanted_back(self, port: Port) -> Callable[[], None]:
        return lambda: self._fail(
            f"port {port.name} ({port.function.address}): the kernel wants the device back: it is being removed or "
            "unbound from its driver, and the kernel waits until this run lets go of it"
        )

    def _cause_of_death(self, worker: Worker) -> str:
        """Where a port is gone, its doorbells went with it, and the worker that touched them says nothing by itself."""
        if not worker.lost_memory():
            return worker.obituary()
        gone = self._forwarder.lost_port()
        if gone is not None:
            return f"{gone}; {worker.obituary()} at its doorbell"
        return (
            f"{worker.obituary()}: memory that it had mapped was taken away, though all ports answer again; look for "
            "what resets or rebinds the devices, then start again"
        )

    def _fail(self, error: str) -> None:
        self._stop("failure", error)

    def _notice(self, text: str) -> None:
        self._forwarder.notices.append(text)
        self._untold.append(text)

    def _status(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """All counters as they are now, or for a crowd that asks, as they were STATUS_KEPT_S ago at most."""
        if self._trouble is None:
            try:
                if self._made is None or time.monotonic() - self._made[0] > STATUS_KEPT_S:
                    self._forwarder.read_ports(ANSWER_S)
                    self._made = (time.monotonic(), to_plain(self._forwarder.status()))
                return self._made[1]
            except IxyfwdError as error:
                self._trouble = error
        raise self._trouble  # at once: waiting for a device that does not answer takes seconds

    def _stop_command(self, request: Mapping[str, Any]) -> None:
        """Answered with the final report."""
        self._stop("stop command")

    def _inject(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Passed on to the model, which checks it; "kind" and "parameters" may be None: see ModelClient.inject_off."""
        model = self._forwarder.model
        port, kind, parameters = (request.get(key) for key in ("port", "kind", "parameters"))
        if model is None:
            return {"error": 'faults can be injected into simulated ports only (device = "sim:NAME"); there is none'}
        if not isinstance(port, str) or not isinstance(kind, str | None) or not isinstance(parameters, dict | None):
            return {"error": 'to inject, "port" and "kind" are names and "parameters" is an object'}
        if self._trouble is not None:
            raise self._trouble
        if not model.turns(ANSWER_S):
            return {"error": f"{model.child.name} does not go on: `ixyfwd status` says how it is"}
        self._made = None  # who injects and then asks for the status sees what it did
        try:
            if kind is None or parameters is None:
                injected = model.client.inject_off(port, kind)
                what, state = kind or "everything", "off"
            else:
                injected = model.client.inject(port, kind, parameters)
                what, state = kind, "on"
            text = f"port {port}: {what} is {'injected' if state == 'on' else 'injected no more'}"
            self._forwarder.events.add(Change("inject", f"port {port}", state, text))
            return {"injected": injected}
        except DeviceError as error:  # the model does not answer
            self._trouble = error
            raise

    def serve(self, observer: Observer, duration_s: float | None, until_done: bool) -> Reason:
        """Until a signal, the stop command, the end of the duration or of the finite wires, or a death."""
        begun = time.monotonic()
        end = begun + duration_s if duration_s is not None else float("inf")
        next_tick, next_check = begun + TICK_S, begun + DONE_CHECK_S if until_done else end
        try:
            while self._reason is None:
                if self._trouble is not None:
                    raise self._trouble
                now = time.monotonic()
                if now >= end:
                    return Reason("duration over")
                if until_done and now >= next_check:
                    if self._done():
                        return Reason("all wires done")
                    next_check = time.monotonic() + DONE_CHECK_S
                if now >= next_tick:
                    self._tick(observer)
                    next_tick = max(next_tick + TICK_S, now)
                next_look = now + self._recovery.look()
                self.dispatch(max(min(next_tick, end, next_check, next_look) - now, 0))
        except IxyfwdError as error:
            self._trouble = error
            self._look_for_a_death()
            gone = self._forwarder.lost_port() if isinstance(error, DeviceGoneError) else None  # names the port too
            return self._reason or Reason("failure", gone or str(error))
        return self._reason

    def _look_for_a_death(self) -> None:
        """It explains more than its consequence. Clients may be in its way for a round or two."""
        deadline = time.monotonic() + DEATH_S
        while self._reason is None and (left_s := deadline - time.monotonic()) > 0:
            self.dispatch(left_s)

    def _tick(self, observer: Observer) -> None:
        status = self._forwarder.tick()
        observer.tick(status)
        told = self._forwarder
        for change in (*told.held_changes(), *told.link_changes(status), *told.new_wire_notices(status.ports)):
            told.events.add(change)
            observer.notice(change.text)
        if self._recovery.is_on:
            self._recovery.end_held()
        self._forwarder.retry_links(status)
        while self._untold:
            observer.notice(self._untold.pop(0))

    def dispatch(self, timeout_s: float) -> None:
        """Let everything that is ready have its say."""
        self._loop.dispatch(timeout_s)

    def interrupted(self) -> bool:
        """Whether there is already a reason to stop."""
        self.dispatch(0)
        return self._reason is not None

    def _done(self) -> bool:
        ended = self._forwarder.workers_done()
        if ended is not None:
            return ended
        if not self._forwarder.feeds_done():
            return False
        time.sleep(SETTLE_S)
        return True

    def watch_only_clients(self) -> None:
        """The run is over: its descriptors will be closed, and their numbers may become others'."""
        while self._watched:
            self._loop.forget(self._watched.pop())
        self._stop("it has stopped")
        self._trouble = IxyfwdError("the run has just ended")  # one with a traceback holds views of the arena

    def waiting(self) -> Waiting:
        """The clients that asked for the stop, also while it went on; they are answered when everything is down."""
        for _ in range(LAST_ROUNDS):
            self.dispatch(0)
        return self._control.detach_waiting()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()
        self._loop.close()
