"""The orderly stop: no new frames, rings drained, everything counted, queues off, bus-master off. Then memory may go.

A step that fails (a dead worker, a model that is gone) is noted and the next one is tried: a stop always ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.children import wait_until
from ixyfwd.supervisor.account import final_account
from ixyfwd.supervisor.ports import Port
from ixyfwd.supervisor.recovery import bury_dead
from ixyfwd.supervisor.report import fault_count, wire_error
from ixyfwd.supervisor.serve import Reason
from ixyfwd.supervisor.state import Forwarder
from ixyfwd.supervisor.workers import DRAIN_TIMEOUT_S, QUIT_TIMEOUT_S, Worker
from ixyfwd.telemetry.counters import Command, State
from ixyfwd.telemetry.snapshot import Report

BUFFER_DRAIN_TIMEOUT_S = 0.5
BUFFER_LOOK_S = 0.05  # longer than a worker on a shared CPU is away from its rings
TX_DRAIN_TIMEOUT_S = 0.3  # 8192 frames of 1518 bytes take 10 ms on the wire; a link that is down takes for ever


def stop_in_order(forwarder: Forwarder, reason: Reason) -> Report:
    """Stop, and return the final report: exact, because nothing moves any more when it is made."""
    troubles: list[str] = []

    def attempt(step: Callable[[], None]) -> bool:
        try:
            step()
        except IxyfwdError as error:
            if str(error) not in troubles:
                troubles.append(str(error))
            return False
        return True

    forwarder.state = "stopping"
    running_until = forwarder.moment().at_s
    if forwarder.model is not None:
        attempt(forwarder.model.client.stop)
    attempt(lambda: _empty_packet_buffers(forwarder))
    for port in forwarder.ports:
        attempt(port.driver.stop_receive)
    attempt(lambda: _drain(forwarder.workers))
    attempt(lambda: _wait_sent(forwarder))
    if forwarder.plan.loop.order.restarts:
        attempt(lambda: _bury(forwarder))
    # Before the workers are told to quit: a worker that ended by itself must not look like one that died.
    report = final_account(forwarder, running_until, attempt, reason.why)
    for port in forwarder.ports:
        attempt(partial(_give_up_unsendable, forwarder, port))
        port.driver.stop()
        troubles.extend(trouble for trouble in port.driver.stop_problems if trouble not in troubles)
    faults = [report.faults]
    if forwarder.model is not None:
        attempt(lambda: faults.append(fault_count(forwarder.model_stats())))
    for worker in forwarder.workers:
        worker.command(Command.QUIT)
    for worker in forwarder.workers:
        worker.end(QUIT_TIMEOUT_S)
    forwarder.state = "stopped"
    forwarder.new_wire_notices(report.ports)
    error = reason.error or (troubles[0] if troubles else wire_error(report.ports))
    if error is None and faults[-1]:
        error = f"the model recorded {faults[-1]} faults; the ports' rows in the report say which"
    return replace(
        report,
        state=forwarder.state,
        faults=faults[-1],
        notices=tuple(forwarder.notices),
        error=error,
        troubles=tuple(troubles),
        exit_code=1 if error else 0,
    )


def _empty_packet_buffers(forwarder: Forwarder) -> None:
    """Where frames wait in the packet buffer (flow control "tx"), reception going off would lose them uncounted. So
    the workers first take what is there: until nothing arrives any more, or the partner has not paused in time."""
    arrived: list[int] | None = None

    def quiet() -> bool:
        nonlocal arrived
        before, arrived = (
            arrived,
            [
                port.driver.rx_progress(worker.index, worker.queue(port))
                for port in forwarder.ports
                if port.driver.frames_wait
                for worker in forwarder.workers
            ],
        )
        return before == arrived or not arrived

    wait_until(quiet, BUFFER_DRAIN_TIMEOUT_S, BUFFER_LOOK_S)


def _drain(workers: Sequence[Worker]) -> None:
    alive = [worker for worker in workers if worker.alive()]
    for worker in alive:
        worker.command(Command.DRAIN)
    wait_until(lambda: all(w.state == State.DRAINED or not w.alive() for w in alive), DRAIN_TIMEOUT_S)
    for worker in alive:
        if worker.alive() and worker.state != State.DRAINED:
            raise IxyfwdError(f"{worker.name} (pid {worker.pid}) did not drain its rings within {DRAIN_TIMEOUT_S:g} s")


def _bury(forwarder: Forwarder) -> None:
    """Workers that did not drain end here, so that what they have is counted like that of those that died before."""
    for worker in forwarder.workers:
        if worker.alive() and worker.state != State.DRAINED:
            worker.end(0)
    bury_dead(forwarder)


def _wait_sent(forwarder: Forwarder) -> None:
    """What the workers queued leaves the ports that have a link; the rest is reported as in flight."""
    up = [port for port in forwarder.ports if port.driver.link().up]

    def sent() -> bool:
        return all(port.driver.sent(worker.index, worker.queue(port)) for port in up for worker in forwarder.workers)

    wait_until(sent, TX_DRAIN_TIMEOUT_S)


def _give_up_unsendable(forwarder: Forwarder, port: Port) -> None:
    """Without a link nothing leaves, and waiting for it is no use: what is queued was counted as in flight."""
    if port.driver.link().up:
        return
    for worker in forwarder.workers:
        if not port.driver.sent(worker.index, worker.queue(port)):
            forwarder.notices.append(f"port {port.name} has no link: what {worker.name} had queued for it was not sent")
        port.driver.disable_tx_queue(worker.index)
