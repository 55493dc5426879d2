"""A NIC family as a worker knows it: `open_rings(engine, port)` in `nic/NAME/rings`.

It gives the rings of one port on the engine's pool and batches, with bursts of the
engine's kind where the family has such, else in plain Python on `Engine.pool`. Further
abilities of a family are methods of these protocols.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine, EngineMemory, RxQueue, TxQueue
from ixyfwd.engine.traffic import Frames, prepare_bodies
from ixyfwd.errors import UsageError

CData = Any  # a C object of cffi's


class PortRings(Protocol):
    """The two rings of a worker's queue at one port."""

    @property
    def rx(self) -> RxQueue:
        """The receive ring."""

    @property
    def tx(self) -> TxQueue:
        """The transmit ring."""

    def close(self) -> None:
        """Release every view of the arena. A burst that is called later does nothing."""


@runtime_checkable
class CalledRings(Protocol):
    """Rings whose tx burst is a C function: the native engine calls it from C."""

    def tx_call(self, batch: Batch) -> tuple[int, CData]:
        """The C function of the tx burst of `batch`, by address, and its argument.

        The function is a `uint32_t (struct X *)`. The argument, a `struct X *`, was
        attached to the engine.
        """


@runtime_checkable
class FusingRings(Protocol):
    """Rings of a family that has a fused loop between its own ports, with the native engine."""

    def bind_forward(  # noqa: PLR0917 - as the engine's
        self,
        ports: Sequence[PortRings],
        links: Sequence[tuple[int, int]],
        batch: int,
        frame_op: str | None,
        limit: int,
        shared_cpu: bool,
        pause_ns: int,
    ) -> Callable[[], int]:
        """Fuse `links`; the other arguments are as in `engine.contract.FusingEngine`.

        `ports`: the rings of all the worker's ports; those of `links` are of this
        class.
        """


@runtime_checkable
class SourceRings(Protocol):
    """Rings that can be fed by a generator."""

    def bind_source(self, batch: Batch, frames: Frames) -> Callable[[], int]:
        """A callable that fills `batch` with due frames, as `engine.traffic.TrafficEngine` has it.

        `prepare_bodies` was called before.
        """


def open_rings(engine: Engine, port: int) -> PortRings:
    """Open the rings of a port, of whose family only the rings are imported.

    Raises UsageError for an engine that those cannot work with, ImportError if that
    takes C that is not compiled.
    """
    family = engine.memory.ports[port].family
    rings: PortRings = import_module(f"ixyfwd.nic.{family}.rings").open_rings(engine, port)
    return rings


def fusing(memory: EngineMemory, ports: Sequence[PortRings], links: Sequence[tuple[int, int]]) -> FusingRings | None:
    """The rings that can fuse these links, of one of their ports; None if no rings can.

    All ports must be of one family that offers a fused loop, and share device
    addresses.
    """
    linked = sorted({port for link in links for port in link})
    alike = {(memory.ports[port].family, memory.ports[port].dma) for port in linked}
    first = ports[linked[0]] if len(alike) == 1 else None
    return first if isinstance(first, FusingRings) else None


def bind_source(engine: Engine, rings: PortRings, port: int, batch: Batch, frames: Frames) -> Callable[[], int]:
    """A callable that generates `frames` into `batch`, for a port's tx ring. Raises UsageError without a generator."""
    engine.check_open()
    if not isinstance(rings, SourceRings):
        family = engine.memory.ports[port].family
        raise UsageError(f"ports of family {family} have no generator with the {engine.name} engine")
    prepare_bodies(engine.memory, frames.sizes)
    return rings.bind_source(batch, frames)
