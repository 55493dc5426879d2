"""Increment one byte of every frame, as the published comparison of drivers does, so that each frame is really read."""

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine, EngineMemory
from ixyfwd.errors import UsageError

TOUCHED_BYTE: Final = 48


@runtime_checkable
class TouchingEngine(Protocol):
    """An engine that can increment a byte of every frame at its own speed."""

    def bind_touch(self, batch: Batch, at: int) -> Callable[[], int]:
        """A callable that increments byte `at` of every frame in `batch` that is longer than that."""


class Touch:
    """See `program.contract.Program`. Frames of 48 bytes or less are left alone."""

    name = "touch"
    touched_byte = TOUCHED_BYTE

    def bind(self, engine: Engine, memory: EngineMemory, batch: Batch) -> Callable[[], object]:
        """Raises UsageError for an engine that cannot reach into frames."""
        if not isinstance(engine, TouchingEngine):
            raise UsageError(f"the {engine.name} engine cannot run the touch program")
        return engine.bind_touch(batch, TOUCHED_BYTE)
