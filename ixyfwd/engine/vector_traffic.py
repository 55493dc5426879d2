"""Recording with the `vector` engine."""

import ctypes
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from ixyfwd.engine.contract import EngineMemory
from ixyfwd.engine.traffic import BLOCK_BYTES, BLOCK_COUNT, Recording
from ixyfwd.engine.vector_views import BatchViews, Closable, PoolViews
from ixyfwd.telemetry.counters import PAGE_BYTES, Word

_NS_PER_S: Final = 10**9
_FILTER = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)


def counters_page(memory: EngineMemory) -> memoryview:
    """The worker's counters page, uint64[1024]."""
    start = memory.layout.counters
    return memory.arena[start : start + PAGE_BYTES].cast("Q")


class VectorRecorder(Closable):
    """A recorder that makes one record after the other, as they differ in length. See `engine.traffic.Recorder`."""

    def __init__(self, memory: EngineMemory, pool: PoolViews, batch: BatchViews, recording: Recording) -> None:
        self._page = counters_page(memory)
        self._arena, self._pool, self._batch, self._recording = memory.arena, pool, batch, recording
        self._offsets = memory.layout.buffer_offsets()
        self._left = recording.count
        self._filter: Callable[[int, int], bool] | None = None
        self._base = np.frombuffer(memory.arena, np.uint8).ctypes.data
        if recording.filter_address:
            function, program, base = _FILTER(recording.filter_address), recording.program_address, self._base
            self._filter = lambda offset, length: function(program, base + offset, length, length) != 0
        self._block: list[bytes] = []
        self._bytes = 0
        self._filled: deque[tuple[memoryview, int]] = deque()
        self.burst = self._burst

    def _burst(self) -> int:
        batch, pool, page = self._batch.batch, self._pool, self._page
        n = batch.count
        if not n:
            return 0
        stamp = time.time_ns()
        for id_, length in zip(batch.ids[:n].tolist(), batch.lengths[:n].tolist(), strict=True):
            self._take(self._offsets[id_], length, stamp)
        pool.push_all(self._batch.cells[0, :n])
        batch.count = 0
        if not self._left:
            page[Word.DONE] = 1
        return n

    def _take(self, offset: int, length: int, stamp: int) -> None:
        page = self._page
        if self._filter is not None and not self._filter(offset, length):
            page[Word.FILTERED] += 1
        elif not self._left:
            page[Word.SURPLUS] += 1
        elif not self._recording.recording:
            page[Word.WRITTEN] += 1
            self._left -= 1
        elif self._bytes > BLOCK_BYTES and not self.flush():
            page[Word.FILE_BUSY] += 1
        else:
            self._record(offset, length, stamp)
            self._left -= 1

    def _record(self, offset: int, length: int, stamp: int) -> None:
        kept = min(length, self._recording.snaplen)
        data = bytes(self._arena[offset : offset + kept])
        if self._recording.pcapng:
            pad = bytes(-kept % 4)
            total = 32 + kept + len(pad)
            head = struct.pack("=7I", 6, total, 0, stamp >> 32, stamp & 0xFFFFFFFF, kept, length)
            record = head + data + pad + struct.pack("=I", total)
        else:
            record = struct.pack("=4I", *divmod(stamp, _NS_PER_S), kept, length) + data
        self._block.append(record)
        self._bytes += len(record)

    def flush(self) -> bool:
        """See `engine.traffic.Recorder`."""
        if not self._block:
            return True
        if len(self._filled) >= BLOCK_COUNT - 1:
            return False
        self._filled.append((memoryview(b"".join(self._block)), len(self._block)))
        self._block, self._bytes = [], 0
        return True

    def next_block(self) -> tuple[memoryview, int] | None:
        """See `engine.traffic.Recorder`."""
        return self._filled[0] if self._filled else None

    def release_block(self) -> None:
        """See `engine.traffic.Recorder`."""
        self._filled.popleft()

    def empty(self) -> bool:
        """See `engine.traffic.Recorder`."""
        return not self._block and not self._filled
