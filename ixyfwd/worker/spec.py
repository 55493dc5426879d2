"""What a worker process is asked to be. Plain data that passes through JSON; descriptors travel by number."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ixyfwd.memory.layout import WorkerLayout, worker_from_json
from ixyfwd.pci.function import DmaMap, Window
from ixyfwd.worker.order import CaptureOrder, Order, order_from_json

IdlePolicy = Literal["spin", "adaptive", "sleep", "interrupt"]


@dataclass(frozen=True)
class RegisterSpec:
    """A doorbell in an inherited window of BAR0: a store of `width_bytes` at `offset`, a BAR0 offset. `value`: what is
    stored; None: the ring's new tail."""

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
class PortSpec:
    """A port: its NIC family, where its device finds the arena, the doorbells of the worker's two rings there."""

    family: str
    dma: DmaMap
    rx: BellSpec
    tx: BellSpec


@dataclass(frozen=True)
class ProgramSpec:
    """A program with its settings as plain data, and whether it gives verdicts."""

    name: str
    options: Mapping[str, Any]
    decides: bool


@dataclass(frozen=True)
class WorkerSpec:
    """One worker. `links` are (rx port, tx port) pairs by index into `ports`.

    `interrupt_fds`: the eventfd that each port's interrupt counts up; empty unless `idle` is "interrupt".
    """

    index: int
    cpu: int | None
    nice: int
    shared_cpu: bool  # other busy processes run there: never spin
    arena_fd: int
    arena_bytes: int
    layout: WorkerLayout
    ports: tuple[PortSpec, ...]
    links: tuple[tuple[int, int], ...]
    engine: str
    programs: tuple[ProgramSpec, ...]
    batch: int
    idle: IdlePolicy
    fused: bool  # the whole loop in C
    frame_op: str | None = None  # the program that is in it, one with a `frame.h`
    segmented: bool = False  # frames may span several buffers
    interrupt_fds: tuple[int, ...] = ()
    traffic: Order | None = None  # an end of the traffic instead of a forwarder: one port, no links
    collect_garbage: bool = False  # let Python's collector run; only to measure what it costs

    @property
    def watches_pauses(self) -> bool:
        """Whether it counts its pauses. Where others poll on the same CPU, their turns are none."""
        return not self.shared_cpu

    def as_json(self) -> dict[str, Any]:
        """Plain data for `from_json` in the worker process."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "WorkerSpec":
        """The inverse of `as_json`."""
        return cls(
            **{
                **data,
                "layout": worker_from_json(data["layout"]),
                "ports": tuple(_port(port) for port in data["ports"]),
                "programs": tuple(ProgramSpec(**program) for program in data["programs"]),
                "links": tuple((a, b) for a, b in data["links"]),
                "interrupt_fds": tuple(data["interrupt_fds"]),
                "traffic": order_from_json(data["traffic"]),
            }
        )

    def inherited_fds(self) -> tuple[int, ...]:
        """Descriptors that must be open in the worker under the same numbers."""
        bells = [bell for port in self.ports for bell in (port.rx, port.tx)]
        doorbells = [bell.fd if isinstance(bell, CallSpec) else bell.window.fd for bell in bells]
        file = {self.traffic.fd} if isinstance(self.traffic, CaptureOrder) and self.traffic.fd is not None else set()
        return tuple(sorted({self.arena_fd, *doorbells, *self.interrupt_fds, *file}))


def _port(data: Mapping[str, Any]) -> PortSpec:
    dma = DmaMap(data["dma"]["page_bytes"], tuple(data["dma"]["pages"]))
    return PortSpec(data["family"], dma, _bell(data["rx"]), _bell(data["tx"]))


def _bell(data: Mapping[str, Any]) -> BellSpec:
    return RegisterSpec(**{**data, "window": Window(**data["window"])}) if "window" in data else CallSpec(**data)
