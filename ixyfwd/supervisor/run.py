"""One run of the forwarder, from nothing to nothing: `run_forwarder`."""

import os
import time
from contextlib import ExitStack
from dataclasses import replace

from ixyfwd.config.placement import Placement, place
from ixyfwd.config.schema import Config
from ixyfwd.memory.arena import Arena
from ixyfwd.memory.layout import ArenaLayout, compute_layout, minimum_buffers
from ixyfwd.pci.function import DmaMap
from ixyfwd.supervisor.backing import make_arena, numa_notices
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.interrupts import Interrupts
from ixyfwd.supervisor.modelproc import ModelProcess, model_spec
from ixyfwd.supervisor.observer import Observer, Status
from ixyfwd.supervisor.ports import Port, bring_up, map_arena, open_ports
from ixyfwd.supervisor.serve import Server
from ixyfwd.supervisor.signals import StopSignals
from ixyfwd.supervisor.state import Forwarder
from ixyfwd.supervisor.stop import stop_in_order
from ixyfwd.supervisor.workers import Worker
from ixyfwd.worker.order import Order
from ixyfwd.worker.spec import WorkerSpec


def run_forwarder(
    config: Config,
    *,
    duration_s: float | None,
    until_done: bool,
    observer: Observer,
    begun_ns: int | None = None,
    traffic: Order | None = None,
) -> Status:
    """Bring everything up, forward until told to stop, take everything down; returns the final report.

    `duration_s` counts from the moment frames flow; `until_done` stops when every finite wire has fed all it has;
    `begun_ns` (CLOCK_MONOTONIC) is when the command began, for the report's start-up time; with `traffic` the worker
    of the only port generates or captures instead (see `supervisor.single`). SIGINT and SIGTERM stop
    in order. Raises IxyfwdError if it does not come up; then nothing is left behind.
    """
    begun_ns = begun_ns or time.monotonic_ns()
    allowed = sorted(os.sched_getaffinity(0))
    placement = place(config, allowed)
    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        if placement.main is not None:
            os.sched_setaffinity(0, {placement.main})
            stack.callback(os.sched_setaffinity, 0, allowed)
        instance = Instance(config.instance)
        stack.callback(instance.close)
        forwarder = _build(config, placement, instance, begun_ns, stack, traffic)
        server = stack.enter_context(Server(forwarder, instance, signals))
        for text in forwarder.notices:
            observer.notice(text)
        _open_gates(forwarder, server, observer)
        reason = server.serve(observer, duration_s, until_done)
        report = stop_in_order(forwarder, reason)
        waiting = server.waiting()
    waiting.answer(report)
    observer.stopped(report)
    return report


def _build(  # noqa: PLR0917
    config: Config, placement: Placement, instance: Instance, begun_ns: int, stack: ExitStack, traffic: Order | None
) -> Forwarder:
    """Model, ports, memory, workers: everything but the frames. What is built is taken down by `stack`."""
    model, sockets = _start_model(config, placement, instance, stack)
    ports = open_ports(config, sockets, stack)
    layout = _layout(config, len(placement.workers))
    interrupts = Interrupts(config, ports, len(placement.workers), stack)
    arena = stack.enter_context(make_arena(ports, layout.size, config.memory.backing))
    dma = map_arena(ports, arena, stack)
    for port in ports:
        interrupts.detach_with(stack, port)  # after the stop, which masks them
        # Harmless at any stage of a half-finished bring-up, and again after an orderly stop. It stands behind the
        # arena on the stack: rings are quiet and bus mastering off before the memory goes.
        stack.callback(port.driver.stop)
        bring_up(port, config, layout, dma, arena)
        interrupts.attach(port)
    specs = _worker_specs(config, placement, ports, layout, dma, arena)
    workers = [
        Worker(replace(spec, interrupt_fds=interrupts.of_worker(spec.index), traffic=traffic), arena) for spec in specs
    ]
    _start_workers(workers, stack)
    notices = [*([arena.notice] if arena.notice else []), *numa_notices(ports, placement, arena)]
    return Forwarder(config, ports, workers, model, notices, begun_ns)


def _start_model(
    config: Config, placement: Placement, instance: Instance, stack: ExitStack
) -> tuple[ModelProcess | None, dict[str, str]]:
    spec = model_spec(config, instance, placement.model, placement.shared)
    if spec is None:
        return None, {}
    model = ModelProcess(spec)
    stack.callback(model.end)
    return model, {port.name: port.socket for port in spec.ports}


def _layout(config: Config, workers: int) -> ArenaLayout:
    forward = config.forward
    least = minimum_buffers(len(config.ports), forward.ring_size, forward.batch)
    return compute_layout(
        ports=len(config.ports),
        workers=workers,
        ring_size=forward.ring_size,
        buffers_per_worker=max(least, forward.buffers),
    )


def _worker_specs(  # noqa: PLR0917
    config: Config, placement: Placement, ports: list[Port], layout: ArenaLayout, dma: DmaMap, arena: Arena
) -> list[WorkerSpec]:
    index = config.port_index()
    pairs = [(index[a], index[b]) for a, b in config.links]
    return [
        WorkerSpec(
            index=run.index,
            cpu=placement.workers[run.index],
            nice=config.cpu.nice,
            shared_cpu=placement.shared,
            arena_fd=arena.fd,
            arena_bytes=arena.size,
            layout=run,
            dma=dma,
            doorbells=tuple(port.doorbells(run.index) for port in ports),
            links=tuple(way for a, b in pairs for way in ((a, b), (b, a))),
            engine=config.forward.engine,
            program=config.forward.program,
            batch=config.forward.batch,
            idle=config.forward.idle,
            segmented=config.forward.segmented,
            fused=config.forward.fused,
            collect_garbage=config.forward.collect_garbage,
        )
        for run in layout.workers
    ]


def _start_workers(workers: list[Worker], stack: ExitStack) -> None:
    """All at once, then wait for each: on N cores it takes as long as one."""
    for worker in workers:
        stack.callback(worker.close)
        stack.callback(worker.end, 0)
        worker.start()
    for worker in workers:
        worker.wait_ready()


def _open_gates(forwarder: Forwarder, server: Server, observer: Observer) -> None:
    """Links, then receivers, then the wires: no frame meets a port that is not ready for it."""
    _wait_links(forwarder, server, observer)
    if not forwarder.generates:
        for port in forwarder.ports:
            port.driver.start_receive()
    forwarder.begin()
    status = forwarder.status()  # now: the model's wires would wait while it answers
    forwarder.link_changes(status)  # from here on changes are told
    if forwarder.model is not None:
        forwarder.model.client.start()
    observer.started(status)


def _wait_links(forwarder: Forwarder, server: Server, observer: Observer) -> None:
    """A link that stays down is said and not waited for longer: it may come up while we run."""
    timeout_s = forwarder.config.start.link_timeout_s
    deadline = time.monotonic() + timeout_s
    waiting = list(forwarder.ports)
    while waiting and time.monotonic() < deadline and not server.interrupted():
        waiting = [port for port in waiting if not port.driver.link().up]
        if waiting:
            time.sleep(0.002)
    for port in waiting:
        reason = port.driver.link().reason
        found = f"has no link after {timeout_s:g} s{f' ({reason})' if reason else ''}"
        text = f"port {port.name} {found}; it is used as soon as the link comes up"
        forwarder.notices.append(text)
        observer.notice(text)
