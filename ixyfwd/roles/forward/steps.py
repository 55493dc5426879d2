"""The step of a link: rx, programs, tx."""

from collections.abc import Callable, Sequence

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine
from ixyfwd.errors import UsageError
from ixyfwd.programs.work import Place, Treat, bind_program
from ixyfwd.roles.contract import ProgramSpec
from ixyfwd.roles.work import Step


def program_step(programs: Sequence[ProgramSpec], engine: Engine, capacity: int, link: tuple[int, int]) -> Step:
    """The step of one link (rx port, tx port) in bursts of up to `capacity`.

    Raises UsageError for a program that the engine cannot run.
    """
    rx_port, tx_port = link
    batch = engine.new_batch(capacity)
    treat = chain(_calls(programs, engine, batch, rx_port))
    decides = any(program.decides for program in programs)
    tx = engine.bind_dispatch(batch, tx_port) if decides else engine.tx(tx_port).bind(batch)
    return Step(engine.rx(rx_port).bind(batch), treat, tx)


def _calls(programs: Sequence[ProgramSpec], engine: Engine, batch: Batch, rx_port: int) -> list[Treat]:
    """What is called between rx and tx, in order: programs, and behind each that decides its settlement."""
    calls: list[Treat] = []
    if any(program.decides for program in programs):
        calls.append(engine.bind_pass_all(batch))
    for index, program in enumerate(programs):
        treat = bind_program(program.name, program.options, Place(engine, batch, rx_port, index))
        if treat is not None:
            calls.append(treat)
        elif program.decides:
            raise UsageError(f"the program {program.name} decides on frames, but not with the {engine.name} engine")
        if program.decides:
            calls.append(engine.bind_settle(batch, index))
    return calls


def chain(calls: Sequence[Treat]) -> Treat | None:
    """One call that makes all of `calls` in their order; None where there are none."""
    if len(calls) <= 1:
        return calls[0] if calls else None
    every: tuple[Callable[[], object], ...] = tuple(calls)

    def run() -> None:
        for call in every:
            call()

    return run
