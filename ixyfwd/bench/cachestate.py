"""States of the caches in which the driver begins a turn by hand.

warm        This core's L1 and L2 hold all that the driver used a turn ago, and the descriptors just finished by hand.
cold        They hold none of it: more memory than fits has been read since. Lines come from L3, those of the driver's
            code and of Python's objects too.
memory      L3 does not hold it either, as far as this machine owns it: lines come from memory.
other-core  The lines that a device writes (finished descriptors, the first line of every frame) were last written by a
            thread on another CPU, which also read the descriptors to be sent and the tails: they come from that core,
            as they do from the model. The lines that only the driver uses (ids, free stack, counters) stay warm.

A ratio of two drivers holds for one state: the fewer lines wait in this core's caches,
the less instructions count.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Literal

import numpy as np

from ixyfwd.bench.turntable import Turntable
from ixyfwd.engine.contract import EngineMemory
from ixyfwd.errors import UsageError
from ixyfwd.memory.layout import RingLayout
from ixyfwd.nic.ixgbe.descriptors import RS_INTERVAL

Cache = Literal["warm", "cold", "memory", "other-core"]
CACHES: Final[tuple[Cache, ...]] = ("warm", "cold", "memory", "other-core")

LINE_BYTES: Final = 64
WALK: Final = 4  # times the size of L2
MEMORY_WALK: Final = 2  # times the size of L3
USUAL_BYTES: Final = {2: 2 << 20, 3: 64 << 20}  # where sysfs does not say; large, to be safe
SETTLE_ROUNDS: Final = 1000  # of the interpreter after another thread ran: some tens of microseconds
_SYSFS: Final = Path("/sys/devices/system/cpu/cpu0/cache")

Prepare = Callable[[], object]
Qwords = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]


def cache_bytes(level: int, root: Path = _SYSFS) -> int:
    """The size, in bytes, of the cache of CPU 0 at `level` (2 or 3); USUAL_BYTES where sysfs does not say."""
    for index in sorted(root.glob("index*")):
        try:
            if (index / "level").read_text().strip() == str(level):
                size = (index / "size").read_text().strip()
                return int(size.removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return USUAL_BYTES[level]


def check(caches: Sequence[Cache]) -> None:
    """Check that these states can be made on this machine. Raises UsageError for one that cannot."""
    cpus = sorted(os.sched_getaffinity(0))
    if "other-core" in caches and len(cpus) < 2:
        raise UsageError(f"--cache other-core needs a second CPU, and this process may run on CPU {cpus[0]} only")


@contextmanager
def cache_state(cache: Cache, table: Turntable) -> Iterator[None]:
    """Have turns of `table` begin in this state inside the context. Raises UsageError if it cannot be made here."""
    check([cache])
    with ExitStack() as stack:
        if cache == "other-core":
            table.prepare = stack.enter_context(_other_core(table.memory))
        elif cache != "warm":
            table.prepare = _walker(WALK * cache_bytes(2) if cache == "cold" else MEMORY_WALK * cache_bytes(3))
        try:
            yield
        finally:
            table.prepare = None


def _walker(n_bytes: int) -> Prepare:
    lines = np.ones(n_bytes // 8, np.uint64)[:: LINE_BYTES // 8]  # written: untouched memory is one page of zeros
    return lines.sum


@contextmanager
def _other_core(memory: EngineMemory) -> Iterator[Prepare]:
    cpus = sorted(os.sched_getaffinity(0))
    hand = _Hand(memory)
    os.sched_setaffinity(0, cpus[:1])
    try:
        with ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, cpus[-1:])) as other:

            def prepare() -> None:
                other.submit(hand.write, hand.frames()).result()
                for _ in range(SETTLE_ROUNDS):
                    time.perf_counter_ns()

            yield prepare
    finally:
        os.sched_setaffinity(0, cpus)
        hand.close()


class _Hand:
    """A thread's access to a turntable's memory: it writes, with the same values, and reads the device's lines."""

    def __init__(self, memory: EngineMemory) -> None:
        arena, rx, tx = memory.arena, memory.layout.rx[0], memory.layout.tx[1]
        self._first_lines = np.array(memory.layout.buffer_offsets()) // LINE_BYTES
        self._arena: Qwords = np.frombuffer(arena, np.uint64).reshape(-1, LINE_BYTES // 8)
        self._rx, self._tx = (_descriptors(arena, ring) for ring in (rx, tx))
        self._rx_ids = np.frombuffer(arena, np.uint32, rx.entries, rx.ids)
        self._tails = (memory.ports[0].rdt, memory.ports[1].tdt)

    def frames(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """The first line of every frame in the receive ring, looked up on the driver's core, which owns the ids."""
        return self._first_lines[self._rx_ids]

    def write(self, frames: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
        """Read and write all lines of the device once."""
        for tail in self._tails:
            tail[0]
        self._tx.sum()
        self._tx[RS_INTERVAL - 1 :: RS_INTERVAL, 1] |= np.uint64(0)  # where DD was set
        self._arena[frames] = self._arena[frames]
        self._rx |= np.uint64(0)

    def close(self) -> None:
        """Release the views of the arena."""
        del self._arena, self._rx, self._tx, self._rx_ids


def _descriptors(arena: memoryview, ring: RingLayout) -> Qwords:
    return np.frombuffer(arena, np.uint64, 2 * ring.entries, ring.descriptors).reshape(-1, 2)
