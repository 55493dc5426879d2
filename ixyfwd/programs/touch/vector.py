"""The touch program in numpy."""

from collections.abc import Callable

import numpy as np
from numpy import add, greater
from numpy.typing import NDArray

from ixyfwd.engine.batch import BATCH_EOP
from ixyfwd.engine.vector_views import MAX_STAGES, BatchViews, Closable, Index, constant
from ixyfwd.programs.touch.worker import TOUCHED_BYTE
from ixyfwd.programs.work import ArrayEngine, Place


def bind_touch(engine: ArrayEngine, place: Place) -> Callable[[], int]:
    """The callable that increments the byte in every frame of the place's batch that has it."""
    offsets = np.array(place.memory.layout.buffer_offsets(), np.int64) + TOUCHED_BYTE
    touch = SegmentedTouchBurst if place.memory.segmented else TouchBurst
    burst: Callable[[], int] = engine.keep(
        touch(place.memory.arena, offsets, engine.arrays(place.batch), TOUCHED_BYTE)
    ).run
    return burst


class TouchStage:
    """Views of the first `n` entries of a batch, made once for each `n`; `at` is the offset of the touched byte."""

    def __init__(self, batch: BatchViews, n: int, at: int) -> None:
        self.ids = batch.cells[0, :n]
        self.index = batch.index[:n]
        self.lengths = batch.cells[1, :n]
        self.length_bytes = batch.batch.lengths[:n].tobytes
        self.shortest = constant(at, n)
        self.last_lengths = b""
        self.is_long = np.zeros(n, np.bool_)  # for last_lengths
        self.increments = self.is_long.view(np.uint8)


class TouchBurst(Closable):
    """The touch program on one batch, a frame per buffer: `run` touches the frames."""

    def __init__(self, arena: memoryview, offsets: Index, batch: BatchViews, at: int) -> None:
        """Bind to a batch.

        `arena`: uint8[size], the whole arena. `offsets`: int64[buffers], by buffer id,
        where byte `at` of the frame is.
        """
        self._bytes: NDArray[np.uint8] = np.frombuffer(arena, np.uint8)
        self._offsets = offsets
        self._batch = batch
        self._words = batch.words
        self._at = at
        self._stages: dict[int, TouchStage] = {}

    def run(self) -> int:
        """Increment the byte of every frame that is long enough; returns the number of frames in the batch."""
        n = self._words[0]
        if n == 0:
            return 0
        stage = self._stages.get(n) or self._new_stage(n)
        lengths = stage.length_bytes()
        if lengths != stage.last_lengths:
            greater(stage.lengths, stage.shortest, stage.is_long)
            stage.last_lengths = lengths
        stage.index[...] = stage.ids
        places = self._offsets[stage.index]
        values = self._bytes[places]
        add(values, stage.increments, values)
        self._bytes[places] = values
        return n

    def _new_stage(self, n: int) -> TouchStage:
        if len(self._stages) >= MAX_STAGES:
            self._stages.clear()
        stage = self._stages[n] = TouchStage(self._batch, n, self._at)
        return stage


class SegmentedTouchBurst(Closable):
    """The touch program on one batch of segments: `run` touches each frame in its first segment."""

    def __init__(self, arena: memoryview, offsets: Index, batch: BatchViews, at: int) -> None:
        """Bind to a batch.

        `arena`: uint8[size], the whole arena. `offsets`: int64[buffers], by buffer id,
        where byte `at` of the frame is.
        """
        self._bytes: NDArray[np.uint8] = np.frombuffer(arena, np.uint8)
        self._offsets = offsets
        self._batch = batch
        self._at = at

    def run(self) -> int:
        """Increment the byte of every frame that is long enough; returns the number of segments in the batch."""
        n = self._batch.words[0]
        if n == 0:
            return 0
        cells = self._batch.cells[:, :n]
        wanted: NDArray[np.bool_] = cells[1] > self._at
        wanted[1:] &= (cells[3, :-1] & np.uint32(BATCH_EOP)) != 0
        self._bytes[self._offsets[cells[0, wanted]]] += np.uint8(1)
        return n
