"""The drop program in a worker."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from ixyfwd.engine.verdict import drop_for
from ixyfwd.memory.layout import CRC_BYTES
from ixyfwd.programs.work import ArrayEngine, CallingEngine, Place, Treat
from ixyfwd.telemetry.counters import ProgramWord, program_word

LENGTH_MAX: Final = 2**32 - 1
SHORTER, LONGER, EVERY = (drop_for(cause) for cause in range(3))  # as `options.drop_causes`


def bind(options: Mapping[str, Any], place: Place) -> Treat:
    """The callable that drops frames at `place`: in C, in numpy or in plain Python, as the engine works."""
    shorter_than, longer_than = options["shorter_than"] or 0, options["longer_than"] or LENGTH_MAX
    every = options["every"]
    if every is None:
        every = int(options["shorter_than"] is None and options["longer_than"] is None)
    if isinstance(place.engine, CallingEngine):
        return _bind_c(place.engine, place, (shorter_than, longer_than, every))
    if isinstance(place.engine, ArrayEngine):
        from ixyfwd.programs.drop.vector import Drop  # noqa: PLC0415 - numpy

        drop = Drop(place.engine.arrays(place.batch), place.block(), shorter_than, longer_than, every)
        burst: Treat = place.engine.keep(drop).run
        return burst
    return _bind_plain(place, shorter_than, longer_than, every)


def _bind_c(engine: CallingEngine, place: Place, limits: tuple[int, int, int]) -> Callable[[], int]:
    from ixyfwd.programs.drop._drop import ffi, lib  # noqa: PLC0415 - not there without a compiler

    drop = ffi.new("struct drop *")
    drop.shorter_than, drop.longer_than, drop.every = limits
    drop.bytes = ffi.cast("uint64_t *", engine.counters_address() + 8 * program_word(place.index, ProgramWord.COUNTERS))
    return engine.bind_c(ffi, ffi.addressof(lib, "drop_burst"), drop, place.batch)


def _bind_plain(place: Place, shorter_than: int, longer_than: int, every: int) -> Callable[[], int]:
    batch, spared = place.batch, 0

    def drop() -> int:
        nonlocal spared
        for i in range(batch.count):
            length = batch.lengths[i] + CRC_BYTES
            if length < shorter_than:
                batch.verdicts[i] = SHORTER
            elif length > longer_than:
                batch.verdicts[i] = LONGER
            else:
                spared += 1
                if not every or spared % every:
                    continue
                batch.verdicts[i] = EVERY
            place.count(0, length)
        return batch.count

    return drop
