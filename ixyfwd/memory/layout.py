"""The arena's layout: computed once by `compute_layout`, passed to every process.

The arena is a whole number of 2 MiB pages. Each worker has a run of pages of its own; nothing is shared between
workers, not even a page. A run holds, in this order: the counters page; for each port the two descriptor rings, the
buffer id of every slot and the ring state; the free stack; the buffers. All offsets count from the arena's start.

A buffer never crosses a 2 MiB page, because without an IOMMU the pages are not contiguous for the device. Buffers lie
33 cache lines apart: an even 32 would map every frame's first line to the same few sets of the caches. The odd line
is headroom in front of the frame, for programs that push a tag.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ixyfwd.telemetry.counters import PAGE_BYTES as COUNTERS_BYTES

ARENA_PAGE_BYTES = 2 * 1024 * 1024
CACHE_LINE_BYTES = 64
RING_ALIGN_BYTES = 128  # 82599 datasheet 8.2.3.8.1: RDBAL bits 6:0 read as zero
BUFFER_DATA_BYTES = 2048  # SRRCTL.BSIZEPACKET = 2 (KiB)
BUFFER_HEADROOM_BYTES = 64
BUFFER_STRIDE_BYTES = BUFFER_HEADROOM_BYTES + BUFFER_DATA_BYTES
RING_STATE_BYTES = 64
POOL_STATE_BYTES = 64
CRC_BYTES = 4
TAG_BYTES = 4
SMALLEST_FRAME_PS = 67_200  # 64 bytes, preamble and gap (84 bytes) at 10 Gb/s


@dataclass(frozen=True)
class RingFormat:
    """The memory that a ring takes: `entry_bytes` for each entry and `extra_bytes`, aligned to `align_bytes`."""

    entry_bytes: int = 16
    extra_bytes: int = 0
    align_bytes: int = RING_ALIGN_BYTES

    def bytes_for(self, entries: int) -> int:
        """The memory of a ring of `entries` entries, in bytes."""
        return self.entry_bytes * entries + self.extra_bytes


@dataclass(frozen=True)
class RingLayout:
    """One descriptor ring of `entries` slots; `descriptors`, `ids` and `state` are offsets in bytes.

    `ids`: uint32[entries], the buffer id in each slot. `state`: uint32[16]; word 0 =
    next, 1 = tail, 2 = clean, 3 = spanning.

    rx: `next` is the descriptor to be read next, `tail` the last RDT written; `clean`
    is unused; word 3 is 1 in the middle of a frame that spans several descriptors and
    is being dropped. tx: `tail` is the last TDT written (= the next slot to fill),
    `clean` the oldest slot whose buffer is not yet back in the pool; `next` is unused.
    """

    descriptors: int
    ids: int
    state: int
    entries: int

    @property
    def lasts_ns(self) -> int:
        """The time, in ns, in which the smallest frames at line rate fill the empty ring."""
        return self.entries * SMALLEST_FRAME_PS // 1000


@dataclass(frozen=True)
class WorkerLayout:
    """A worker's run of pages: `size` bytes from the offset `base` on. Other offsets are in bytes, too.

    `rx[p]`, `tx[p]`: its rings at port p; the queue number is the worker's index.
    `counters`: uint64[1024], the counters page. `pool`: uint32[16], of which word 0 is
    the number of free ids, then uint32[buffers], the free stack. `buffers_base`: of the
    first of its `buffers` buffers.
    """

    index: int
    base: int
    size: int
    counters: int
    rx: tuple[RingLayout, ...]
    tx: tuple[RingLayout, ...]
    pool: int
    buffers_base: int
    buffers: int

    @property
    def rings_last_ns(self) -> int:
        """The time, in ns, that the worker may be away before its smallest receive ring overflows, at the worst."""
        return min(ring.lasts_ns for ring in self.rx)

    def buffer_offsets(self) -> list[int]:
        """The offset, in bytes, of the *frame* (behind the headroom) of each buffer; the index is the buffer's id."""
        offsets: list[int] = []
        at = self.buffers_base
        for _ in range(self.buffers):
            if at // ARENA_PAGE_BYTES != (at + BUFFER_STRIDE_BYTES - 1) // ARENA_PAGE_BYTES:
                at = _align(at, ARENA_PAGE_BYTES)
            offsets.append(at + BUFFER_HEADROOM_BYTES)
            at += BUFFER_STRIDE_BYTES
        return offsets


@dataclass(frozen=True)
class ArenaLayout:
    """The layout of all workers' memory; `size` is in bytes, a multiple of ARENA_PAGE_BYTES."""

    size: int
    ports: int
    workers: tuple[WorkerLayout, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data for `from_json` in another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ArenaLayout":
        """The inverse of `as_json` (which JSON may have passed: tuples come back as lists)."""
        return cls(data["size"], data["ports"], tuple(worker_from_json(w) for w in data["workers"]))


def _rings_from_json(rings: Sequence[Mapping[str, int]]) -> tuple[RingLayout, ...]:
    return tuple(RingLayout(**r) for r in rings)


def worker_from_json(data: Mapping[str, Any]) -> WorkerLayout:
    """A worker's layout from the plain data of `as_json`."""
    return WorkerLayout(**{**data, "rx": _rings_from_json(data["rx"]), "tx": _rings_from_json(data["tx"])})


def frame_buffers(max_frame_bytes: int) -> int:
    """Buffers that the longest frame fills.

    `max_frame_bytes` counts the CRC, which the port strips, and not the VLAN tags, of
    which a frame may have two (82599 datasheet 8.2.3.22.13: MAXFRS does not count
    them).
    """
    return -(-(max_frame_bytes - CRC_BYTES + 2 * TAG_BYTES) // BUFFER_DATA_BYTES)


def _align(value: int, to: int) -> int:
    return -(-value // to) * to


def minimum_buffers(ports: int, ring_size: int, batch: int) -> int:
    """Buffers with which no ring can starve: one for each slot of each ring, and a batch in hand per port.

    `ring_size`: descriptors per ring. `batch`: frames per burst.
    """
    return ports * (2 * ring_size + batch)


def compute_layout(
    *, ports: int, workers: int, ring_size: int, buffers_per_worker: int, ring_format: RingFormat = RingFormat()
) -> ArenaLayout:
    """Lay out the arena: `ring_size` descriptors per ring, at least `buffers_per_worker` buffers per worker.

    `ring_format`: a format that fits every port. The rest of a worker's last page is
    filled with buffers too.
    """
    runs: list[WorkerLayout] = []
    base = 0
    for index in range(workers):
        run = _layout_worker(index, base, ports, ring_size, buffers_per_worker, ring_format)
        runs.append(run)
        base += run.size
    return ArenaLayout(base, ports, tuple(runs))


def _layout_worker(  # noqa: PLR0917
    index: int, base: int, ports: int, ring_size: int, buffers: int, ring_format: RingFormat
) -> WorkerLayout:
    at = base

    def take(size: int, align: int = CACHE_LINE_BYTES) -> int:
        nonlocal at
        start = _align(at, align)
        at = start + size
        return start

    def ring() -> RingLayout:
        return RingLayout(
            take(ring_format.bytes_for(ring_size), ring_format.align_bytes),
            take(4 * ring_size),
            take(RING_STATE_BYTES),
            ring_size,
        )

    counters = take(COUNTERS_BYTES)
    rx = tuple(ring() for _ in range(ports))
    tx = tuple(ring() for _ in range(ports))
    # The free stack is sized for all the buffers that the last page can hold, hence the small fixed point.
    count, size = buffers, 0
    while True:
        buffers_base = _align(_align(at, CACHE_LINE_BYTES) + POOL_STATE_BYTES + 4 * count, CACHE_LINE_BYTES)
        size = _align(_last_buffer_end(buffers_base, count) - base, ARENA_PAGE_BYTES)
        more = (base + size - _last_buffer_end(buffers_base, count)) // (BUFFER_STRIDE_BYTES + 8)
        if more <= 0:
            break
        count += more
    pool = take(POOL_STATE_BYTES + 4 * count)
    return WorkerLayout(index, base, size, counters, rx, tx, pool, buffers_base, count)


def _last_buffer_end(buffers_base: int, count: int) -> int:
    first_page = min(count, (_align(buffers_base + 1, ARENA_PAGE_BYTES) - buffers_base) // BUFFER_STRIDE_BYTES)
    if first_page == count:
        return buffers_base + count * BUFFER_STRIDE_BYTES
    per_page = ARENA_PAGE_BYTES // BUFFER_STRIDE_BYTES
    full, rest = divmod(count - first_page, per_page)
    start = _align(buffers_base + 1, ARENA_PAGE_BYTES)
    if rest == 0:
        return start + (full - 1) * ARENA_PAGE_BYTES + per_page * BUFFER_STRIDE_BYTES
    return start + full * ARENA_PAGE_BYTES + rest * BUFFER_STRIDE_BYTES
