"""The ports of a run: opened, brought up, stopped in order."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress

from ixyfwd.errors import DeviceError, DeviceGoneError, IxyfwdError
from ixyfwd.memory.arena import Arena
from ixyfwd.memory.layout import ArenaLayout
from ixyfwd.nic.ixgbe.device import Ixgbe, rdt_offset, tdt_offset
from ixyfwd.pci.function import DmaMap, Function, Window
from ixyfwd.pci.open import Opener
from ixyfwd.plan.plan import Plan, PortPlan
from ixyfwd.worker.spec import DoorbellSpec

_PAGE_BYTES = 4096


class Port:
    """One port: its part of the plan, how it is reached, its driver."""

    def __init__(self, plan: PortPlan, function: Function) -> None:
        self.plan = plan
        self.index = plan.index
        self.name = plan.name
        self.function = function
        self.driver = Ixgbe(function, plan.name)

    def doorbells(self, queue: int) -> DoorbellSpec:
        """Where worker `queue` finds its tail registers. Raises DeviceError if the device lets nobody map them."""
        rdt, tdt = rdt_offset(queue), tdt_offset(queue)
        return DoorbellSpec(self._window(rdt), rdt, self._window(tdt), tdt)

    def _window(self, offset: int) -> Window:
        """The single page around a register: a worker maps what it needs and no more."""
        window = self.function.window(offset, 4)
        if window is None:
            raise DeviceError(
                f"port {self.name} ({self.function.address}): the device offers no mapping of BAR0 at {offset:#x}; "
                "workers need the doorbell pages (start the bundled model with `ixyfwd model --mmap`)"
            )
        skip = (offset - window.bar_offset) // _PAGE_BYTES * _PAGE_BYTES
        return Window(window.fd, window.file_offset + skip, window.bar_offset + skip, _PAGE_BYTES)


def open_ports(plan: Plan, sockets: Mapping[str, str], stack: ExitStack) -> list[Port]:
    """Open every port's function; `sockets` says where the `sim:` ports' model listens, by port name."""
    ports: list[Port] = []
    opener = stack.enter_context(Opener())
    for port in plan.ports:
        address = f"vfio-user:{sockets[port.name]}" if port.name in sockets else port.device
        function = opener.open(address)
        stack.callback(function.close)
        ports.append(Port(port, function))
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


def _unmap(function: Function) -> None:
    """A device that is gone maps nothing any more."""
    with suppress(DeviceGoneError):
        function.unmap_dma()


def bring_up(port: Port, layout: ArenaLayout, dma: DmaMap, arena: Arena) -> None:
    """Reset and initialise a port and enable one queue pair per worker. Rings are poisoned first: a descriptor that
    nobody wrote is all ones, not an address that happens to be mapped."""
    port.driver.reset_and_init(port.plan.options)
    for worker in layout.workers:
        for ring in (worker.rx[port.index], worker.tx[port.index]):
            arena.view[ring.descriptors : ring.descriptors + 16 * ring.entries] = b"\xff" * (16 * ring.entries)
        rx, tx = worker.rx[port.index], worker.tx[port.index]
        port.driver.setup_rx_queue(worker.index, dma.address(rx.descriptors), rx.entries)
        port.driver.setup_tx_queue(worker.index, dma.address(tx.descriptors), tx.entries)
