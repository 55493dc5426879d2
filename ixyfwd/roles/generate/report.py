"""The account of a run that generated."""

from ixyfwd.roles.generate.order import Order
from ixyfwd.roles.report import single_fields, words_of
from ixyfwd.telemetry.counters import Word
from ixyfwd.telemetry.plain import from_plain
from ixyfwd.telemetry.snapshot import FarEndRow, GenerateReport, Report


def report_of(order: Order, run: Report) -> GenerateReport:
    """asked = sent + sum(drops) + in_flight."""
    words = words_of(run)
    return GenerateReport(
        **single_fields(run),
        command="generate",
        asked=words[Word.ASKED],
        sent=run.tx_packets,
        drops={"tx_full": run.drops["tx_full"]},
        shortfall=words[Word.SHORTFALL],
        rate_mpps=run.rate_mpps,
        sink=_sink(order, run),
    )


def _sink(order: Order, run: Report) -> FarEndRow | None:
    """What the far end's sink saw, if there is one that knows the frames."""
    sinks = [port.wire["sink"] for port in run.ports if port.wire and port.wire.get("sink")]
    if not sinks or not order.like_the_model:
        return None
    return from_plain(FarEndRow, {**sinks[0], "lost": run.tx_packets - sinks[0]["received"]})
