"""What the drops of a status come from, in words: a busy machine or a forwarder that is too slow."""

import textwrap
from collections.abc import Sequence
from typing import Final

from ixyfwd.telemetry.counters import Word
from ixyfwd.telemetry.snapshot import Snapshot, WorkerRow

LabelledText = tuple[str, str]
ALWAYS_BUSY: Final = 0.95  # of the time; the rest are the moments before the first frame and after the last
HINT: Final = "`ixyfwd doctor --measure` shows who takes the CPU"
MOST: Final = 0.5  # of the drops


def loss_rows(status: Snapshot, width: int) -> list[LabelledText]:
    """Rows that explain drops, for the place under their causes: a label and a text of up to `width` characters.

    There are none where no frame was dropped, or no explanation is known.
    """
    rows: list[LabelledText] = []
    in_pauses = status.drops_in_pauses or 0
    if in_pauses:
        rows += _wrapped("  in pauses", _pauses_text(status, in_pauses), width)
        rows.append(("", HINT))
    late = status.drops.get("rx_no_descriptor", 0)
    always = [worker for worker in status.workers if (worker.busy_share or 0) >= ALWAYS_BUSY]
    if late and late - in_pauses > MOST * late and always:
        rows += _wrapped("  too slow", _busy_text(always), width)
    return rows


def _pauses_text(status: Snapshot, in_pauses: int) -> str:
    pauses = sum(worker.pauses[Word.PAUSES] for worker in status.workers if worker.pauses)
    longest_us = max((worker.longest_pause_us or 0 for worker in status.workers), default=0)
    waited = max((worker.run_delay_share or 0 for worker in status.workers), default=0)
    behind = f"; behind other processes {100 * waited:.1f} % of the time" if waited >= 0.0005 else ""
    many = "1 pause of" if pauses == 1 else f"{pauses:,} pauses, the longest"
    return (
        f"about {rounded(in_pauses):,} while a worker's CPU was away for longer than its ring lasts: {many} "
        f"{time_text(longest_us)}{behind}"
    )


def rounded(number: int) -> int:
    """A figure to three digits, as text: it is an estimate."""
    return round(number, min(0, 3 - len(str(number))))


def time_text(us: float) -> str:
    """ "84 us", "3.1 ms", "1.2 s"."""
    if us < 1000:
        return f"{us:.0f} us"
    return f"{us / 1e3:.1f} ms" if us < 1e6 else f"{us / 1e6:.1f} s"


def _busy_text(always: Sequence[WorkerRow]) -> str:
    least = 100 * min(worker.busy_share or 0 for worker in always)
    names = ", ".join(str(worker.index) for worker in always)
    who = f"worker {names} was" if len(always) == 1 else f"workers {names} were"
    return f"{who} busy {least:.0f} % of the time{'' if len(always) == 1 else ' or more'}"


def _wrapped(label: str, text: str, width: int) -> list[LabelledText]:
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    return [(label if i == 0 else "", line) for i, line in enumerate(lines)]
