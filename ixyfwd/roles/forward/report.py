"""The account of a run that forwarded."""

from ixyfwd.roles.forward.order import Order
from ixyfwd.telemetry.snapshot import Report


def report_of(order: Order, run: Report) -> Report:
    """The account of a forwarding run: the run's own report."""
    return run
