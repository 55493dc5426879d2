"""The `touch` program in numpy."""

import numpy as np
from numpy.typing import NDArray

from ixyfwd.engine.vector_views import BatchViews, Closable, Index, constant


class TouchPiece:
    """Ready-made views of the first `n` entries of a batch and of the scratch space."""

    def __init__(self, scratch: "TouchScratch", batch: BatchViews, n: int) -> None:
        self.ids = batch.cells[0, :n]
        self.lengths = batch.cells[1, :n]
        self.index = batch.index[:n]
        self.shortest = scratch.shortest[:n]
        self.places = scratch.places[:n]
        self.is_long = scratch.is_long[:n]
        self.increments = self.is_long.view(np.uint8)
        self.values = scratch.values[:n]


class TouchScratch:
    """Space for `n` frames that are touched at byte `at`."""

    def __init__(self, n: int, at: int) -> None:
        self.shortest = constant(at, n)
        self.places: Index = np.empty(n, np.int64)
        self.is_long = np.empty(n, np.bool_)
        self.values = np.empty(n, np.uint8)


class TouchBurst(Closable):
    """A batch whose frames are touched; `run` does it."""

    def __init__(self, arena: memoryview, offsets: Index, batch: BatchViews, at: int) -> None:
        """`offsets`: of byte `at` of each buffer id's frame in the arena."""
        self._bytes: NDArray[np.uint8] = np.frombuffer(arena, np.uint8)
        self._place_of = offsets.take
        self._batch = batch
        self._words = batch.words
        self._scratch = TouchScratch(batch.batch.capacity, at)
        self._pieces: dict[int, TouchPiece] = {}

    def run(self) -> int:
        """Increment the byte of every frame that is long enough to have it; returns the frames looked at."""
        n = self._words[0]
        if n == 0:
            return 0
        piece = self._pieces.get(n) or self._new_piece(n)
        piece.index[...] = piece.ids
        self._place_of(piece.index, 0, piece.places, "clip")
        self._bytes.take(piece.places, 0, piece.values, "clip")
        np.greater(piece.lengths, piece.shortest, piece.is_long)
        np.add(piece.values, piece.increments, piece.values)
        self._bytes[piece.places] = piece.values
        return n

    def _new_piece(self, n: int) -> TouchPiece:
        piece = self._pieces[n] = TouchPiece(self._scratch, self._batch, n)
        return piece
