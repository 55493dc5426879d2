"""A program as a worker knows it: `bind(options, place)` in `programs/NAME/worker.py`."""

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
"""A callable that treats the frames of its batch in place; it is called once per burst with frames."""


@dataclass(frozen=True)
class Place:
    """The place of a program: behind the receive ring of one port, in one worker.

    `index`: the program's number in the list of programs, by which its counters are
    found (`telemetry.counters`).
    """

    engine: Engine
    batch: Batch
    rx_port: int
    index: int

    @property
    def memory(self) -> EngineMemory:
        """The memory that the engine works on."""
        return self.engine.memory

    def count(self, counter: int, value: int) -> None:
        """Add `value` to one of the program's own counters, by its index in `ProgramOptions.counters`."""
        at = self.memory.layout.counters + 8 * program_word(self.index, ProgramWord.COUNTERS + counter)
        _WORD.pack_into(self.memory.arena, at, _WORD.unpack_from(self.memory.arena, at)[0] + value)

    def block(self) -> memoryview:
        """The program's block of the counters page, uint64[32]; its own counters begin at COUNTERS.

        The view must be released when the engine closes (`ArrayEngine.keep`).
        """
        return self.memory.program_words(self.index)


@runtime_checkable
class FrameOpEngine(Protocol):
    """An engine that was compiled with the `frame.h` of programs."""

    def bind_frame_op(self, name: str, batch: Batch) -> Callable[[], int]:
        """The callable that applies the program `name` to every frame of `batch`."""


@runtime_checkable
class ArrayEngine(Protocol):
    """An engine that works in numpy. Types are those of `engine.vector_views`, which is not imported here."""

    def arrays(self, batch: Batch) -> Any:
        """The columns of a batch: the same object for all that work on it."""

    def keep(self, holder: Any) -> Any:
        """Keep `holder`, a `Closable`, and return it; it releases its views of the arena when the engine closes."""


@runtime_checkable
class CallingEngine(Protocol):
    """An engine that calls C: programs with C functions of their own bind them through it."""

    def bind_c(self, ffi: Any, function: Any, work: Any, batch: Batch) -> Callable[[], int]:
        """The callable for `function(work)`, as `engine.bound.bind` makes it.

        `function`: a pointer to a C function `uint32_t (struct X *)`. `work`: a
        `struct X *` whose member `struct batch_view batch` is pointed at `batch`, and
        at an empty batch when the engine closes.
        """

    def counters_address(self) -> int:
        """The address, in this process, of the worker's counters page."""


def bind_program(name: str, options: Mapping[str, Any], place: Place) -> Treat | None:
    """The callable of the program `name` at `place`; None if there is nothing to do.

    Imports only the program's worker module. Raises UsageError for an engine that it
    cannot work with.
    """
    package = __name__.rpartition(".")[0]
    treat: Treat | None = import_module(f"{package}.{name}.worker").bind(options, place)
    return treat
