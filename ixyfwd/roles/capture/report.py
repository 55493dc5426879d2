"""The account of a run that captured."""

import errno
import os

from ixyfwd.roles.capture.order import Order
from ixyfwd.roles.report import single_fields, words_of
from ixyfwd.telemetry.counters import Word
from ixyfwd.telemetry.snapshot import CaptureReport, Report


def report_of(order: Order, run: Report) -> CaptureReport:
    """received = written + filtered + sum(drops) + in_flight."""
    words = words_of(run)
    drops = {
        **{cause: run.drops[cause] for cause in ("rx_no_descriptor", "rx_missed", "rx_error")},
        "file": words[Word.FILE_BUSY] + words[Word.FILE_FAILED],
        "after_count": words[Word.SURPLUS],
    }
    counted = words[Word.WRITTEN] + words[Word.FILTERED] + sum(drops.values())
    died = run.drops["worker_died"]  # a dead worker's page has lost what lay in its blocks
    if any(worker.state == "dead" for worker in run.workers) and run.in_flight is not None:
        died = run.rx_packets - counted - run.in_flight
    fields = single_fields(run)
    if words[Word.ERRNO] == errno.EPIPE:
        fields["reason"] = "the reader has gone"
    elif words[Word.ERRNO]:
        text = f"{order.name} cannot be written any more ({os.strerror(words[Word.ERRNO])}); the file so far is whole"
        fields |= {"reason": "failure", "error": text, "exit_code": 1}
    return CaptureReport(
        **fields,
        command="capture",
        received=run.rx_packets,
        written=words[Word.WRITTEN],
        filtered=words[Word.FILTERED],
        drops={**drops, "worker_died": died},
        refused=sum(port.rx_errors for port in run.ports),
        refused_too_long=sum(port.rx_too_long for port in run.ports),
        drops_in_pauses=run.drops_in_pauses,
        rate_mpps=run.rate_rx_mpps,
    )
