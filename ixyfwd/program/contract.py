"""A program turns one burst into another, in place."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine, EngineMemory


class Program(Protocol):
    """What the worker does to every burst between rx and tx."""

    name: str

    def bind(self, engine: Engine, memory: EngineMemory, batch: Batch) -> Callable[[], object] | None:
        """A callable that treats `batch` in place, called once per non-empty burst; None if there is nothing to do."""


@runtime_checkable
class Fusible(Protocol):
    """A program that a `FusingEngine` can do in its own loop: nothing, or incrementing a byte."""

    touched_byte: int | None
