"""What a worker process is asked to be. Plain data that passes through JSON; descriptors travel by number."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ixyfwd.memory.layout import WorkerLayout, worker_from_json
from ixyfwd.pci.function import DmaMap, Window
from ixyfwd.roles.contract import RoleOrder
from ixyfwd.roles.registry import order_from_json

IdlePolicy = Literal["spin", "adaptive", "sleep", "interrupt"]


@dataclass(frozen=True)
class RegisterSpec:
    """A doorbell in an inherited window of BAR0: a store of `width_bytes` at the BAR0 offset `offset`.

    `value`: what is stored; None: the ring's new tail.
    """

    window: Window
    offset: int
    width_bytes: int = 4
    value: int | None = None


@dataclass(frozen=True)
class CallSpec:
    """A doorbell that is a system call on an inherited descriptor."""

    fd: int


BellSpec = RegisterSpec | CallSpec


@dataclass(frozen=True)
class WorkerPortSpec:
    """A port: its NIC family, where its device finds the arena, the doorbells of the worker's two rings there."""

    family: str
    dma: DmaMap
    rx: BellSpec
    tx: BellSpec


@dataclass(frozen=True)
class WorkerSpec:
    """One worker. `order`: what it is, and what it does.

    `interrupt_fds`: the eventfd that each port's interrupt counts up; empty unless `idle` is "interrupt".
    """

    index: int
    cpu: int | None
    nice: int
    shared_cpu: bool  # other busy processes run there: never spin
    arena_fd: int
    arena_bytes: int
    layout: WorkerLayout
    ports: tuple[WorkerPortSpec, ...]
    engine: str
    batch: int
    idle: IdlePolicy
    order: RoleOrder[Any]
    segmented: bool = False  # frames may span several buffers
    interrupt_fds: tuple[int, ...] = ()
    collect_garbage: bool = False  # let Python's collector run; only to measure what it costs

    @property
    def watches_pauses(self) -> bool:
        """Whether it counts its pauses. Where others poll on the same CPU, their turns are none."""
        return not self.shared_cpu

    def as_json(self) -> dict[str, Any]:
        """Plain data for `from_json` in the worker process."""
        return {**asdict(self), "order": self.order.as_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "WorkerSpec":
        """The inverse of `as_json`."""
        return cls(
            **{
                **data,
                "layout": worker_from_json(data["layout"]),
                "ports": tuple(_port(port) for port in data["ports"]),
                "interrupt_fds": tuple(data["interrupt_fds"]),
                "order": order_from_json(data["order"]),
            }
        )

    def inherited_fds(self) -> tuple[int, ...]:
        """Descriptors that must be open in the worker under the same numbers."""
        bells = [bell for port in self.ports for bell in (port.rx, port.tx)]
        doorbells = [bell.fd if isinstance(bell, CallSpec) else bell.window.fd for bell in bells]
        return tuple(sorted({self.arena_fd, *doorbells, *self.interrupt_fds, *self.order.inherited_fds}))


def _port(data: Mapping[str, Any]) -> WorkerPortSpec:
    dma = DmaMap(data["dma"]["page_bytes"], tuple(data["dma"]["pages"]))
    return WorkerPortSpec(data["family"], dma, _bell(data["rx"]), _bell(data["tx"]))


def _bell(data: Mapping[str, Any]) -> BellSpec:
    return RegisterSpec(**{**data, "window": Window(**data["window"])}) if "window" in data else CallSpec(**data)
