"""A worker process from its first statement to its last."""

import os
import sys
from contextlib import ExitStack

from ixyfwd.engine.contract import Bell, CallBell, EngineMemory, EnginePort, RegisterBell
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
from ixyfwd.roles.work import Workplace, begin
from ixyfwd.telemetry.counters import NO_PAUSES, PAGE_BYTES, State, Word
from ixyfwd.worker.idle import Idle
from ixyfwd.worker.loop import PollLoop
from ixyfwd.worker.pauses import Pauses
from ixyfwd.worker.spec import BellSpec, CallSpec, WorkerSpec


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
        memory = EngineMemory(arena.view, spec.layout, ports, spec.segmented, spec.order.threaded)
        engine = open_engine(spec.engine, memory)
        stack.callback(engine.close)
        try:
            pause_ns = _shortest_pause_ns(spec)
            work = begin(spec.order, Workplace(engine, spec.batch, page, spec.shared_cpu, pause_ns, stack))
            for port in range(len(spec.ports)) if spec.order.receives else ():
                engine.rx(port).start()
            idle = Idle(spec.idle, spec.shared_cpu, spec.interrupt_fds)
            loop = PollLoop(work, page, idle, spec.shared_cpu, Pauses(page, pause_ns))
            if not spec.collect_garbage:
                freeze_gc()
            loop.run()
        except BaseException:
            page[Word.STATE] = State.FAILED
            raise


def _shortest_pause_ns(spec: WorkerSpec) -> int:
    return spec.layout.rings_last_ns if spec.watches_pauses else NO_PAUSES


def _open_bell(bell: BellSpec, stack: ExitStack) -> Bell:
    if isinstance(bell, CallSpec):
        return CallBell(bell.fd)
    window = stack.enter_context(map_window(bell.window))
    view = stack.enter_context(register_view(window, bell.window, bell.offset, bell.width_bytes))
    return RegisterBell(view, bell.value)
