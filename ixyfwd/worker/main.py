"""A worker process from its first statement to its last."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from ixyfwd.engine.contract import Bell, CallBell, Engine, EngineMemory, EnginePort, FusingEngine, RegisterBell
from ixyfwd.engine.open import open_engine
from ixyfwd.kit.process import (
    Words,
    freeze_gc,
    read_order,
    run_child,
    set_name,
    settle,
    sleep_exactly,
    tie_to_parent,
)
from ixyfwd.memory.arena import attach_arena
from ixyfwd.pci.mmio import map_window, register_view
from ixyfwd.telemetry.counters import NO_PAUSES, PAGE_BYTES, State, Word
from ixyfwd.worker.idle import Idle
from ixyfwd.worker.loop import SHARED_CPU_ROUNDS, Fused, PollLoop, fused_bursts
from ixyfwd.worker.order import GenerateOrder
from ixyfwd.worker.pauses import Pauses
from ixyfwd.worker.rounds import Step
from ixyfwd.worker.spec import BellSpec, CallSpec, WorkerSpec
from ixyfwd.worker.steps import forwarding_steps
from ixyfwd.worker.traffic import traffic_steps


def main() -> None:
    """`python -c '...main()' SPEC_FD WORDS_FD PARENT_PID`; `kit/children.py` starts it so."""
    spec_fd, words_fd, parent_pid = (int(argument) for argument in sys.argv[1:4])

    def work() -> None:
        tie_to_parent(parent_pid)
        spec = WorkerSpec.from_json(read_order(spec_fd))
        settle(spec.cpu, spec.nice)
        set_name(f"ixyfwd-w{spec.index}")
        sleep_exactly()
        run(spec)

    raise SystemExit(run_child("worker", Words(words_fd), work))


def run(spec: WorkerSpec) -> None:
    """Map what the spec names, fill the rx rings, poll until told to quit."""
    with ExitStack() as stack:
        arena = stack.enter_context(attach_arena(spec.arena_fd, spec.arena_bytes))
        start = spec.layout.counters
        page = stack.enter_context(stack.enter_context(arena.view[start : start + PAGE_BYTES]).cast("Q"))
        page[Word.PID] = os.getpid()
        ports = [EnginePort(p.family, p.dma, _open_bell(p.rx, stack), _open_bell(p.tx, stack)) for p in spec.ports]
        threaded = spec.traffic is not None and spec.traffic.threaded
        memory = EngineMemory(arena.view, spec.layout, ports, spec.segmented, threaded)
        engine = open_engine(spec.engine, memory)
        stack.callback(engine.close)
        try:
            work: Sequence[Step] | Fused
            if spec.traffic is not None:
                work = traffic_steps(spec.traffic, engine, spec.batch, page, stack)
            else:
                work = _fuse(spec, engine) or forwarding_steps(spec, engine)
            # A generator leaves reception off, and all buffers to what it sends.
            for port in range(len(spec.ports)) if not isinstance(spec.traffic, GenerateOrder) else ():
                engine.rx(port).start()
            idle = Idle(spec.idle, spec.shared_cpu, spec.interrupt_fds)
            loop = PollLoop(work, page, idle, spec.shared_cpu, Pauses(page, _shortest_pause_ns(spec)))
            if not spec.collect_garbage:
                freeze_gc()
            loop.run()
        except BaseException:
            page[Word.STATE] = State.FAILED
            raise


def _fuse(spec: WorkerSpec, engine: Engine) -> Fused | None:
    """The loop in C, if that is asked for and there is one for these links; otherwise they take the way of batches."""
    if not (spec.fused and isinstance(engine, FusingEngine) and engine.fuses(spec.links)):
        return None
    limit = SHARED_CPU_ROUNDS * len(spec.links) if spec.shared_cpu else fused_bursts(spec.batch)
    forward, once = (
        engine.bind_forward(
            spec.links,
            spec.batch,
            spec.frame_op,
            n,
            shared_cpu=spec.shared_cpu,
            pause_ns=_shortest_pause_ns(spec),
        )
        for n in (limit, 1)
    )
    return Fused(forward, once)


def _shortest_pause_ns(spec: WorkerSpec) -> int:
    return spec.layout.rings_last_ns if spec.watches_pauses else NO_PAUSES


def _open_bell(bell: BellSpec, stack: ExitStack) -> Bell:
    if isinstance(bell, CallSpec):
        return CallBell(bell.fd)
    window = stack.enter_context(map_window(bell.window))
    view = stack.enter_context(register_view(window, bell.window, bell.offset, bell.width_bytes))
    return RegisterBell(view, bell.value)
