"""A worker process from its first statement to its last."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from ixyfwd.engine.contract import Doorbells, Engine, EngineMemory, FusingEngine
from ixyfwd.engine.open import open_engine
from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.arena import attach_arena
from ixyfwd.pci.mmio import map_window, register_view
from ixyfwd.program.contract import Fusible, Program
from ixyfwd.program.open import open_program
from ixyfwd.telemetry.counters import NO_PAUSES, PAGE_BYTES, State, Word
from ixyfwd.worker.idle import Idle
from ixyfwd.worker.loop import SHARED_CPU_ROUNDS, Fused, PollLoop, Step, fused_bursts
from ixyfwd.worker.order import GenerateOrder
from ixyfwd.worker.pauses import Pauses
from ixyfwd.worker.process import freeze_gc, settle, tie_to_parent
from ixyfwd.worker.spec import DoorbellSpec, WorkerSpec
from ixyfwd.worker.traffic import traffic_steps


def main() -> None:
    """`python -c '...main()' SPEC_FD ERROR_FD PARENT_PID`; the error pipe takes one sentence if something is wrong."""
    spec_fd, error_fd, parent_pid = (int(argument) for argument in sys.argv[1:4])
    tie_to_parent(parent_pid)
    with open(spec_fd, encoding="utf-8") as file:
        spec = WorkerSpec.from_json(json.load(file))
    try:
        settle(f"ixyfwd-w{spec.index}", spec.cpu, spec.nice)
        run(spec)
    except (IxyfwdError, OSError, MemoryError) as error:
        os.write(error_fd, str(error).encode())
        raise SystemExit(1) from None


def run(spec: WorkerSpec) -> None:
    """Map what the spec names, fill the rx rings, poll until told to quit."""
    with ExitStack() as stack:
        arena = stack.enter_context(attach_arena(spec.arena_fd, spec.arena_bytes))
        start = spec.layout.counters
        page = stack.enter_context(stack.enter_context(arena.view[start : start + PAGE_BYTES]).cast("Q"))
        page[Word.PID] = os.getpid()
        doorbells = [_map_doorbells(spec_, stack) for spec_ in spec.doorbells]
        memory = EngineMemory(arena.view, spec.layout, spec.dma, doorbells, spec.segmented)
        engine = open_engine(spec.engine, memory)
        stack.callback(engine.close)
        try:
            work: Sequence[Step] | Fused
            if spec.traffic is not None:
                work = traffic_steps(spec.traffic, engine, spec.batch, page, stack)
            else:
                program = open_program(spec.program)
                work = _fuse(spec, engine, program) or _wire_up(spec, engine, memory, program)
            # A generator leaves reception off, and all buffers to what it sends.
            for port in range(len(spec.doorbells)) if not isinstance(spec.traffic, GenerateOrder) else ():
                engine.rx(port).start()
            idle = Idle(spec.idle, spec.shared_cpu, spec.interrupt_fds)
            loop = PollLoop(work, page, idle, spec.shared_cpu, Pauses(page, _shortest_pause_ns(spec)))
            if not spec.collect_garbage:
                freeze_gc()
            loop.run()
        except BaseException:
            page[Word.STATE] = State.FAILED
            raise


def _fuse(spec: WorkerSpec, engine: Engine, program: Program) -> Fused | None:
    """The loop in C, if that is asked for and can be done."""
    if not (spec.fused and isinstance(engine, FusingEngine) and isinstance(program, Fusible)):
        return None
    limit = SHARED_CPU_ROUNDS * len(spec.links) if spec.shared_cpu else fused_bursts(spec.batch)
    forward, once = (
        engine.bind_forward(
            spec.links,
            spec.batch,
            program.touched_byte,
            n,
            shared_cpu=spec.shared_cpu,
            pause_ns=_shortest_pause_ns(spec),
        )
        for n in (limit, 1)
    )
    return Fused(forward, once)


def _shortest_pause_ns(spec: WorkerSpec) -> int:
    return spec.layout.rings_last_ns if spec.watches_pauses else NO_PAUSES


def _wire_up(spec: WorkerSpec, engine: Engine, memory: EngineMemory, program: Program) -> list[Step]:
    steps: list[Step] = []
    for rx_port, tx_port in spec.links:
        batch = engine.new_batch(spec.batch)
        treat = program.bind(engine, memory, batch)
        steps.append(Step(engine.rx(rx_port).bind(batch), treat, engine.tx(tx_port).bind(batch)))
    return steps


def _map_doorbells(spec: DoorbellSpec, stack: ExitStack) -> Doorbells:
    rx = stack.enter_context(map_window(spec.rx_window))
    tx = stack.enter_context(map_window(spec.tx_window))
    return Doorbells(
        stack.enter_context(register_view(rx, spec.rx_window, spec.rdt)),
        stack.enter_context(register_view(tx, spec.tx_window, spec.tdt)),
    )
