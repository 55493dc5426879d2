"""A count in shared memory that a process moves at every turn of its loop, so that another one sees that it goes on."""

import mmap
import os
from typing import Final

from ixyfwd.kit.syscalls import memfd_create

_BYTES: Final = mmap.PAGESIZE


class Heartbeat:
    """One such count. `fd` is inherited by the process that beats, or the count is its own (None)."""

    def __init__(self, fd: int | None = None) -> None:
        """Map the memory behind `fd`. Raises OSError."""
        self._mapping = mmap.mmap(-1 if fd is None else fd, _BYTES)
        self._count = memoryview(self._mapping).cast("Q")

    def beat(self) -> None:
        """Go on by one."""
        self._count[0] += 1

    @property
    def count(self) -> int:
        """How often it beat."""
        return self._count[0]

    def close(self) -> None:
        """Let go of the memory; harmless when called twice."""
        self._count.release()
        self._mapping.close()


def new_heartbeat_fd() -> int:
    """Memory for one, closed on exec unless it is passed on."""
    fd = memfd_create("ixyfwd-heartbeat")
    os.ftruncate(fd, _BYTES)
    return fd
