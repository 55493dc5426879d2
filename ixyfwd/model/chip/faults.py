"""What a driver did wrong, from both halves of the model in one report."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from ixyfwd.model.datapath.fault_records import FaultReport

KEPT = 64
REGISTER_MISUSE = "register_misuse"


class FaultEntry(TypedDict):
    """One fault. `queue` is the register's index and `address` its BAR0 offset for kind `register_misuse`."""

    kind: str
    direction: str
    queue: int
    index: int
    address: int
    time_ns: int
    detail: str


class Faults(TypedDict):
    """All faults of a port; `recent` holds the last 64, oldest first."""

    total: int
    by_kind: dict[str, int]
    recent: list[FaultEntry]


@dataclass
class MisuseLog:
    """Registers that were written where the datasheet forbids it."""

    total: int = 0
    recent: deque[FaultEntry] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, name: str, index: int, offset: int, text: str) -> None:
        """Record a misuse of register `name`, number `index`, at BAR0 byte `offset`; `text` says what was wrong."""
        self.total += 1
        self.recent.append(
            {
                "kind": REGISTER_MISUSE,
                "direction": "",
                "queue": index,
                "index": -1,
                "address": offset,
                "time_ns": time.monotonic_ns(),
                "detail": f"{name}({index}): {text}",
            }
        )


def merge(report: "FaultReport", log: MisuseLog) -> Faults:
    """The faults of both sources, in order of time; kinds that never happened are left out."""
    found: list[FaultEntry] = [
        {
            "kind": fault.kind,
            "direction": fault.direction,
            "queue": fault.queue,
            "index": fault.index,
            "address": fault.address,
            "time_ns": fault.time_ns,
            "detail": "",
        }
        for fault in report.recent
    ]
    found.extend(log.recent)
    found.sort(key=lambda entry: entry["time_ns"])
    by_kind = {kind: count for kind, count in report.by_kind.items() if count}
    if log.total:
        by_kind[REGISTER_MISUSE] = log.total
    return {"total": report.total + log.total, "by_kind": by_kind, "recent": found[-KEPT:]}
