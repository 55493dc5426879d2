"""numpy views that the vector engine makes once, and the search that spares it looking at every descriptor.

A numpy call costs 150 to 1000 ns whatever it does to 64 elements, so the engine is an exercise in few calls of the
cheap kind: plain copies between ready-made views, no Python scalars as operands (converting one costs as much as the
call), int64 indices for `take` (any other type is converted behind the scenes), memoryviews for single words.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ixyfwd.engine.batch import Batch
from ixyfwd.memory.layout import DESCRIPTOR_BYTES, POOL_STATE_BYTES, RingLayout, WorkerLayout
from ixyfwd.telemetry.counters import PORT_BLOCK_WORDS, PortWord, port_word

Words = NDArray[np.uint32]
Index = NDArray[np.int64]
Descriptors = NDArray[np.void]
Run = tuple[int, int, int]  # first slot, how many, first entry of the batch

DESCRIPTOR = np.dtype(f"V{DESCRIPTOR_BYTES}")  # opaque: `take` moves both halves at once
MAX_PIECES: Final = 1024  # kept per queue and batch; each is about 2 KiB of views


class Closable:
    """Something that holds views of the arena in its attributes."""

    def close(self) -> None:
        """Drop them; it cannot be used afterwards."""
        self.__dict__.clear()


class RingViews(Closable):
    """One descriptor ring of `entries` slots, by field; each array has one element per slot."""

    def __init__(self, arena: memoryview, ring: RingLayout) -> None:
        """`arena` is the whole arena as bytes."""
        raw = arena[ring.descriptors : ring.descriptors + DESCRIPTOR_BYTES * ring.entries]
        words: Words = np.frombuffer(raw, np.uint32).reshape(-1, 4)
        self.entries = ring.entries
        self.dwords = raw.cast("I")  # dword k of slot i is [4 * i + k]
        self.hash_and_status: Words = words[:, 1:3].T  # one row each
        self.d2: Words = words[:, 2]
        self.d3: Words = words[:, 3]
        self.lengths: NDArray[np.uint16] = np.frombuffer(raw, np.uint16).reshape(-1, 8)[:, 6]
        self.descriptors: Descriptors = np.frombuffer(raw, DESCRIPTOR)
        self.ids: Words = np.frombuffer(arena[ring.ids : ring.ids + 4 * ring.entries], np.uint32)
        self.state = arena[ring.state : ring.state + 16].cast("I")


class PoolViews(Closable):
    """The free stack: `state[0]` ids, of which `stack[state[0] - 1]` is the next to go."""

    def __init__(self, arena: memoryview, layout: WorkerLayout) -> None:
        """`arena` is the whole arena as bytes."""
        first = layout.pool + POOL_STATE_BYTES
        self.state = arena[layout.pool : layout.pool + 4].cast("I")
        self.stack: Words = np.frombuffer(arena[first : first + 4 * layout.buffers], np.uint32)

    def push(self, ids: Words) -> None:
        """Free buffers."""
        free = self.state[0]
        self.stack[free : free + ids.size] = ids
        self.state[0] = free + ids.size


class BatchViews:
    """A batch as a 4 x capacity array (ids, lengths, hashes, status) and its count as `words[0]`."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.words = batch.memory.cast("I")
        cells = np.frombuffer(batch.memory, np.uint32)
        self.cells: Words = cells[cells.size - 4 * batch.capacity :].reshape(4, batch.capacity)
        self.index: Index = np.empty(batch.capacity, np.int64)  # scratch
        self.ones = constant(1, batch.capacity)


def port_counters(arena: memoryview, layout: WorkerLayout, port: int) -> memoryview:
    """The port's block of the counters page, as 'Q'."""
    first = layout.counters + 8 * port_word(port, PortWord.RX_PACKETS)
    return arena[first : first + 8 * PORT_BLOCK_WORDS].cast("Q")


def count_leading(is_done: Callable[[int], int], limit: int) -> int:
    """How many of items 0..limit-1 are done, given that they become done in order. About log2(limit) looks."""
    if limit == 0 or not is_done(0):
        return 0
    if is_done(limit - 1):
        return limit
    low, high = 1, limit - 1
    while low < high:
        middle = (low + high + 1) // 2
        if is_done(middle - 1):
            low = middle
        else:
            high = middle - 1
    return low


def constant(value: int, n: int) -> Words:
    """`value`, n times: an operand that numpy need not convert."""
    return np.full(n, value, np.uint32)


def split(slot: int, n: int, entries: int) -> tuple[Run, ...]:
    """A run of `n` slots from `slot` on as runs that do not go around the end of the ring."""
    to_end = entries - slot
    if n <= to_end:
        return ((slot, n, 0),)
    return ((slot, to_end, 0), (0, n - to_end, to_end))
