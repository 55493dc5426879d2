"""Batches: a burst of frames as arrays.

There is one entry per frame, or per buffer where the engine is segmented; the first
`count` entries are valid. The arrays live in one block of process-local memory, so that
C, numpy and plain Python see the same cells.
"""

import mmap
from typing import Final

_HEADER_BYTES: Final = 64  # word 0: count, word 1: capacity; keeps the arrays on their own cache lines


_COLUMNS: Final = 5

BATCH_EOP: Final = 1 << 1  # in status: this entry ends a frame (engine/batch.h)


class Batch:
    """A batch of up to `capacity` entries, in five columns.

    `ids`, `lengths`, `hashes`, `status`, `verdicts`: uint32[capacity] each. ids: buffer
    id. lengths: bytes in the buffer, without CRC. hashes: RSS hash. status: the bits
    that the family's rings give the frame, BATCH_EOP among them. verdicts: the words of
    programs that decide (`engine.verdict`). `memory`: uint8[64 + 20 capacity], all of
    it.
    """

    __slots__ = ("_words", "capacity", "hashes", "ids", "lengths", "memory", "status", "verdicts")

    def __init__(self, capacity: int) -> None:
        """Make an empty batch. Raises ValueError for a capacity outside 1..4096."""
        if not 1 <= capacity <= 4096:
            raise ValueError(f"a batch holds 1 to 4096 frames, not {capacity}")
        self.capacity = capacity
        self.memory = memoryview(mmap.mmap(-1, _HEADER_BYTES + 4 * _COLUMNS * capacity))
        self._words = self.memory.cast("I")
        self._words[1] = capacity
        first = _HEADER_BYTES // 4
        self.ids, self.lengths, self.hashes, self.status, self.verdicts = (
            self._words[first + k * capacity : first + (k + 1) * capacity] for k in range(_COLUMNS)
        )

    @property
    def count(self) -> int:
        """The number of entries in the batch. Setting it raises ValueError outside 0..capacity."""
        return self._words[0]

    @count.setter
    def count(self, value: int) -> None:
        if not 0 <= value <= self.capacity:
            raise ValueError(f"a batch of {self.capacity} cannot hold {value} frames")
        self._words[0] = value
