"""Which drops fell into pauses: what tells a forwarder that is too slow from a machine that is busy.

A worker counts the times in which it was away from its rings for longer than the smallest of them lasts at line rate
(worker/pauses.py). What arrives beyond that has no descriptor. The estimate takes the mean rate at which frames arrived
for the worker, and no more than were dropped of its queues. It is an upper bound where frames arrive evenly: a ring
that is filled more slowly than at line rate lasts longer than the worker allows for. Frames that come in bursts may
lose more in a pause, or nothing.
"""

from collections.abc import Sequence

from ixyfwd.supervisor.ports import Port
from ixyfwd.supervisor.workers import Worker
from ixyfwd.telemetry.counters import Word

NS_PER_S = 1e9


def drops_in_pauses(ports: Sequence[Port], workers: Sequence[Worker], seconds: float) -> int | None:
    """How many drops of the causes rx_no_descriptor and tx_full pauses of workers explain, in `seconds` of traffic.

    None where workers share CPUs and so count no pauses.
    """
    watching = [worker for worker in workers if worker.spec.watches_pauses]
    if not watching:
        return None
    return sum(_of_worker(worker, ports, seconds) for worker in watching)


def _of_worker(worker: Worker, ports: Sequence[Port], seconds: float) -> int:
    totals = worker.totals()
    no_descriptor = sum(port.driver.statistics.no_descriptor(worker.index) for port in ports)
    arrived_per_s = (totals.rx_packets + no_descriptor) / max(seconds, 1e-9)
    overrun_ns = worker.word(Word.PAUSED_NS) - worker.word(Word.PAUSES) * worker.spec.layout.rings_last_ns
    # The words are read one after the other while the worker writes them.
    return min(no_descriptor + totals.tx_full, round(arrived_per_s * max(0, overrun_ns) / NS_PER_S))


def pause_figures(worker: Worker, seconds: float) -> dict[str, float | None]:
    """The fields of `WorkerRow` on pauses; None is what is not counted.

    They are the longest pause since the worker's first frames, and the shares of `seconds` that pauses took and that it
    was busy (pauses between frames among it).
    """
    if not worker.spec.watches_pauses:
        return {"longest_pause_us": None, "paused_share": None, "busy_share": None}
    elapsed_ns = max(seconds, 1e-9) * NS_PER_S
    return {
        "longest_pause_us": round(worker.word(Word.LONGEST_PAUSE_NS) / 1000, 1),
        "paused_share": round(worker.word(Word.PAUSED_NS) / elapsed_ns, 6),
        "busy_share": round(min(1.0, worker.word(Word.BUSY_NS) / elapsed_ns), 4),
    }
