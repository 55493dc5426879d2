"""A worker that generates: a source in the place of the rx burst."""

from ixyfwd.engine.traffic import ENDLESS, Frames, traffic_engine
from ixyfwd.roles.generate.order import Order
from ixyfwd.roles.work import Step, Work, Workplace


def begin(order: Order, workplace: Workplace) -> Work:
    """The generating loop, whose frames leave by port 0. See `roles.work.begin`.

    Raises UsageError for an engine that has no source.
    """
    engine = workplace.engine
    cells = engine.new_batch(workplace.batch)
    source = traffic_engine(engine).bind_source(0, cells, frames_of(order))
    return [Step(source, None, engine.tx(0).bind(cells))]


def frames_of(order: Order) -> Frames:
    """The frames of an order, as an engine takes them."""
    count = ENDLESS if order.count is None else order.count
    templates, schedule = bytes.fromhex(order.templates), bytes(order.schedule)
    return Frames(templates, order.flows, order.sizes, order.frame_ps, schedule, count)
