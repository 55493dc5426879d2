"""A descriptor ring by field, in numpy."""

import numpy as np
from numpy.typing import NDArray

from ixyfwd.engine.vector_views import ADDRESS, Addresses, Closable, Dwords
from ixyfwd.memory.layout import RingLayout
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES

Slots = tuple[memoryview, memoryview]  # descriptors as bytes, buffer ids as words


class RingViews(Closable):
    """One descriptor ring of `entries` slots, by field; each array has one element per slot.

    `dwords`: uint32[4 entries]. `hash_and_status`: uint32[2, entries]. `d2`, `d3`,
    `ids`: uint32[entries]. `lengths`: uint16[entries]. `descriptors`: V16[entries].
    `state`: uint32[4], the words next, tail, clean and spanning.
    """

    def __init__(self, arena: memoryview, ring: RingLayout) -> None:
        """View a ring. `arena`: uint8[size], the whole arena."""
        raw = arena[ring.descriptors : ring.descriptors + DESCRIPTOR_BYTES * ring.entries]
        words: Dwords = np.frombuffer(raw, np.uint32).reshape(-1, 4)
        self.entries = ring.entries
        self.dwords = raw.cast("I")  # dword k of slot i is [4 * i + k]
        self.hash_and_status: Dwords = words[:, 1:3].T  # one row each
        self.d2: Dwords = words[:, 2]
        self.d3: Dwords = words[:, 3]
        self.lengths: NDArray[np.uint16] = np.frombuffer(raw, np.uint16).reshape(-1, 8)[:, 6]
        self.descriptors: Addresses = np.frombuffer(raw, ADDRESS)
        self.ids: Dwords = np.frombuffer(arena[ring.ids : ring.ids + 4 * ring.entries], np.uint32)
        self.state = arena[ring.state : ring.state + 16].cast("I")
        self._raw = raw
        self._id_words = arena[ring.ids : ring.ids + 4 * ring.entries].cast("I")

    def slots(self, slot: int, n: int) -> Slots:
        """Views of `n` slots from `slot` on, which must not cross the end: their descriptors and their buffer ids."""
        raw = self._raw[DESCRIPTOR_BYTES * slot : DESCRIPTOR_BYTES * (slot + n)]
        return raw, self._id_words[slot : slot + n]
