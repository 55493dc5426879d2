"""The touch program in a worker. Frames of 48 bytes or less are left alone."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from ixyfwd.programs.work import ArrayEngine, FrameOpEngine, Place, Treat

TOUCHED_BYTE: Final = 48  # frame.h


def bind(options: Mapping[str, Any], place: Place) -> Treat:
    """The callable that touches frames at `place`: in C, in numpy or in plain Python, as the engine works."""
    if isinstance(place.engine, FrameOpEngine):
        return place.engine.bind_frame_op("touch", place.batch)
    if isinstance(place.engine, ArrayEngine):
        from ixyfwd.programs.touch.vector import bind_touch  # noqa: PLC0415 - numpy

        return bind_touch(place.engine, place)
    return _bind_plain(place)


def _bind_plain(place: Place) -> Callable[[], int]:
    arena, offsets, batch = place.memory.arena, place.memory.layout.buffer_offsets(), place.batch

    def touch() -> int:
        for i in range(batch.count):
            if batch.lengths[i] > TOUCHED_BYTE:
                at = offsets[batch.ids[i]] + TOUCHED_BYTE
                arena[at] = (arena[at] + 1) & 0xFF
        return batch.count

    return touch
