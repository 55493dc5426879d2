"""The data path's fault records as Python values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAULTS_KEPT = 64
FAULT_KINDS = (  # enum fault_kind of base.h
    "dma_unmapped",
    "dma_no_bus_master",
    "tail_out_of_range",
    "descriptor_rewritten",
    "buffer_reused",
    "bad_descriptor",
    "ring_invalid",
    "unsupported_offload",
    "dma_lost",
)


@dataclass(frozen=True)
class Fault:
    """One misuse by the driver. `direction` is "rx" or "tx"; `index` is the descriptor (or the tail).

    Kind `dma_lost`: the file behind the mapping that starts at `address` shrank; `index` is the page that was missed.
    """

    kind: str
    direction: str
    queue: int
    index: int
    address: int
    time_ns: int  # CLOCK_MONOTONIC


@dataclass(frozen=True)
class FaultReport:
    """All faults since the port was made; `recent` holds the last 64, oldest first."""

    total: int
    by_kind: Mapping[str, int]
    recent: tuple[Fault, ...]


def read_report(records: Any) -> FaultReport:
    """A copy of the C side's `struct dp_faults`."""
    total = int(records.total)
    numbers = range(max(0, total - FAULTS_KEPT), total)
    recent = tuple(_fault(records.recent[number % FAULTS_KEPT]) for number in numbers)
    return FaultReport(total, {kind: int(records.by_kind[i]) for i, kind in enumerate(FAULT_KINDS)}, recent)


def _fault(record: Any) -> Fault:
    direction = "tx" if record.tx else "rx"
    return Fault(
        FAULT_KINDS[record.kind],
        direction,
        int(record.queue),
        int(record.index),
        int(record.address),
        int(record.time_ns),
    )
