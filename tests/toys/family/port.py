"""A port of the toy as the supervisor sees it."""

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ixyfwd.nic.toy.descriptors import ENTRY_BYTES, EXTRA_BYTES, POISON, Places, distance
from ixyfwd.nic.toy.device import Device, DeviceRing, Queue
from ixyfwd.nic.toy.limits import LIMITS

from ixyfwd.errors import DeviceError, UsageError
from ixyfwd.nic.contract import CallDoorbell, Doorbells, InFlight, LinkState, QueueView
from ixyfwd.nic.limits import Limits
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.rss import steer
from ixyfwd.pci.function import DmaMap

PAGE_BYTES = 2 << 20
BASE = 7 << 40  # device addresses that no other family has


@dataclass
class ToyStatistics:
    """See `nic.contract.Statistics`."""

    rx_packets: int = 0
    rx_bytes: int = 0
    rx_no_descriptor: int = 0
    rx_missed: int = 0
    rx_errors: int = 0
    rx_too_long: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    pause_frames: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(("xon_received", "xoff_received", "xon_sent", "xoff_sent"), 0)
    )

    queues: Sequence[tuple[int, int]] = ()  # frames received and sent, of each

    @property
    def rx_delivered(self) -> int:
        """All of them: see `no_descriptor`."""
        return self.rx_packets

    def delivered(self, queue: int) -> int:
        return self.queues[queue][0] if self.queues else 0

    def transmitted(self, queue: int) -> int:
        return self.queues[queue][1] if self.queues else 0

    def no_descriptor(self, queue: int) -> int:
        """The device makes no frame without a descriptor for it."""
        return 0


class ToyAttachment:
    """See `nic.contract.Attachment`: the arena mapped into this process."""

    removal_fd = -1

    def __init__(self, address: str, device: Device) -> None:
        self.address = address
        self._device = device
        self._mapping: mmap.mmap | None = None

    def map_dma(self, fd: int, size: int) -> DmaMap:
        """Device addresses are offsets from BASE."""
        self._mapping = mmap.mmap(fd, size)
        self._device.memory, self._device.base = memoryview(self._mapping), BASE
        return DmaMap(PAGE_BYTES, tuple(range(BASE, BASE + size, PAGE_BYTES)))

    def unmap_dma(self) -> None:
        """The port was stopped."""
        if self._mapping is not None:
            self._device.memory.release()
            self._mapping.close()
            self._mapping = None

    def interrupt_vectors(self) -> int:
        """None."""
        return 0

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        """There are none."""
        if eventfds:
            raise ValueError(f"{self.address}: a toy has no interrupts")

    def close(self) -> None:
        """Let go."""
        self._device.close()


class ToyPort:
    """See `nic.contract.NicPort`. Its address is "toy:NAME/FRAMES" or "toy:NAME/FRAMES/SENDS": see `Device`."""

    def __init__(self, address: str, name: str) -> None:
        numbers = address.split("/")[1:]
        if len(numbers) not in (1, 2) or not all(number.isdecimal() for number in numbers):
            raise UsageError(f"port {name}: {address}: expected toy:NAME/FRAMES or toy:NAME/FRAMES/SENDS")
        self.name = name
        self.device = Device(int(numbers[0]), int(numbers[1]) if numbers[1:] else 1 << 62)
        self.attachment = ToyAttachment(address, self.device)
        self.statistics = ToyStatistics()
        self.stop_problems: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self.mac, self.chip = "02:00:00:00:00:70", "toy"
        self.reta: tuple[int, ...] = ()
        self.frames_wait = False
        self._options = PortOptions()

    @property
    def limits(self) -> Limits:
        return LIMITS

    def reset_and_init(self, options: PortOptions) -> None:
        self._options = options
        self.reta = options.rss.table(LIMITS.reta_sizes[0])
        self.device.queues = [Queue() for _ in range(options.rss.queues)]

    def poison(self, ring: memoryview) -> None:
        """Descriptors are no addresses; the index rings are empty, as the device reads them."""
        at = 4 * Places((len(ring) - EXTRA_BYTES) // ENTRY_BYTES).available_index
        ring[:at] = bytes([POISON]) * at
        ring[at:] = bytes(len(ring) - at)

    def setup_rx_queue(self, queue: int, ring_address: int, entries: int) -> None:
        with self.device.lock:
            self.device.queues[queue].rx = self._ring(ring_address, entries)

    def setup_tx_queue(self, queue: int, ring_address: int, entries: int) -> None:
        with self.device.lock:
            self.device.queues[queue].tx = self._ring(ring_address, entries)
        if queue == len(self.device.queues) - 1:
            self.device.start()

    def _ring(self, ring_address: int, entries: int) -> DeviceRing:
        at = ring_address - BASE
        try:
            return DeviceRing(self.device.memory[at : at + LIMITS.ring.bytes_for(entries)].cast("I"), entries)
        except ValueError as error:
            raise DeviceError(f"port {self.name}: {error}") from None

    def doorbells(self, queue: int) -> Doorbells:
        pair = self.device.queues[queue]
        return Doorbells(CallDoorbell(pair.rx_bell), CallDoorbell(pair.tx_bell))

    def enable_interrupts(self, vectors: int, interval_us: int) -> None:
        raise ValueError("a toy has no interrupts")

    def start_receive(self) -> None:
        with self.device.lock:
            self.device.receiving = True

    def stop_receive(self) -> None:
        with self.device.lock:
            self.device.receiving = False

    def disable_rx_queue(self, queue: int) -> None:
        with self.device.lock:
            _let_go(self.device.queues[queue].rx)
            self.device.queues[queue].rx = None

    def disable_tx_queue(self, queue: int) -> None:
        with self.device.lock:
            _let_go(self.device.queues[queue].tx)
            self.device.queues[queue].tx = None

    def rx_progress(self, queue: int, view: QueueView) -> int:
        return _indices(view.rx.memory, view.rx.entries)[1]

    def in_flight(self, queue: int, view: QueueView) -> InFlight:
        """Used and not taken; available and not used."""
        _, received = _indices(view.rx.memory, view.rx.entries)
        available, used = _indices(view.tx.memory, view.tx.entries)
        return InFlight(distance(view.rx.next, received), distance(used, available))

    def sent(self, queue: int, view: QueueView) -> bool:
        return _indices(view.tx.memory, view.tx.entries)[1] == view.tx.tail

    def steer(self, queues: Sequence[int]) -> None:
        self.reta = steer(self._options.rss.table(LIMITS.reta_sizes[0]), self._options.rss.queues, queues)

    def link(self) -> LinkState:
        return LinkState(True, 10_000)

    def retry_link(self) -> None:
        pass

    def read_statistics(self, views: Sequence[QueueView] = ()) -> None:
        with self.device.lock:
            by_queue = [(queue.received, queue.sent) for queue in self.device.queues]
            self.statistics = ToyStatistics(**self.device.counts, queues=by_queue)

    def stop(self) -> None:
        """Its problems are what the device had to object to."""
        self.device.stop()
        if self.device.counts["tx_packets"] and not self.device.called:
            self.device.faults.append("frames left that the device was never notified of")
        for queue in range(len(self.device.queues)):
            self.disable_rx_queue(queue)
            self.disable_tx_queue(queue)
        self.stop_problems = tuple(f"port {self.name}: {fault}" for fault in self.device.faults[:3])


def _indices(ring: memoryview, entries: int) -> tuple[int, int]:
    """The available and the used index of a ring."""
    places = Places(entries)
    words = ring.cast("I")
    return words[places.available_index], words[places.used_index]


def _let_go(ring: DeviceRing | None) -> None:
    if ring is not None:
        ring.words.release()
