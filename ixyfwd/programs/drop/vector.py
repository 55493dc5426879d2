"""The drop program in numpy."""

import numpy as np

from ixyfwd.engine.vector_verdicts import frame_starts
from ixyfwd.engine.vector_views import BatchViews, Closable, Dwords
from ixyfwd.memory.layout import CRC_BYTES
from ixyfwd.programs.drop.worker import EVERY, LONGER, SHORTER
from ixyfwd.telemetry.counters import ProgramWord


class Drop(Closable):
    """The drop program on one batch: `run` gives its frames their verdicts."""

    def __init__(self, batch: BatchViews, block: memoryview, shorter_than: int, longer_than: int, every: int) -> None:
        """Bind to a batch. `block`: uint64[32], the program's block of the counters page. Lengths are in bytes."""
        self._batch = batch
        self._block = block
        self._shorter_than = shorter_than
        self._longer_than = longer_than
        self._every = every
        self._spared = 0

    def run(self) -> int:
        """Write the verdicts; returns the number of entries in the batch."""
        n = self._batch.words[0]
        if n == 0:
            return 0
        cells = self._batch.cells[:, :n]
        starts = np.flatnonzero(frame_starts(cells[3]))
        lengths = np.add.reduceat(cells[1].astype(np.int64), starts) + CRC_BYTES
        cells[4, starts] = self._verdicts(cells[4, starts], lengths)
        return n

    def _verdicts(self, verdicts: Dwords, lengths: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> Dwords:
        shorter = lengths < self._shorter_than
        longer = (lengths > self._longer_than) & ~shorter
        spared = ~(shorter | longer)
        counted = self._spared + np.cumsum(spared)
        self._spared = int(counted[-1])
        every = spared & (counted % self._every == 0) if self._every else np.zeros(lengths.size, np.bool_)
        for chosen, verdict in ((shorter, SHORTER), (longer, LONGER), (every, EVERY)):
            verdicts[chosen] = verdict
        self._block[ProgramWord.COUNTERS] += int(lengths[shorter | longer | every].sum())
        return verdicts
