"""One run from bring-up to the final report: `run_forwarder`, and `run_role` for any role."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from ixyfwd.config.schema import Config
from ixyfwd.kit.process import settle
from ixyfwd.memory.arena import Arena
from ixyfwd.pci.function import DmaMap
from ixyfwd.plan.make import MachineCpus, make_plan
from ixyfwd.plan.plan import Plan, WorkerPlan
from ixyfwd.roles.contract import Account, LoopPart, ProgramSpec, RoleOrder
from ixyfwd.roles.registry import default_order
from ixyfwd.roles.report import report_of
from ixyfwd.supervisor.backing import make_arena, numa_notices
from ixyfwd.supervisor.events import Change, Events
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.interrupts import Interrupts
from ixyfwd.supervisor.modelproc import ModelProcess, model_spec
from ixyfwd.supervisor.observer import Observer
from ixyfwd.supervisor.ports import Port, bring_up, map_arena, open_ports, settle_loop
from ixyfwd.supervisor.room import check_room
from ixyfwd.supervisor.serve import Server
from ixyfwd.supervisor.signals import StopSignals
from ixyfwd.supervisor.state import Forwarder, because
from ixyfwd.supervisor.stop import stop_in_order
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.plain import to_plain
from ixyfwd.telemetry.snapshot import Report
from ixyfwd.worker.spec import WorkerSpec


def run_forwarder(
    config: Config,
    *,
    duration_s: float | None,
    until_done: bool,
    observer: Observer,
    begun_ns: int | None = None,
    keep_events: bool = False,
) -> Report:
    """Bring everything up, forward until told to stop, take everything down; returns the final report.

    `duration_s` counts from the moment frames flow; `until_done` stops when every
    finite wire has fed all it has. `begun_ns` (CLOCK_MONOTONIC) is when the command
    began, for the report's start-up time. `keep_events` leaves the ring of events for
    the next run of that name. SIGINT and SIGTERM stop in order. Raises IxyfwdError if
    it does not come up; then nothing is left behind.
    """
    begun_ns = begun_ns or time.monotonic_ns()
    return _run(config, default_order(), duration_s, until_done, observer, begun_ns, keep_events=keep_events)


def run_role(
    config: Config,
    order: RoleOrder[Account],
    duration_s: float | None,
    observer: Observer,
    before_frames: Callable[[], None] | None = None,
) -> Account:
    """Run workers of another role until they are done or told to stop; returns their role's account.

    `before_frames` is called once all is up, and may raise IxyfwdError. See `run_forwarder`.
    """
    return report_of(order, _run(config, order, duration_s, True, observer, time.monotonic_ns(), before_frames))


def _run(  # noqa: PLR0917
    config: Config,
    order: RoleOrder[Any],
    duration_s: float | None,
    until_done: bool,
    observer: Observer,
    begun_ns: int,
    before_frames: Callable[[], None] | None = None,
    *,
    keep_events: bool = False,
) -> Report:
    allowed = sorted(os.sched_getaffinity(0))
    plan = make_plan(config, MachineCpus(allowed), order)
    notices = check_room(config, plan)
    with ExitStack() as outer:
        signals = outer.enter_context(StopSignals())
        if plan.main_cpu is not None:
            settle(plan.main_cpu, 0)
            outer.callback(os.sched_setaffinity, 0, allowed)
        instance = Instance(plan.instance)
        outer.callback(instance.close)
        instance.describe(order.command, plan.device, [port.device for port in plan.ports])
        events = Events(instance.dir)
        outer.callback(events.close, keep=keep_events)
        add_run_event(events, "starting", f"ixyfwd {order.command} as pid {os.getpid()}")
        outer.push(partial(_add_end, events))
        with ExitStack() as stack:
            forwarder = _build(plan, instance, begun_ns, events, stack)
            server = outer.enter_context(Server(forwarder, instance, signals))
            forwarder.notices[:0] = notices
            for text in forwarder.notices:
                observer.notice(text)
            if before_frames is not None:
                before_frames()
            _open_gates(forwarder, server, observer)
            reason = server.serve(observer, duration_s, until_done)
            add_run_event(events, "stopping", reason.error or reason.why)
            told = len(forwarder.notices)
            server.watch_only_clients()
            report = stop_in_order(forwarder, reason)
            for text in forwarder.notices[told:]:
                if text != report.error:
                    observer.notice(text)
        add_run_event(events, "stopped", f"all is down: exit code {report.exit_code}{because(report.error)}")
        waiting = server.waiting()  # also those who asked while everything was taken down
    waiting.answer(to_plain(report_of(order, report)))
    observer.stopped(report)
    return report


def add_run_event(events: Events, state: str, text: str) -> None:
    """Write an event of the run as a whole."""
    events.add(Change("run", "run", state, text))


def _add_end(events: Events, kind: object, error: BaseException | None, trace: object) -> None:
    """A run that did not come up, or ended by a mistake."""
    if error is not None:
        add_run_event(events, "failed", f"{error}" or type(error).__name__)


def _build(plan: Plan, instance: Instance, begun_ns: int, events: Events, stack: ExitStack) -> Forwarder:
    """Model, ports, memory, workers: everything but the frames. What is built is taken down by `stack`."""
    model, sockets = _start_model(plan, instance, stack)
    ports = open_ports(plan, sockets, stack)
    interrupts = Interrupts(plan.interrupt_interval_us, ports, len(plan.workers), stack)
    arena = stack.enter_context(make_arena(ports, plan.arena.size, plan.backing))
    maps = map_arena(ports, arena, stack)
    plan = settle_loop(plan, ports, maps)
    for port, dma in zip(ports, maps, strict=True):
        interrupts.detach_with(stack, port)  # after the stop, which masks them
        # Harmless at any stage of a half-finished bring-up, and again after an orderly stop. It stands behind the
        # arena on the stack: rings are quiet and bus mastering off before the memory goes.
        stack.callback(port.driver.stop)
        bring_up(port, plan.arena, dma, arena)
        interrupts.attach(port)
    workers = [Worker(_worker_spec(plan, worker, ports, maps, interrupts, arena), arena) for worker in plan.workers]
    _start_workers(workers, stack)
    notices = [*filter(None, (instance.notice, arena.notice)), *numa_notices(ports, plan.workers, arena)]
    notices += [text for port in ports for text in port.driver.notices]
    return Forwarder(plan, ports, workers, model, notices, begun_ns, events)


def _start_model(plan: Plan, instance: Instance, stack: ExitStack) -> tuple[ModelProcess | None, dict[str, str]]:
    spec = model_spec(plan, instance)
    if spec is None:
        return None, {}
    model = ModelProcess(spec)
    stack.callback(model.end)
    return model, {port.name: port.socket for port in spec.ports}


def _worker_spec(  # noqa: PLR0917
    plan: Plan, worker: WorkerPlan, ports: list[Port], maps: list[DmaMap], interrupts: Interrupts, arena: Arena
) -> WorkerSpec:
    """A worker's part of the plan with what it needs of the machine: descriptors, windows, device addresses."""
    loop = plan.loop
    programs = tuple(ProgramSpec(p.name, p.as_json(), p.decides) for p in loop.programs)
    return WorkerSpec(
        index=worker.index,
        cpu=worker.cpu,
        nice=plan.nice,
        shared_cpu=worker.shared_cpu,
        arena_fd=arena.fd,
        arena_bytes=arena.size,
        layout=worker.layout,
        ports=tuple(port.spec(worker.index, dma) for port, dma in zip(ports, maps, strict=True)),
        engine=loop.engine,
        order=loop.order.with_part(LoopPart(worker.links, programs, loop.fused, loop.frame_op)),
        batch=loop.batch,
        idle=loop.idle,
        segmented=loop.segmented,
        interrupt_fds=interrupts.of_worker(worker.index),
        collect_garbage=loop.collect_garbage,
    )


def _start_workers(workers: list[Worker], stack: ExitStack) -> None:
    """Start all workers, then wait for each: on N cores it takes as long as one."""
    for worker in workers:
        stack.callback(worker.close)
        stack.callback(worker.end, 0)
        worker.start()
    for worker in workers:
        worker.wait_ready()


def _open_gates(forwarder: Forwarder, server: Server, observer: Observer) -> None:
    """Links, then receivers, then the wires: no frame meets a port that is not ready for it."""
    _wait_links(forwarder, server, observer)
    if forwarder.plan.loop.order.receives:
        for port in forwarder.ports:
            port.driver.start_receive()
    forwarder.begin()
    status = forwarder.status()  # now: the model's wires would wait while it answers
    forwarder.link_changes(status)  # from here on changes are told
    if forwarder.model is not None:
        forwarder.model.client.start()
    add_run_event(forwarder.events, "running", "frames flow")
    observer.started(status)


def _wait_links(forwarder: Forwarder, server: Server, observer: Observer) -> None:
    """A link that stays down is said and not waited for longer: it may come up while we run."""
    timeout_s = forwarder.plan.link_timeout_s
    deadline = time.monotonic() + timeout_s
    waiting = list(forwarder.ports)
    while waiting and time.monotonic() < deadline and not server.interrupted():
        waiting = [port for port in waiting if not port.driver.link().up]
        if waiting:
            time.sleep(0.002)
    for port in waiting:
        found = f"has no link after {timeout_s:g} s{because(port.driver.link().reason)}"
        text = f"port {port.name} {found}; it is used as soon as the link comes up"
        forwarder.notices.append(text)
        observer.notice(text)
