"""What a program is to a worker: `bind(options, place)` in `programs/NAME/worker.py`."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine, EngineMemory
from ixyfwd.telemetry.counters import ProgramWord, program_word

_WORD = struct.Struct("=Q")

Treat = Callable[[], object]
"""Treats the frames of the batch that it was bound to, in place; called once per burst that has some."""


@dataclass(frozen=True)
class Place:
    """Where a program works: behind the receive ring of one port, in one worker.

    `index`: the program's place in the list of programs, which is where its counters are (`telemetry.counters`).
    """

    engine: Engine
    batch: Batch
    rx_port: int
    index: int

    @property
    def memory(self) -> EngineMemory:
        """What the engine works on."""
        return self.engine.memory

    def count(self, counter: int, value: int) -> None:
        """Add to one of the program's own counters, by its index in `ProgramOptions.counters`."""
        at = self.memory.layout.counters + 8 * program_word(self.index, ProgramWord.COUNTERS + counter)
        _WORD.pack_into(self.memory.arena, at, _WORD.unpack_from(self.memory.arena, at)[0] + value)

    def block(self) -> memoryview:
        """The program's words of the counters page, as 'Q'; its own begin at COUNTERS. It must be let go when the
        engine closes: see `ArrayEngine.keep`."""
        return self.memory.program_words(self.index)


@runtime_checkable
class FrameOpEngine(Protocol):
    """An engine that was compiled with the `frame.h` of programs."""

    def bind_frame_op(self, name: str, batch: Batch) -> Callable[[], int]:
        """A callable that does to every frame of `batch` what the program `name` does."""


@runtime_checkable
class ArrayEngine(Protocol):
    """An engine that works in numpy. Types are those of `engine.vector_views`, which is not imported here."""

    def arrays(self, batch: Batch) -> Any:
        """The columns of a batch: the same object for all that work on it."""

    def keep(self, holder: Any) -> Any:
        """`holder`, a `Closable`, which lets its views of the arena go when the engine closes."""


@runtime_checkable
class CallingEngine(Protocol):
    """An engine that calls C: programs with C functions of their own bind them through it."""

    def bind_c(self, ffi: Any, function: Any, work: Any, batch: Batch) -> Callable[[], int]:
        """`function(work)` as a callable; see `engine.bound.bind`. `work` points to a struct with a
        `struct batch_view batch`, which is pointed at `batch`, and at an empty batch when the engine closes."""

    def counters_address(self) -> int:
        """Where the worker's counters page is, for C."""


def bind_program(name: str, options: Mapping[str, Any], place: Place) -> Treat | None:
    """What the program `name` does at `place`; None if there is nothing to do.

    Imports only the program's worker module. Raises UsageError for an engine that it cannot work with.
    """
    package = __name__.rpartition(".")[0]
    treat: Treat | None = import_module(f"{package}.{name}.worker").bind(options, place)
    return treat
