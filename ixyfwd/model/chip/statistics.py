"""Clear-on-read, saturating registers over the data path's counters, which only grow (datasheet 8.2.3.23)."""

from typing import Any

from ixyfwd.model.chip.regfile import RegisterFile
from ixyfwd.model.chip.table_counters import SOURCES

LIMIT = {"whole": 2**32 - 1, "low": 2**36 - 1, "high": 2**36 - 1}


class StatisticsRegisters:
    """The statistics registers, which clear on read: for each counter, how much has been read away."""

    def __init__(self, file: RegisterFile, counters: Any) -> None:
        self._counters = counters
        self._taken: dict[tuple[str, int], int] = {}
        self._indexed = frozenset(name for name in SOURCES if not isinstance(self._raw(name), int))
        file.bind({"counter": self._read}, {})

    def _raw(self, name: str) -> Any:
        return getattr(self._counters, SOURCES[name].counter)

    def _now(self, name: str, index: int) -> int:
        value = self._raw(name)
        return int(value[index] if name in self._indexed else value)

    def _read(self, name: str, index: int) -> int:
        """What has been counted since the last read; a half of a pair clears that half only."""
        part = SOURCES[name].part
        key = SOURCES[name].counter, index
        now = self._now(name, index)
        value = min(now - self._taken.get(key, 0), LIMIT[part])
        left = {"whole": 0, "low": value & ~0xFFFFFFFF, "high": value & 0xFFFFFFFF}[part]
        self._taken[key] = now - left
        return value >> 32 if part == "high" else value & 0xFFFFFFFF

    def reset(self) -> None:
        """Set all counters to 0."""
        for name, source in SOURCES.items():
            cells = range(len(self._raw(name))) if name in self._indexed else range(1)
            for index in cells:
                self._taken[source.counter, index] = self._now(name, index)
