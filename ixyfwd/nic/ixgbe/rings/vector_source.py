"""The generator in numpy."""

import time
from typing import Final

import numpy as np

from ixyfwd.engine.contract import EngineMemory
from ixyfwd.engine.traffic import Frames
from ixyfwd.engine.vector_traffic import counters_page
from ixyfwd.engine.vector_views import BatchViews, Closable, PoolViews
from ixyfwd.nic.ixgbe.rings.vector_segments import SegmentedTxRing
from ixyfwd.nic.ixgbe.rings.vector_tx import TxRing
from ixyfwd.telemetry.counters import Word
from ixyfwd.traffic.format import AT_SEQUENCE, HEAD_BYTES, TEMPLATE_BYTES
from ixyfwd.traffic.schedule import LAG_PS, frames_due, frames_late, schedule_step

_HEAD_WORDS: Final = HEAD_BYTES // 4
_SEQUENCE_WORD: Final = AT_SEQUENCE // 4


class VectorSource(Closable):
    """A generator that fills a batch with the frames that are due; `run` is the burst."""

    def __init__(
        self,
        memory: EngineMemory,
        ring: TxRing | SegmentedTxRing,
        pool: PoolViews,
        batch: BatchViews,
        frames: Frames,
    ) -> None:
        self._page = counters_page(memory)
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
        """Fill the batch; see `engine.traffic.TrafficEngine`."""
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
        given_up = frames_late(self._due_ps, now_ps, mean, LAG_PS)
        if given_up:
            self._due_ps += given_up * mean
            self._page[Word.SHORTFALL] += given_up
        return frames_due(self._due_ps, now_ps, mean)

    def _compose(self, n: int, stamp: int) -> None:
        frames, pool = self._frames, self._pool
        free = pool.state[0]
        ids = pool.stack[free - n : free].astype(np.int64)
        pool.state[0] = free - n
        sequences, flows = np.divmod(np.arange(self._next, self._next + n), frames.flows)
        sizes = self._schedule[schedule_step(flows, sequences, self._schedule.size)]
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
