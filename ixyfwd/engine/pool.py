"""The free stack in plain Python, a buffer at a time."""

from typing import Protocol

from ixyfwd.memory.layout import POOL_STATE_BYTES, WorkerLayout


class Pool(Protocol):
    """The stack of the ids of free buffers."""

    def __len__(self) -> int: ...

    def pop(self) -> int | None:
        """Take the id on top; None if there is none."""

    def push(self, buffer: int) -> None:
        """Put an id on top."""


class FreeStack:
    """The free stack as the words in the arena have it. See `engine.pool.Pool`."""

    def __init__(self, arena: memoryview, layout: WorkerLayout) -> None:
        """View the stack. `arena`: uint8[size], the whole arena."""
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
        """Release the views of the arena."""
        self._count.release()
        self._ids.release()
