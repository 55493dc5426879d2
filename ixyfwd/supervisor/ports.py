"""The ports of a run: opened, brought up, stopped in order."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from ixyfwd.errors import DeviceGoneError, UsageError
from ixyfwd.memory.arena import Arena
from ixyfwd.memory.layout import ArenaLayout, RingFormat, RingLayout, WorkerLayout
from ixyfwd.nic.check import check_limits
from ixyfwd.nic.contract import Attachment, CallDoorbell, Doorbell, NicPort
from ixyfwd.nic.registry import open_port
from ixyfwd.pci.function import DmaMap
from ixyfwd.pci.open import Opener
from ixyfwd.plan.plan import Plan, PortPlan
from ixyfwd.worker.spec import BellSpec, CallSpec, RegisterSpec, WorkerPortSpec


class Port:
    """One port: its part of the plan, its driver, how that is reached."""

    def __init__(self, plan: PortPlan, driver: NicPort) -> None:
        self.plan = plan
        self.index = plan.index
        self.name = plan.name
        self.driver = driver

    @property
    def function(self) -> Attachment:
        """How the port reaches memory and gives messages."""
        return self.driver.attachment

    def spec(self, queue: int, dma: DmaMap) -> WorkerPortSpec:
        """The port as worker `queue` needs it. Raises DeviceError if workers cannot reach its doorbells."""
        bells = self.driver.doorbells(queue)
        return WorkerPortSpec(self.driver.limits.family, dma, _spec_of(bells.rx), _spec_of(bells.tx))


def _spec_of(bell: Doorbell) -> BellSpec:
    if isinstance(bell, CallDoorbell):
        return CallSpec(bell.fd)
    return RegisterSpec(bell.window, bell.offset, bell.width_bytes, bell.value)


def open_ports(plan: Plan, sockets: Mapping[str, str], stack: ExitStack) -> list[Port]:
    """Open every port; `sockets` says where the `sim:` ports' model listens, by port name.

    Raises UsageError for a port whose family cannot do what plan and order ask of it, before any of them was touched.
    """
    ports: list[Port] = []
    opener = stack.enter_context(Opener())
    for port in plan.ports:
        address = f"vfio-user:{sockets[port.name]}" if port.name in sockets else port.device
        driver = open_port(address, port.name, opener.open)
        stack.callback(driver.attachment.close)
        ports.append(Port(port, driver))
    for opened in ports:
        check_limits(opened.driver, opened.plan.options, plan.ring_entries, plan.interrupt_interval_us)
        refusal = plan.loop.order.refusal(opened.driver.limits)
        if refusal is not None:
            raise UsageError(f"port {opened.name} ({opened.function.address}): {refusal}")
    return ports


def map_arena(ports: Sequence[Port], arena: Arena, stack: ExitStack) -> list[DmaMap]:
    """Let every port reach the arena; where each finds it. Buffers travel between ports by index."""
    maps: list[DmaMap] = []
    for port in ports:
        maps.append(port.function.map_dma(arena.fd, arena.size))
        stack.callback(_unmap, port.function)
    return maps


def settle_loop(plan: Plan, ports: Sequence[Port], maps: Sequence[DmaMap]) -> Plan:
    """The plan with the loop that these ports have.

    A fused one is between ports of one family that offers it, at one set of device addresses. Raises UsageError if only
    a fused one was asked for.
    """
    if not plan.loop.fused:
        return plan
    limits = [port.driver.limits for port in ports]
    families = sorted({of.family for of in limits})
    if len(families) == len(set(maps)) == 1 and all(of.fused_loop for of in limits):
        return plan
    if plan.loop.fused_only:
        raise UsageError(
            '[forward] loop: found "fused", which is for links within one NIC family that offers it, at one set of '
            f'device addresses, but the ports are of {" and ".join(families)}; expected "auto" or "python"'
        )
    return replace(plan, loop=replace(plan.loop, fused=False, frame_op=None))


def _unmap(function: Attachment) -> None:
    """Unmap the arena; a device that is gone has no mapping any more."""
    with suppress(DeviceGoneError):
        function.unmap_dma()


def bring_up(port: Port, layout: ArenaLayout, dma: DmaMap, arena: Arena) -> None:
    """Reset and initialise a port and enable one queue pair per worker, whose rings are poisoned first."""
    driver = port.driver
    driver.reset_and_init(port.plan.options)
    for worker in layout.workers:
        set_up_queues(port, worker, dma, arena)


def set_up_queues(port: Port, worker: WorkerLayout, dma: DmaMap, arena: Arena) -> None:
    """Enable a worker's queue pair at a port, which is disabled, with rings that are poisoned and empty."""
    set_up_rx_queue(port, worker, dma, arena)
    set_up_tx_queue(port, worker, dma, arena)


def set_up_rx_queue(port: Port, worker: WorkerLayout, dma: DmaMap, arena: Arena) -> None:
    """Enable the receive queue of a worker's pair."""
    ring = worker.rx[port.index]
    port.driver.poison(ring_memory(arena, ring, port.driver.limits.ring))
    port.driver.setup_rx_queue(worker.index, dma.address(ring.descriptors), ring.entries)


def set_up_tx_queue(port: Port, worker: WorkerLayout, dma: DmaMap, arena: Arena) -> None:
    """Enable the transmit queue of a worker's pair."""
    ring = worker.tx[port.index]
    port.driver.poison(ring_memory(arena, ring, port.driver.limits.ring))
    port.driver.setup_tx_queue(worker.index, dma.address(ring.descriptors), ring.entries)


def ring_memory(arena: Arena, ring: RingLayout, format_: RingFormat) -> memoryview:
    """The part of the arena that a ring takes, uint8[bytes]."""
    return arena.view[ring.descriptors : ring.descriptors + format_.bytes_for(ring.entries)]
