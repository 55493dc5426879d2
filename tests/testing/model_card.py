"""A model port as the function of a driver in the same process, with one clock for both."""

from collections.abc import Sequence

from ixyfwd.errors import DeviceError
from ixyfwd.nic.ixgbe.device import Ixgbe
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.rss import RssOptions
from ixyfwd.pci.function import DmaMap, Window
from tests.testing.model_fakes import Bench

QUEUES = 2
OPTIONS = PortOptions(rss=RssOptions(queues=QUEUES))
RINGS = 0x10_0000_0000
COMMAND_BUS_MASTER = 1 << 2


class Card:
    """Registers of a `Bench` for `Ixgbe`; time passes only when the driver sleeps. `card.bench` has its other side.

    `log` holds what the driver wrote, ("AUTOC", 0, value), in order.
    """

    def __init__(self, device_id: int = 0x10FB, *, module: bool = True) -> None:
        self.bench = Bench(device_id, module=module)
        self.address = "localhost:card"
        self.removal_fd = -1
        self.log: list[tuple[str, int, int]] = []
        self._names = {cell.word * 4: (name, index) for (name, index), cell in self.bench.map.named.items()}
        self.driver = Ixgbe(self, "p0", self)

    def inject(self, kind: str, **parameters: object) -> None:
        """Begin an injection."""
        self.bench.port.injector.begin(kind, {name.replace("_", "-"): value for name, value in parameters.items()})

    def count(self, kind: str) -> int:
        """How often an injection acted."""
        return self.bench.port.injector.report()[kind]["count"]

    def bring_up(self, options: PortOptions = OPTIONS) -> None:
        """What the supervisor does before frames flow."""
        self.driver.reset_and_init(options)
        for queue in range(options.rss.queues):
            self.driver.setup_rx_queue(queue, RINGS + 0x10000 * queue, 512)
            self.driver.setup_tx_queue(queue, RINGS + 0x10000 * queue + 0x8000, 1024)
        self.driver.start_receive()

    def values(self) -> dict[tuple[str, int], int]:
        """Every register as it is stored."""
        return {place: self.bench.datapath.store[cell.word] for place, cell in self.bench.map.named.items()}

    # Clock

    def now(self) -> float:
        return self.bench.clock.ns / 1e9

    def sleep(self, seconds: float) -> None:
        self.bench.clock.ns += max(1, round(seconds * 1e9))
        self.bench.port.tick()

    # Function

    def read_config(self, offset: int, size: int) -> int:
        return self.bench.config(offset, size)

    def write_config(self, offset: int, size: int, value: int) -> None:
        self.bench.write_config(offset, size, value)

    def read32(self, offset: int) -> int:
        return self.bench.read_at(offset)

    def write32(self, offset: int, value: int) -> None:
        self.log.append((*self._names.get(offset, ("?", offset)), value))
        self.bench.write_at(offset, value)

    def set_bus_master(self, on: bool) -> None:
        command = self.read_config(4, 2)
        self.write_config(4, 2, command | COMMAND_BUS_MASTER if on else command & ~COMMAND_BUS_MASTER)

    def map_dma(self, fd: int, size: int) -> DmaMap:
        raise DeviceError("not for this card")

    def unmap_dma(self) -> None:
        raise DeviceError("not for this card")

    def window(self, bar_offset: int, size: int) -> Window | None:
        return None

    def interrupt_vectors(self) -> int:
        return 0

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        raise DeviceError("not for this card")

    def reset(self) -> None:
        self.bench.port.reset()

    def close(self) -> None:
        pass
