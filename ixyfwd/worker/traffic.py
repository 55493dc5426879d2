"""Workers that are an end of the traffic: one makes frames for its port, one records those of its port.

Each is one step of the poll loop: where a forwarder has rx burst and tx burst, the generator has a source and tx burst,
the recorder rx burst and a recorder.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ixyfwd.engine.contract import Engine
from ixyfwd.engine.traffic import ENDLESS, Recording, TrafficEngine
from ixyfwd.errors import UsageError
from ixyfwd.telemetry.counters import Word
from ixyfwd.worker.bpf import load_filter
from ixyfwd.worker.order import GenerateOrder, Order
from ixyfwd.worker.recording import FileThread
from ixyfwd.worker.rounds import Step


def traffic_steps(order: Order, engine: Engine, batch: int, page: memoryview, stack: ExitStack) -> Sequence[Step]:
    """The loop's steps for port 0. `page`: the counters page as 'Q'. Raises UsageError for an engine that cannot."""
    if not isinstance(engine, TrafficEngine):
        raise UsageError(f"the {engine.name} engine neither generates nor captures; choose native or vector")
    cells = engine.new_batch(batch)
    if isinstance(order, GenerateOrder):
        return [Step(engine.bind_source(0, cells, order.frames()), None, engine.tx(0).bind(cells))]
    loaded = load_filter(order.program) if order.program else None
    recording = Recording(
        recording=order.fd is not None,
        pcapng=order.pcapng,
        snaplen=order.snaplen,
        count=ENDLESS if order.count is None else order.count,
        filter_address=loaded.function if loaded else 0,
        program_address=loaded.program if loaded else 0,
    )
    recorder = engine.bind_recorder(cells, recording)
    burst: Callable[[], int] = engine.rx(0).bind(cells)
    if order.fd is not None:
        thread = stack.enter_context(FileThread(recorder, order.fd, page, order.file_cpus))
        burst = thread.watch(burst, lambda: bool(page[Word.COMMAND]))
    step = Step(burst, None, recorder.burst)
    stack.callback(lambda: loaded)  # the program must outlive the loop
    return [step]
