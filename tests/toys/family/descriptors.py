"""A ring in memory: `entries` descriptors, two index words in lines of their own, two index rings."""

from typing import Final

DESCRIPTOR_BYTES: Final = 32  # address (8), length (4), flags (4), all else 0
LINE_BYTES: Final = 64
AVAILABLE_BYTES: Final = 4  # a slot
USED_BYTES: Final = 8  # a slot, a length
ENTRY_BYTES: Final = DESCRIPTOR_BYTES + AVAILABLE_BYTES + USED_BYTES
EXTRA_BYTES: Final = 2 * LINE_BYTES
POISON: Final = 0xA5

LAST: Final = 1 << 0  # flags: the buffer is the last of a frame
BAD: Final = 1 << 31  # in a used length: the frame has an error


class Places:
    """Where the parts of a ring are, in words of four bytes from the ring's start."""

    def __init__(self, entries: int) -> None:
        self.available_index = DESCRIPTOR_BYTES * entries // 4
        self.used_index = self.available_index + LINE_BYTES // 4
        self.available = self.used_index + LINE_BYTES // 4
        self.used = self.available + entries


def distance(first: int, end: int) -> int:
    """From one value of an index to a later one."""
    return (end - first) & 0xFFFF_FFFF
