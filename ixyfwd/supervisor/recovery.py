"""Recovery from the death of workers: what `plan.difference` says, done step by step while the others forward.

Frames go to the living at once. What the dead worker had queued leaves, what lay in
its receive rings and in its hands is lost and counted (`worker_died`); then its rings
are rebuilt, a new process fills them, and its flows come back. No step waits: each
look takes those that can be taken.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ixyfwd.errors import IxyfwdError
from ixyfwd.plan.difference import Rebuild, RunningWorkers, Silence, Stage, Start, Steer, Step, difference
from ixyfwd.supervisor.events import Change
from ixyfwd.supervisor.restarts import RestartLimit
from ixyfwd.supervisor.state import Forwarder
from ixyfwd.supervisor.workers import READY_TIMEOUT_S, Worker
from ixyfwd.telemetry.counters import State

LOOK_S: Final = 0.001  # between two looks at what no event announces
LEAVE_S: Final = 0.05  # for queued frames to be sent: 8192 of 1518 bytes take 10 ms


@dataclass
class _Case:
    """A worker on its way. Times are of CLOCK_MONOTONIC, in seconds."""

    worker: Worker
    limit: RestartLimit
    stage: Stage = Stage.READY
    since_s: float = 0.0  # of the stage
    died_s: float = 0.0
    start_s: float | None = 0.0  # not before; None: it was given up
    held_looks: int = 0

    def enter(self, stage: Stage) -> None:
        self.stage, self.since_s = stage, time.monotonic()

    def age_s(self) -> float:
        return time.monotonic() - self.since_s


@dataclass
class Recovery:
    """The executor of the steps.

    `tell` is told what the user should know. `watch` has `died` called when the process
    of a worker ends, `forget` ends that for a pidfd.
    """

    forwarder: Forwarder
    tell: Callable[[Change], None]
    watch: Callable[[Worker], None]
    forget: Callable[[int], None]
    _cases: list[_Case] = field(init=False)
    _owners: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        limits = self.forwarder.plan.recovery
        self._cases = [_Case(one, RestartLimit(limits.restarts, limits.window_s)) for one in self.forwarder.workers]
        self._owners = frozenset(range(len(self._cases)))

    @property
    def is_on(self) -> bool:
        """Whether a death does not end the run: the role allows it, and the configuration does."""
        return self.forwarder.plan.loop.order.restarts and self.forwarder.plan.recovery.restarts > 0

    def died(self, worker: Worker) -> None:
        """The process of a worker has ended. Raises IxyfwdError if none is left and none will be started."""
        case = self._cases[worker.index]
        self.forget(worker.pidfd)
        case.enter(Stage.DEAD)
        self._count_death(case, worker.obituary())

    def _count_death(self, case: _Case, text: str) -> None:
        worker = case.worker
        case.died_s, worker.last_death = time.monotonic(), text
        delay_s = case.limit.delay_after(case.died_s)
        case.start_s = None if delay_s is None else case.died_s + delay_s
        if delay_s is None:
            self._give_up(worker)
        else:
            later = f"; it is started again in {delay_s:g} s" if delay_s else ""
            self._tell(worker, "died", worker.last_death + later)

    def _tell(self, worker: Worker, state: str, text: str) -> None:
        self.tell(Change("worker", worker.name, state, text))

    def _give_up(self, worker: Worker) -> None:
        limits = self.forwarder.plan.recovery
        text = f"{worker.last_death}; that is death {limits.restarts + 1} in {limits.window_s:g} s, so it is given up"
        if all(one.start_s is None for one in self._cases):
            raise IxyfwdError(f"{text}, and no other worker is left")
        self.forwarder.notices.append(text)
        self._tell(worker, "given up", f"{text}, and the run goes on with the others")

    def look(self) -> float:
        """Take the steps that can be taken now; returns the time in seconds until the next look.

        Raises IxyfwdError if a port fails.
        """
        for case in self._cases:
            self._see(case)
        for step in difference(self._running(), self._wanted()):
            self._take(step)
        return min((self._next_look_s(case) for case in self._cases), default=float("inf"))

    def _running(self) -> RunningWorkers:
        return RunningWorkers([case.stage for case in self._cases], self._owners)

    def _wanted(self) -> set[int]:
        now = time.monotonic()
        return {case.worker.index for case in self._cases if case.start_s is not None and case.start_s <= now}

    @staticmethod
    def _next_look_s(case: _Case) -> float:
        match case.stage:
            case Stage.READY:
                return float("inf")
            case Stage.EMPTY:
                return float("inf") if case.start_s is None else max(LOOK_S, case.start_s - time.monotonic())
            case _:
                return LOOK_S

    def _see(self, case: _Case) -> None:
        """What has become of a process that was started."""
        if case.stage is not Stage.STARTING:
            return
        worker = case.worker
        if worker.state == State.READY:
            case.enter(Stage.READY)
            gone_ms = round(1000 * (time.monotonic() - case.died_s))
            self._tell(worker, "ready", f"{worker.name} is back as pid {worker.pid}, {gone_ms} ms after its death")
        elif case.age_s() > READY_TIMEOUT_S:
            worker.kill()

    def _take(self, step: Step) -> None:
        match step:
            case Steer(queues):
                for port in self.forwarder.ports:
                    port.driver.steer(sorted(queues))
                self._owners = queues
                names = ", ".join(f"worker {queue}" for queue in sorted(queues))
                self._step("steer", f"hashed frames go to {names} from now on")
            case Silence(index):
                self._silence(self._cases[index])
            case Rebuild(index):
                self._rebuild(self._cases[index])
            case Start(index):
                self._start(self._cases[index])

    def _silence(self, case: _Case) -> None:
        for port in self.forwarder.ports:
            case.worker.empty_rx_queue(port)
        case.enter(Stage.LEAVING)
        self._step("silence", f"the receive rings of {case.worker.name} are empty; what comes for them is dropped")

    def _rebuild(self, case: _Case) -> None:
        """As soon as its queued frames have left, or LEAVE_S later; a port without a link sends none."""
        if case.age_s() < LEAVE_S and not self._has_sent(case.worker):
            return
        lost = clear_away(self.forwarder, case.worker)
        case.enter(Stage.EMPTY)
        self._step("rebuild", f"the memory of {case.worker.name} is rebuilt; {lost} frames were lost with its process")

    def _has_sent(self, worker: Worker) -> bool:
        up = (port for port in self.forwarder.ports if port.driver.link().up)
        return all(port.driver.sent(worker.index, worker.queue(port)) for port in up)

    def _start(self, case: _Case) -> None:
        """A process that cannot be started, for lack of any that are allowed, is a death, too."""
        worker, stolen = case.worker, self.forwarder.stolen
        before = worker.pid
        try:
            worker.restart()
        except IxyfwdError as error:
            self._count_death(case, str(error))
            return
        stolen.forget(before)
        stolen.add(worker.pid, worker.spec.cpu)
        self.watch(worker)
        case.enter(Stage.STARTING)
        self._step("start", f"{worker.name} is started as pid {worker.pid}")

    def _step(self, state: str, text: str) -> None:
        self.forwarder.events.add(Change("step", "plan", state, text))

    def end_held(self) -> None:
        """Once a tick: kill the workers that have done nothing for too long; their deaths follow."""
        held_s = self.forwarder.plan.recovery.held_s
        for case in self._cases:
            held = case.worker.pulse.held if case.stage is Stage.READY else None
            case.held_looks = case.held_looks + 1 if held else 0
            if held_s and case.held_looks > held_s:
                worker = case.worker
                text = f"{worker.name} (pid {worker.pid}) was {held} for {held_s:g} s, so it is killed"
                self._tell(worker, "killed", text)
                worker.kill()
                case.held_looks = 0


def bury_dead(forwarder: Forwarder) -> None:
    """Clear away the workers that are dead when a run stops. Raises IxyfwdError if a port fails."""
    for worker in forwarder.workers:
        if worker.pid and not worker.alive():
            for port in forwarder.ports:
                worker.empty_rx_queue(port)
            clear_away(forwarder, worker)


def clear_away(forwarder: Forwarder, worker: Worker) -> int:
    """Disable the transmit queues of a worker that has died, count what it had, and enable them with empty rings.

    Its receive rings are empty. Returns the number of frames that were lost with
    it. Raises IxyfwdError if a port fails.
    """
    for port in forwarder.ports:
        port.driver.disable_tx_queue(worker.index)
        forwarder.read_port(port)
    lost = worker.bury(forwarder.ports)
    for port in forwarder.ports:
        worker.empty_tx_queue(port)
    return lost
