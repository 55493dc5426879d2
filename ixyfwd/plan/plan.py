"""The plan of a run: its workers and their CPUs, its rings and buffers, its ports and their options.

Every process and every module of the supervisor takes its part of this value; none
derives its share from the configuration again. A plan holds no resource of the machine:
no descriptor, no path, no address of memory.
"""

from dataclasses import dataclass
from typing import Any, Literal

from ixyfwd.config.schema import EngineName, Idle, RecoveryConfig, RssConfig
from ixyfwd.memory.layout import ArenaLayout, WorkerLayout
from ixyfwd.model.wires.contract import Wire
from ixyfwd.nic.options import PortOptions
from ixyfwd.programs.contract import ProgramOptions
from ixyfwd.roles.contract import RoleOrder

DeviceKind = Literal["model", "wire", "mixed"]


@dataclass(frozen=True)
class PortPlan:
    """A port of the run.

    `device`: as in the configuration. `options`: the driver's; entry e of the
    redirection table belongs to queue `options.rss.table(entries)[e]`, and queue i to
    worker i.
    """

    index: int
    name: str
    device: str
    options: PortOptions


@dataclass(frozen=True)
class WorkerPlan:
    """A worker of the run. `links`: (rx port, tx port) by index. `cpu` None: not pinned."""

    index: int
    cpu: int | None
    shared_cpu: bool  # another process of the run polls there, too
    layout: WorkerLayout
    links: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ModelPortPlan:
    """A port that the model plays.

    `mac`: the address in its NVM. `wire`: the far end of its cable. `device_id`: its
    PCI device id; None: the default.
    """

    name: str
    mac: str
    wire: Wire
    device_id: int | None


@dataclass(frozen=True)
class ModelPlan:
    """The process that plays the `sim:` ports. `cpu` None: not pinned."""

    cpu: int | None
    shared_cpu: bool
    ports: tuple[ModelPortPlan, ...]


@dataclass(frozen=True)
class LoopPlan:
    """What every worker does: `config.schema.ForwardConfig` says what the words mean. `order`: what workers are.
    `frame_op`: where the loop is fused, the program in it that does something to frames, if any."""

    order: RoleOrder[Any]
    engine: EngineName
    programs: tuple[ProgramOptions, ...]
    frame_op: str | None
    batch: int
    idle: Idle
    fused: bool
    segmented: bool
    collect_garbage: bool
    fused_only: bool = False  # asked for, not chosen


@dataclass(frozen=True)
class Plan:
    """The plan of a whole run.

    `main_cpu`: the supervisor's; None: not pinned. `interrupt_interval_us` None: no
    interrupts.
    """

    instance: str
    device: DeviceKind
    main_cpu: int | None
    nice: int
    ports: tuple[PortPlan, ...]
    workers: tuple[WorkerPlan, ...]
    model: ModelPlan | None
    loop: LoopPlan
    rss: RssConfig
    arena: ArenaLayout
    backing: str
    interrupt_interval_us: int | None
    link_timeout_s: float
    recovery: RecoveryConfig

    @property
    def ring_entries(self) -> int:
        """The number of descriptors in each ring; 0 without workers."""
        return self.arena.workers[0].rx[0].entries if self.arena.workers else 0
