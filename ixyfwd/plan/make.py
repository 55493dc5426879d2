"""`make_plan`: from a configuration and a machine to a plan, as a pure function."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ixyfwd.config.arena import arena_of
from ixyfwd.config.placement import Placement, place
from ixyfwd.config.schema import Config, PortConfig
from ixyfwd.memory.layout import ArenaLayout
from ixyfwd.model.spec import default_mac
from ixyfwd.nic.options import FlowControl, PortOptions
from ixyfwd.nic.rss import RssOptions
from ixyfwd.plan.plan import (
    DeviceKind,
    LoopPlan,
    ModelPlan,
    ModelPortPlan,
    Plan,
    PortPlan,
    WorkerPlan,
)
from ixyfwd.programs.registry import frame_op
from ixyfwd.roles.contract import RoleOrder
from ixyfwd.roles.registry import default_order


@dataclass(frozen=True)
class MachineCpus:
    """The machine as far as a plan depends on it. `cpus`: those that this process may use, at least one."""

    cpus: Collection[int]


def make_plan(config: Config, machine: MachineCpus, order: RoleOrder[Any] | None = None) -> Plan:
    """The plan of a run of `config` on `machine`; `order`: what workers are, None: the default role."""
    placement = place(config, machine.cpus)
    arena = arena_of(config, len(placement.workers))
    forward = config.forward
    return Plan(
        instance=config.instance,
        device=device_kind(config),
        main_cpu=placement.main,
        nice=config.cpu.nice,
        ports=tuple(_port(config, port, index, len(arena.workers)) for index, port in enumerate(config.ports)),
        workers=_workers(config, placement, arena),
        model=_model(config, placement),
        loop=LoopPlan(
            order=order or default_order(),
            engine=forward.engine,
            programs=forward.programs,
            frame_op=frame_op(forward.programs) if forward.fused else None,
            batch=forward.batch,
            idle=forward.idle,
            fused=forward.fused,
            segmented=forward.segmented,
            collect_garbage=forward.collect_garbage,
            fused_only=forward.loop == "fused",
        ),
        rss=config.rss,
        arena=arena,
        backing=config.memory.backing,
        interrupt_interval_us=forward.interrupt_interval_us if forward.idle == "interrupt" else None,
        link_timeout_s=config.start.link_timeout_s,
        recovery=config.recovery,
    )


def device_kind(config: Config) -> DeviceKind:
    """The kind of the ports, all together: "model", "wire" or "mixed".

    Reports carry it, so that a figure on the model never looks like one on the wire.
    """
    kinds: set[DeviceKind] = {
        "model" if port.device.startswith(("sim:", "vfio-user:")) else "wire" for port in config.ports
    }
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _port(config: Config, port: PortConfig, index: int, queues: int) -> PortPlan:
    options = PortOptions(
        promiscuous=port.promiscuous,
        mac_filters=port.mac_filters,
        mac=port.mac,
        flow_control=FlowControl(port.flow_control),
        max_frame_bytes=config.forward.max_frame,
        rss=RssOptions(queues=queues, key=config.rss.key, fields=config.rss.fields),
    )
    return PortPlan(index, port.name, port.device, options)


def _workers(config: Config, placement: Placement, arena: ArenaLayout) -> tuple[WorkerPlan, ...]:
    index = config.port_index()
    pairs = [(index[a], index[b]) for a, b in config.links]
    links = tuple(way for a, b in pairs for way in ((a, b), (b, a)))
    return tuple(
        WorkerPlan(layout.index, placement.workers[layout.index], placement.shared, layout, links)
        for layout in arena.workers
    )


def _model(config: Config, placement: Placement) -> ModelPlan | None:
    ports = tuple(
        ModelPortPlan(port.name, default_mac(index), port.wire.for_mtu(config.forward.mtu), port.device_id)
        for index, port in enumerate(config.ports)
        if port.wire is not None
    )
    return ModelPlan(placement.model, placement.shared, ports) if ports else None
