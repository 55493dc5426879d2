"""numpy views that the vector engine makes once, and a search that reads few of a ring's descriptors.

A numpy call on 64 elements costs 100 to 1000 ns, mostly for the call itself. So the
engine makes few calls, of cheap kinds: copies between ready-made views (50 ns between
memoryviews, 100 between arrays), no Python scalars as operands (converting one costs as
much as the call), int64 indices for `take` (any other type is converted first), no
reductions, memoryviews for single words.

Descriptors on their way out of a ring or into it pass through a stage: memory of this
process, as long as the batch. Each burst then reads every descriptor once and writes it
once, in the widest steps of the machine, which matters because the device has their
cache lines; and all other views depend on the number of frames only, not on the slot.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ixyfwd.engine.batch import Batch
from ixyfwd.memory.layout import POOL_STATE_BYTES, WorkerLayout

Dwords = NDArray[np.uint32]
Index = NDArray[np.int64]
Addresses = NDArray[np.void]  # of ADDRESS
Run = tuple[int, int, int]  # first slot, how many, first entry of the batch

ADDRESS_BYTES: Final = 16  # a device address and eight bytes of 0: a descriptor, for a device with short ones
ADDRESS = np.dtype(f"V{ADDRESS_BYTES}")  # opaque: `take` moves both halves at once
MAX_STAGES: Final = 256  # kept per queue and batch; each is about 2 KiB of views
MAX_SLOTS: Final = 128  # runs of slots kept per queue and batch; each is 0.5 to 2.5 KiB of views
LENGTH_SHIFT: Final = 12  # runs of slots are kept under first slot | length << 12: rings have at most 4096


class Closable:
    """An object that holds views of the arena in its attributes."""

    def close(self) -> None:
        """Release the views; the object cannot be used afterwards."""
        self.__dict__.clear()


class PoolViews(Closable):
    """The free stack: `state[0]` ids, of which the last is taken next. See `engine.pool.Pool`.

    `state`: uint32[1]. `ids`, `stack`: uint32[buffers], the same memory. `addresses`:
    V16[buffers], the ADDRESS of each id. `fresh`: uint8[16 buffers], the ADDRESS of
    each id on the stack: an address that was looked up for transmission comes back
    through here and need not be looked up again for receiving.
    """

    def __init__(self, arena: memoryview, layout: WorkerLayout, addresses: Addresses) -> None:
        """View the stack, as `reset_worker` left it.

        `arena`: uint8[size], the whole arena. `addresses`: V16[buffers], by buffer id.
        """
        first = layout.pool + POOL_STATE_BYTES
        self.state = arena[layout.pool : layout.pool + 4].cast("I")
        self.ids = arena[first : first + 4 * layout.buffers].cast("I")
        self.stack: Dwords = np.frombuffer(self.ids, np.uint32)  # the same
        self.addresses = addresses
        self.fresh = addresses[self.stack].view(np.uint8).data
        self.others: list[PoolViews] = []  # of the same stack, with other device addresses

    def push_known(self, ids: memoryview, addresses: memoryview) -> None:
        """Free buffers. `ids`: uint32[n]. `addresses`: uint8[16 n], the ADDRESS of each of these ids."""
        free = self.state[0]
        end = free + len(ids)
        self.ids[free:end] = ids
        self.fresh[ADDRESS_BYTES * free : ADDRESS_BYTES * end] = addresses
        self.state[0] = end

    def push_all(self, ids: Dwords) -> None:
        """Free buffers whose addresses are looked up here. `ids`: uint32[n]."""
        self.push_known(ids.data, self.addresses[ids].view(np.uint8).data)

    def __len__(self) -> int:
        return self.state[0]

    def pop(self) -> int | None:
        """See `engine.pool.Pool`."""
        free = self.state[0]
        if not free:
            return None
        self.state[0] = free - 1
        return self.ids[free - 1]

    def push(self, buffer: int) -> None:
        """See `engine.pool.Pool`."""
        self.push_all(np.array([buffer], np.uint32))


class MappedPoolViews(PoolViews):
    """The free stack of ports with different device addresses: views for one set of addresses."""

    def push_known(self, ids: memoryview, addresses: memoryview) -> None:
        """Free buffers, as `PoolViews` does, and update `fresh` of the other sets of addresses.

        `ids`: uint32[n]. `addresses`: uint8[16 n], of this set.
        """
        first = ADDRESS_BYTES * self.state[0]
        end = first + ADDRESS_BYTES * len(ids)
        for other in self.others:
            other.fresh[first:end] = other.addresses[np.frombuffer(ids, np.uint32)].view(np.uint8).data
        super().push_known(ids, addresses)


class BatchViews:
    """The numpy views of a batch.

    `cells`: uint32[5, capacity], the columns ids, lengths, hashes, status, verdicts.
    `words`: uint32[16 + 5 capacity]; word 0 is the count. `index`: int64[capacity],
    scratch.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.words = batch.memory.cast("I")
        cells = np.frombuffer(batch.memory, np.uint32)
        self.cells: Dwords = cells[cells.size - 5 * batch.capacity :].reshape(5, batch.capacity)
        self.index: Index = np.empty(batch.capacity, np.int64)  # scratch
        self._ones = constant(1, batch.capacity)
        self._lengths = b""
        self._total = 0

    def total(self, lengths: bytes) -> int:
        """The sum, in bytes, of the first lengths of the batch; `lengths` are these cells as bytes.

        The last sum is kept: a burst that is sent has mostly just been received, and
        numpy's cheapest sum costs more than any other step.
        """
        if lengths != self._lengths:
            n = len(lengths) // 4
            self._total = int(self.cells[1, :n].dot(self._ones[:n]))
            self._lengths = lengths
        return self._total


def count_leading(is_done: Callable[[int], int], limit: int) -> int:
    """The number of items 0..limit-1 that are done, given that they become done in order.

    It calls `is_done` about log2(limit) times.
    """
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


def constant(value: int, n: int) -> Dwords:
    """An array, uint32[n], of `value`: an operand that numpy need not convert."""
    return np.full(n, value, np.uint32)


def split(slot: int, n: int, entries: int) -> tuple[Run, ...]:
    """The runs of `n` slots from `slot` on, none of which crosses the end of a ring of `entries` slots."""
    to_end = entries - slot
    if n <= to_end:
        return ((slot, n, 0),)
    return ((slot, to_end, 0), (0, n - to_end, to_end))
