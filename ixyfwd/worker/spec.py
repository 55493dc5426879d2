"""What a worker process is asked to be. Plain data that passes through JSON; descriptors travel by number."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ixyfwd.memory.layout import WorkerLayout, worker_from_json
from ixyfwd.pci.function import DmaMap, Window
from ixyfwd.worker.order import CaptureOrder, Order, order_from_json

IdlePolicy = Literal["spin", "adaptive", "sleep", "interrupt"]


@dataclass(frozen=True)
class DoorbellSpec:
    """Where a port's two tail registers are: an inherited window each, and the registers' BAR0 offsets."""

    rx_window: Window
    rdt: int
    tx_window: Window
    tdt: int


@dataclass(frozen=True)
class ProgramSpec:
    """A program with its settings as plain data, and whether it gives verdicts."""

    name: str
    options: Mapping[str, Any]
    decides: bool


@dataclass(frozen=True)
class WorkerSpec:
    """One worker. `links` are (rx port, tx port) pairs by index; `doorbells` are by port.

    `interrupt_fds`: the eventfd that each port's interrupt counts up; empty unless `idle` is "interrupt".
    """

    index: int
    cpu: int | None
    nice: int
    shared_cpu: bool  # other busy processes run there: never spin
    arena_fd: int
    arena_bytes: int
    layout: WorkerLayout
    dma: DmaMap
    doorbells: tuple[DoorbellSpec, ...]
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
        doorbells = tuple(
            DoorbellSpec(Window(**d["rx_window"]), d["rdt"], Window(**d["tx_window"]), d["tdt"])
            for d in data["doorbells"]
        )
        return cls(
            **{
                **data,
                "layout": worker_from_json(data["layout"]),
                "dma": DmaMap(data["dma"]["page_bytes"], tuple(data["dma"]["pages"])),
                "doorbells": doorbells,
                "programs": tuple(ProgramSpec(**program) for program in data["programs"]),
                "links": tuple((a, b) for a, b in data["links"]),
                "interrupt_fds": tuple(data["interrupt_fds"]),
                "traffic": order_from_json(data["traffic"]),
            }
        )

    def inherited_fds(self) -> tuple[int, ...]:
        """Descriptors that must be open in the worker under the same numbers."""
        windows = [w for d in self.doorbells for w in (d.rx_window, d.tx_window)]
        file = {self.traffic.fd} if isinstance(self.traffic, CaptureOrder) and self.traffic.fd is not None else set()
        return tuple(sorted({self.arena_fd, *(w.fd for w in windows), *self.interrupt_fds, *file}))
