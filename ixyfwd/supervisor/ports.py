"""The ports of a run: opened, brought up, stopped in order."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress

from ixyfwd.errors import DeviceGoneError, IxyfwdError
from ixyfwd.memory.arena import Arena
from ixyfwd.memory.layout import ArenaLayout, RingFormat, RingLayout
from ixyfwd.nic.check import check_limits
from ixyfwd.nic.contract import Attachment, Doorbell, NicPort, RegisterDoorbell
from ixyfwd.nic.registry import open_port
from ixyfwd.pci.function import DmaMap
from ixyfwd.pci.open import Opener
from ixyfwd.plan.plan import Plan, PortPlan
from ixyfwd.worker.spec import DoorbellSpec

_TAIL_BYTES = 4  # what a worker stores to notify a queue: its new tail


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

    def doorbells(self, queue: int) -> DoorbellSpec:
        """Where worker `queue` finds its tail registers. Raises DeviceError if the device lets nobody map them,
        IxyfwdError if they are none."""
        bells = self.driver.doorbells(queue)
        rx, tx = self._tail(bells.rx), self._tail(bells.tx)
        return DoorbellSpec(rx.window, rx.offset, tx.window, tx.offset)

    def _tail(self, bell: Doorbell) -> RegisterDoorbell:
        if isinstance(bell, RegisterDoorbell) and bell.width_bytes == _TAIL_BYTES and bell.value is None:
            return bell
        raise IxyfwdError(
            f"port {self.name} ({self.function.address}): its queues are not notified by tail registers, "
            "and workers can do nothing else yet"
        )


def open_ports(plan: Plan, sockets: Mapping[str, str], stack: ExitStack) -> list[Port]:
    """Open every port; `sockets` says where the `sim:` ports' model listens, by port name. Raises UsageError for a port
    whose family cannot do what the plan asks of it, before any of them was touched."""
    ports: list[Port] = []
    opener = stack.enter_context(Opener())
    for port in plan.ports:
        address = f"vfio-user:{sockets[port.name]}" if port.name in sockets else port.device
        driver = open_port(address, port.name, opener.open)
        stack.callback(driver.attachment.close)
        ports.append(Port(port, driver))
    for opened in ports:
        check_limits(opened.driver, opened.plan.options, plan.ring_entries, plan.interrupt_interval_us)
    return ports


def map_arena(ports: Sequence[Port], arena: Arena, stack: ExitStack) -> DmaMap:
    """Let every port reach the arena, at one set of device addresses: buffers travel between ports by index."""
    maps: list[DmaMap] = []
    for port in ports:
        maps.append(port.function.map_dma(arena.fd, arena.size))
        stack.callback(_unmap, port.function)
    for port, found in zip(ports, maps, strict=True):
        if found != maps[0]:
            raise IxyfwdError(
                f"ports {ports[0].name} and {port.name} see the arena at different device addresses; "
                "ports that are linked must share one address space"
            )
    return maps[0]


def _unmap(function: Attachment) -> None:
    """A device that is gone maps nothing any more."""
    with suppress(DeviceGoneError):
        function.unmap_dma()


def bring_up(port: Port, layout: ArenaLayout, dma: DmaMap, arena: Arena) -> None:
    """Reset and initialise a port and enable one queue pair per worker, whose rings are poisoned first."""
    driver = port.driver
    driver.reset_and_init(port.plan.options)
    for worker in layout.workers:
        rx, tx = worker.rx[port.index], worker.tx[port.index]
        for ring in (rx, tx):
            driver.poison(ring_memory(arena, ring, driver.limits.ring))
        driver.setup_rx_queue(worker.index, dma.address(rx.descriptors), rx.entries)
        driver.setup_tx_queue(worker.index, dma.address(tx.descriptors), tx.entries)


def ring_memory(arena: Arena, ring: RingLayout, format_: RingFormat) -> memoryview:
    """What a ring takes of the arena, as bytes."""
    return arena.view[ring.descriptors : ring.descriptors + format_.bytes_for(ring.entries)]
