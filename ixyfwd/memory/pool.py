"""The reset of a worker's run of the arena: every buffer in the free stack, every ring empty."""

import struct
from array import array

from ixyfwd.memory.layout import POOL_STATE_BYTES, RING_STATE_BYTES, RingLayout, WorkerLayout

NO_BUFFER = 0xFFFFFFFF  # the id in a slot without a buffer


def reset_worker(arena: memoryview, layout: WorkerLayout) -> None:
    """Fill the free stack with ids 0..buffers-1, zero the ring state, mark every slot empty.

    `arena`: uint8[size], the whole arena, writable. Descriptors, counters and buffers
    are left alone.
    """
    for ring in (*layout.rx, *layout.tx):
        empty_ring(arena, ring)
    ids = array("I", range(layout.buffers)).tobytes()
    stack = layout.pool + POOL_STATE_BYTES
    arena[layout.pool : stack] = struct.pack("I", layout.buffers).ljust(POOL_STATE_BYTES, b"\0")
    arena[stack : stack + len(ids)] = ids


def empty_ring(arena: memoryview, ring: RingLayout) -> None:
    """Zero the state of a ring and mark every slot empty. `arena`: uint8[size], the whole arena, writable."""
    arena[ring.state : ring.state + RING_STATE_BYTES] = bytes(RING_STATE_BYTES)
    arena[ring.ids : ring.ids + 4 * ring.entries] = struct.pack("I", NO_BUFFER) * ring.entries
