"""Generating and recording with the `vector` engine."""

import ctypes
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from ixyfwd.engine.contract import EngineMemory
from ixyfwd.engine.traffic import (
    AT_SEQUENCE,
    BLOCK_BYTES,
    BLOCK_COUNT,
    HEAD_BYTES,
    LAG_PS,
    TEMPLATE_BYTES,
    Frames,
    Recording,
)
from ixyfwd.engine.vector_tx import TxRing
from ixyfwd.engine.vector_views import BatchViews, Closable, PoolViews
from ixyfwd.telemetry.counters import PAGE_BYTES, Word

_HEAD_WORDS: Final = HEAD_BYTES // 4
_SEQUENCE_WORD: Final = AT_SEQUENCE // 4
_NS_PER_S: Final = 10**9
_FILTER = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)


def _page(memory: EngineMemory) -> memoryview:
    start = memory.layout.counters
    return memory.arena[start : start + PAGE_BYTES].cast("Q")


class Source(Closable):
    """Fills a batch with frames that are due; `run` is the burst."""

    def __init__(self, memory: EngineMemory, ring: TxRing, pool: PoolViews, batch: BatchViews, frames: Frames) -> None:
        self._page = _page(memory)
        self._ring, self._pool, self._batch, self._frames = ring, pool, batch, frames
        self._arena = np.frombuffer(memory.arena, np.uint32)
        self._offsets = np.array(memory.layout.buffer_offsets(), np.int64) // 4
        templates = np.frombuffer(frames.templates, np.uint32).reshape(-1, TEMPLATE_BYTES // 4)
        self._templates = templates[:, :_HEAD_WORDS]
        self._schedule = np.frombuffer(frames.schedule, np.uint8).astype(np.int64)
        self._sizes = np.array(frames.sizes, np.uint32)
        self._frame_ps = np.array(frames.frame_ps, np.int64)
        self._columns = np.arange(_HEAD_WORDS)
        self._next = 0
        self._begun_ns = self._due_ps = 0

    def run(self) -> int:
        """See `engine.traffic.TrafficEngine.bind_source`."""
        page = self._page
        if page[Word.COMMAND] or not page[Word.GO]:
            return 0
        now_ns = time.monotonic_ns()
        self._begun_ns = self._begun_ns or now_ns
        n = min(self._room(), self._due((now_ns - self._begun_ns) * 1000))
        if n:
            self._compose(n, now_ns & 0xFFFFFFFF)
        if self._next == self._frames.count:
            page[Word.DONE] = 1
        return n

    def _room(self) -> int:
        ring, capacity = self._ring, self._batch.batch.capacity

        def free() -> int:
            return ring.mask - ((ring.state[1] - ring.state[2]) & ring.mask)

        if free() <= max(capacity, ring.mask // 2):
            ring.clean()
        return min(free(), capacity, self._pool.state[0], self._frames.count - self._next)

    def _due(self, now_ps: int) -> int:
        mean = self._frames.mean_ps
        if not mean:
            return self._batch.batch.capacity
        late = now_ps - self._due_ps
        if late > LAG_PS:
            given_up = (late - LAG_PS) // mean
            self._due_ps += given_up * mean
            self._page[Word.SHORTFALL] += given_up
            late = now_ps - self._due_ps
        return max(0, late // mean + 1) if late >= 0 else 0

    def _compose(self, n: int, stamp: int) -> None:
        frames, pool = self._frames, self._pool
        free = pool.state[0]
        ids = pool.stack[free - n : free].astype(np.int64)
        pool.state[0] = free - n
        sequences, flows = np.divmod(np.arange(self._next, self._next + n), frames.flows)
        sizes = self._schedule[(sequences + flows) % self._schedule.size]
        heads = self._templates[flows * len(frames.sizes) + sizes]
        heads[:, _SEQUENCE_WORD] = sequences & 0xFFFFFFFF
        heads[:, _SEQUENCE_WORD + 1] = stamp
        self._arena[self._offsets[ids][:, None] + self._columns] = heads
        cells = self._batch.cells
        cells[0, :n] = ids
        cells[1, :n] = self._sizes[sizes]
        self._batch.words[0] = n
        self._next += n
        self._due_ps += int(self._frame_ps[sizes].sum())
        self._page[Word.ASKED] += n


class VectorRecorder(Closable):
    """See `engine.traffic.Recorder`. One frame after the other: records differ in length."""

    def __init__(self, memory: EngineMemory, pool: PoolViews, batch: BatchViews, recording: Recording) -> None:
        self._page = _page(memory)
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
        pool.push(self._batch.cells[0, :n])
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
        """See Recorder."""
        if not self._block:
            return True
        if len(self._filled) >= BLOCK_COUNT - 1:
            return False
        self._filled.append((memoryview(b"".join(self._block)), len(self._block)))
        self._block, self._bytes = [], 0
        return True

    def next_block(self) -> tuple[memoryview, int] | None:
        """See Recorder."""
        return self._filled[0] if self._filled else None

    def release_block(self) -> None:
        """See Recorder."""
        self._filled.popleft()

    def empty(self) -> bool:
        """See Recorder."""
        return not self._block and not self._filled
