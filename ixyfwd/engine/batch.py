"""A burst of frames as arrays, one entry per frame, or per buffer where the engine is segmented; the first `count`
entries are valid.

The arrays live in one block of process-local memory, so that C, numpy and plain Python see the same cells.
"""

import mmap
from typing import Final

_HEADER_BYTES: Final = 64  # word 0: count, word 1: capacity; keeps the arrays on their own cache lines


_COLUMNS: Final = 5

BATCH_EOP: Final = 1 << 1  # in status: this entry ends a frame (engine/batch.h)


class Batch:
    """`ids`, `lengths`, `hashes`, `status`, `verdicts` are uint32 memoryviews of `capacity` entries.

    ids: buffer id. lengths: bytes in the buffer, without CRC. hashes: RSS hash. status: what the family's rings say of
    the frame; BATCH_EOP is in it. verdicts: what programs say (`engine.verdict`), where there are some that decide.
    """

    __slots__ = ("_words", "capacity", "hashes", "ids", "lengths", "memory", "status", "verdicts")

    def __init__(self, capacity: int) -> None:
        """Raises ValueError for a capacity outside 1..4096."""
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
        """Frames in the batch."""
        return self._words[0]

    @count.setter
    def count(self, value: int) -> None:
        if not 0 <= value <= self.capacity:
            raise ValueError(f"a batch of {self.capacity} cannot hold {value} frames")
        self._words[0] = value
