"""The arena's layout: nothing overlaps, nothing is shared, no buffer crosses a page."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.memory.layout import (
    ARENA_PAGE_BYTES,
    BUFFER_DATA_BYTES,
    BUFFER_HEADROOM_BYTES,
    CACHE_LINE_BYTES,
    POOL_STATE_BYTES,
    RING_ALIGN_BYTES,
    RING_STATE_BYTES,
    ArenaLayout,
    WorkerLayout,
    compute_layout,
    minimum_buffers,
)
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES
from ixyfwd.telemetry.counters import MAX_PORTS, PAGE_BYTES

RINGS = st.sampled_from([64, 128, 256, 512, 1024, 2048, 4096])


@st.composite
def layouts(draw: st.DrawFn) -> tuple[ArenaLayout, int, int]:
    ports, ring = draw(st.integers(1, MAX_PORTS)), draw(RINGS)
    buffers = draw(st.integers(1, 20_000))
    return (
        compute_layout(ports=ports, workers=draw(st.integers(1, 16)), ring_size=ring, buffers_per_worker=buffers),
        ring,
        buffers,
    )


def runs(worker: WorkerLayout) -> list[tuple[int, int]]:
    """(start, size) of everything in a worker's pages but the buffers."""
    found = [(worker.counters, PAGE_BYTES), (worker.pool, POOL_STATE_BYTES + 4 * worker.buffers)]
    for ring in (*worker.rx, *worker.tx):
        found += [
            (ring.descriptors, DESCRIPTOR_BYTES * ring.entries),
            (ring.ids, 4 * ring.entries),
            (ring.state, RING_STATE_BYTES),
        ]
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_nothing_overlaps(made: tuple[ArenaLayout, int, int]) -> None:
    layout, ring_size, buffers = made
    end_of_last = 0
    for worker in layout.workers:
        assert worker.base == end_of_last  # whole pages of its own
        end_of_last = worker.base + worker.size
        assert worker.size % ARENA_PAGE_BYTES == 0
        assert worker.buffers >= buffers
        at = worker.base
        for start, size in runs(worker):
            assert start >= at
            at = start + size
        assert at <= worker.buffers_base
        for ring in (*worker.rx, *worker.tx):
            assert ring.entries == ring_size
            assert ring.descriptors % RING_ALIGN_BYTES == 0
            assert ring.state % CACHE_LINE_BYTES == 0
    assert end_of_last == layout.size


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_buffers_are_whole_and_in_one_page(made: tuple[ArenaLayout, int, int]) -> None:
    for worker in made[0].workers[:2]:
        before = worker.buffers_base
        for frame in worker.buffer_offsets():
            start, end = frame - BUFFER_HEADROOM_BYTES, frame + BUFFER_DATA_BYTES
            assert start >= before
            assert frame % CACHE_LINE_BYTES == 0
            assert start // ARENA_PAGE_BYTES == (end - 1) // ARENA_PAGE_BYTES
            before = end
        assert before <= worker.base + worker.size


@settings(max_examples=30, deadline=None)
@given(layouts())
def test_survives_json(made: tuple[ArenaLayout, int, int]) -> None:
    assert ArenaLayout.from_json(json.loads(json.dumps(made[0].as_json()))) == made[0]


@given(st.integers(1, MAX_PORTS), RINGS, st.integers(1, 2048))
def test_the_minimum_fills_every_ring(ports: int, ring: int, batch: int) -> None:
    assert minimum_buffers(ports, ring, batch) >= 2 * ports * ring


def test_frames_spread_over_the_cache_sets() -> None:
    """With a stride of 2048 the first lines of all frames would fall into 1/32 of the sets of a 64-set cache."""
    (worker,) = compute_layout(ports=2, workers=1, ring_size=512, buffers_per_worker=512).workers
    sets = [offset // CACHE_LINE_BYTES % 64 for offset in worker.buffer_offsets()[:512]]
    assert len(set(sets)) == 64
    assert max(sets.count(s) for s in set(sets)) <= 10


@settings(max_examples=20, deadline=None)
@given(layouts())
def test_rings_last_as_long_as_line_rate_takes_to_fill_them(drawn: tuple[ArenaLayout, int, int]) -> None:
    layout, ring, _ = drawn
    frames_per_s = 14_880_952  # 64 bytes at 10 Gb/s
    for worker in layout.workers:
        assert abs(worker.rings_last_ns - 1e9 * ring / frames_per_s) < 1 + ring * 1e-3
