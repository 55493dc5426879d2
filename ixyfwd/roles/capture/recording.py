"""The thread that writes what a recorder has recorded, so that the poll loop never waits for a disk."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from ixyfwd.engine.traffic import Recorder
from ixyfwd.telemetry.counters import Word

FLUSH_S: Final = 0.1  # how long a frame may lie in a block that does not fill
_PAUSE_S: Final = 1e-3


class FileThread:
    """The thread that writes blocks to `fd` until its context is left.

    After an error every block is counted as failed and the file ends with the last whole block, so that it stays
    readable. `page` is the counters page, uint64[words].
    """

    def __init__(self, recorder: Recorder, fd: int, page: memoryview, cpus: Sequence[int]) -> None:
        self._recorder = recorder
        self._fd = fd
        self._page = page
        self._cpus = set(cpus)
        self._flushed_at = 0.0
        self._ending = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="file", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        self._thread.join()

    def watch(self, burst: Callable[[], int], draining: Callable[[], bool]) -> Callable[[], int]:
        """A call that runs `burst`, and after an empty one looks for frames that have waited too long for the file.

        While draining it comes back from an empty burst only when everything is in the file.
        """

        def run() -> int:
            taken = burst()
            if not taken:
                if draining():
                    self._finish()
                elif time.monotonic() - self._flushed_at > FLUSH_S:
                    self._recorder.flush()
                    self._flushed_at = time.monotonic()
            return taken

        return run

    def _finish(self) -> None:
        while not self._recorder.empty():
            self._recorder.flush()
            time.sleep(_PAUSE_S)

    def _run(self) -> None:
        # Not on the worker's CPU if there is another: a ring is full before the scheduler gives it back.
        others = self._cpus - os.sched_getaffinity(0)
        if others:
            os.sched_setaffinity(0, others)  # of this thread
        while True:
            block = self._recorder.next_block()
            if block is None:
                if self._ending:
                    return
                time.sleep(_PAUSE_S)
                continue
            self._write(*block)
            del block
            self._recorder.release_block()

    def _write(self, data: memoryview, frames: int) -> None:
        if not self._failed:
            try:
                _write_whole(self._fd, data)
            except OSError as error:
                self._failed = True
                self._page[Word.ERRNO] = error.errno or 1
        self._page[Word.FILE_FAILED if self._failed else Word.WRITTEN] += frames


def _write_whole(fd: int, data: memoryview) -> None:
    """All of it, or none of it if `fd` is a file."""
    written = 0
    try:
        while written < len(data):
            written += os.write(fd, data[written:])
    except OSError:
        with contextlib.suppress(OSError):  # a pipe cannot be cut
            end = os.lseek(fd, 0, os.SEEK_CUR)
            os.ftruncate(fd, end - written)
        raise
