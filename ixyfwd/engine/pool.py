"""The free stack in plain Python, a buffer at a time."""

from typing import Protocol

from ixyfwd.memory.layout import POOL_STATE_BYTES, WorkerLayout


class Pool(Protocol):
    """The ids of free buffers."""

    def __len__(self) -> int: ...

    def pop(self) -> int | None:
        """The id on top, or None if there is none."""

    def push(self, buffer: int) -> None:
        """Put an id on top."""


class FreeStack:
    """A `Pool` on the words in the arena alone."""

    def __init__(self, arena: memoryview, layout: WorkerLayout) -> None:
        """`arena` is the whole arena as bytes."""
        self._count = arena[layout.pool : layout.pool + 4].cast("I")
        first = layout.pool + POOL_STATE_BYTES
        self._ids = arena[first : first + 4 * layout.buffers].cast("I")

    def __len__(self) -> int:
        return self._count[0]

    def pop(self) -> int | None:
        """See `Pool`."""
        count = self._count[0]
        if not count:
            return None
        self._count[0] = count - 1
        return self._ids[count - 1]

    def push(self, buffer: int) -> None:
        """See `Pool`."""
        count = self._count[0]
        self._ids[count] = buffer
        self._count[0] = count + 1

    def close(self) -> None:
        """Let the arena go."""
        self._count.release()
        self._ids.release()
