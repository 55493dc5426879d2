"""A worker that captures: a recorder in the place of the tx burst."""

from ixyfwd.engine.traffic import ENDLESS, Recording, traffic_engine
from ixyfwd.roles.capture.bpf import load_filter
from ixyfwd.roles.capture.order import Order
from ixyfwd.roles.capture.recording import FileThread
from ixyfwd.roles.work import Burst, Step, Work, Workplace
from ixyfwd.telemetry.counters import Word


def begin(order: Order, workplace: Workplace) -> Work:
    """The capturing loop, whose frames come from port 0. See `roles.work.begin`.

    Raises UsageError for an engine that has no recorder.
    """
    engine, page, stack = workplace.engine, workplace.page, workplace.stack
    cells = engine.new_batch(workplace.batch)
    loaded = load_filter(order.program) if order.program else None
    recording = Recording(
        recording=order.fd is not None,
        pcapng=order.pcapng,
        snaplen=order.snaplen,
        count=ENDLESS if order.count is None else order.count,
        filter_address=loaded.function if loaded else 0,
        program_address=loaded.program if loaded else 0,
    )
    recorder = traffic_engine(engine).bind_recorder(cells, recording)
    burst: Burst = engine.rx(0).bind(cells)
    if order.fd is not None:
        thread = stack.enter_context(FileThread(recorder, order.fd, page, order.file_cpus))
        burst = thread.watch(burst, lambda: bool(page[Word.COMMAND]))
    step = Step(burst, None, recorder.burst)
    stack.callback(lambda: loaded)  # the program must outlive the loop
    return [step]
