"""What a family of network interfaces is, and what its ports can be asked.

The supervisor knows ports by `NicPort` only. It writes no register, reads no head and looks at no descriptor: what a
ring in the arena means, the family says. What workers do with the rings is the engines' side (`engine/contract.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ixyfwd.nic.limits import Limits
from ixyfwd.nic.options import PortOptions
from ixyfwd.pci.function import DmaMap, Function, Window


@dataclass(frozen=True)
class LinkState:
    """`speed_mbps` is 0 while the link is down. `reason`: why it is down, where the port can tell; else empty."""

    up: bool
    speed_mbps: int
    reason: str = ""


@dataclass(frozen=True)
class RegisterDoorbell:
    """A queue is notified by one store of `width_bytes` at `offset` of BAR0, inside `window`. `value`: what is stored;
    None: the ring's new tail."""

    window: Window
    offset: int
    width_bytes: int = 4
    value: int | None = None


@dataclass(frozen=True)
class CallDoorbell:
    """A queue is notified by a system call on `fd`; which call, the family's bursts know."""

    fd: int


Doorbell = RegisterDoorbell | CallDoorbell


@dataclass(frozen=True)
class Doorbells:
    """How a worker notifies the two rings of its queue."""

    rx: Doorbell
    tx: Doorbell


@dataclass(frozen=True)
class RingView:
    """What a worker left of a ring: its memory as bytes, and the words of its state (`memory.layout.RingLayout`)."""

    memory: memoryview
    entries: int
    next: int
    tail: int
    clean: int


@dataclass(frozen=True)
class QueueView:
    """What a worker left of its queue at a port. rx_packets, tx_packets: frames that it has taken and queued there, by
    its own count. segmented: a frame may fill several buffers."""

    rx: RingView
    tx: RingView
    rx_packets: int
    tx_packets: int
    segmented: bool


@dataclass(frozen=True)
class InFlight:
    """Frames between device and worker. received: in the rx ring, not taken; queued: in the tx ring, not sent."""

    received: int
    queued: int


class Statistics(Protocol):
    """Totals since bring-up, whatever the device's counters do: clear when they are read, wrap around, or go on from
    where an earlier driver left them."""

    @property
    def rx_packets(self) -> int:
        """Frames that passed the filters: delivered to a ring or dropped for want of room."""

    @property
    def rx_delivered(self) -> int:
        """Of these, frames written to a ring."""

    @property
    def rx_bytes(self) -> int:
        """Bytes of the frames delivered, without CRC."""

    @property
    def rx_no_descriptor(self) -> int:
        """Frames dropped because their ring had no free descriptor."""

    def no_descriptor(self, queue: int) -> int:
        """The same of one queue."""

    @property
    def rx_missed(self) -> int:
        """Frames dropped because the device had no room of its own."""

    @property
    def rx_errors(self) -> int:
        """Frames that the device refused: CRC, length, symbol errors."""

    @property
    def tx_packets(self) -> int:
        """Frames sent from the rings."""

    @property
    def tx_bytes(self) -> int:
        """Bytes sent from the rings, as the device counts them."""

    @property
    def pause_frames(self) -> Mapping[str, int]:
        """Pause frames by kind and direction: xon_received, xoff_received, xon_sent, xoff_sent."""


class Attachment(Protocol):
    """How a port reaches memory and gives messages. A PCI function (`pci.Function`) is one; what is none, such as a
    socket, has its own.

    address: for messages. removal_fd: becomes readable when the kernel wants the device back and waits for it; -1
    where nothing would say so.
    """

    address: str
    removal_fd: int

    def map_dma(self, fd: int, size: int) -> DmaMap:
        """Let the device reach the first `size` bytes of a shared file (the arena)."""

    def unmap_dma(self) -> None:
        """Take back what `map_dma` gave."""

    def interrupt_vectors(self) -> int:
        """How many messages `set_interrupts` can deliver; 0 where nothing would."""

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        """From now on message i counts up `eventfds[i]`, which stay the caller's; an empty sequence ends delivery."""

    def close(self) -> None:
        """Let go of the device; harmless when called twice."""


class NicPort(Protocol):
    """One port. The supervisor is its only user; workers touch rings and doorbells only.

    Methods raise DeviceTimeoutError (a bounded wait ran out), DeviceGoneError (the device is not there any more) and
    DeviceError; the message names the port.
    """

    name: str

    @property
    def attachment(self) -> Attachment: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def statistics(self) -> Statistics:
        """As of the last `read_statistics`."""

    @property
    def stop_problems(self) -> tuple[str, ...]:
        """A sentence for each step of `stop` that failed."""

    @property
    def mac(self) -> str:
        """The port's own address, once `reset_and_init` has run."""

    @property
    def chip(self) -> str:
        """What the port is, once `reset_and_init` has run: "X550-T2"."""

    @property
    def reta(self) -> tuple[int, ...]:
        """The RSS redirection table in force: a queue number for each entry."""

    @property
    def frames_wait(self) -> bool:
        """Whether frames may wait in the device, where no counter has them yet."""

    def reset_and_init(self, options: PortOptions) -> None:
        """Everything but queues and reception. Raises UsageError for a device that is not accepted or options that it
        cannot keep, before anything was touched."""

    def poison(self, ring: memoryview) -> None:
        """Fill a ring's memory, before its queue is enabled, with what must not be taken for a descriptor or for a
        finished one: what no worker wrote is then a fault and not an address that happens to be mapped."""

    def setup_rx_queue(self, queue: int, ring_address: int, entries: int) -> None:
        """Program and enable a receive queue, again if it ran before. It has no buffers then: the worker fills the
        ring, which is at `ring_address` for the device (a family whose rings are elsewhere looks there)."""

    def setup_tx_queue(self, queue: int, ring_address: int, entries: int) -> None:
        """Program and enable a transmit queue, again if it ran before. It is empty then."""

    def doorbells(self, queue: int) -> Doorbells:
        """How a worker notifies a queue. Raises DeviceError if workers cannot reach that."""

    def enable_interrupts(self, vectors: int, interval_us: int) -> None:
        """Message i tells of frames in receive queue i, at most once in `interval_us` microseconds, until `stop`. It
        must already have somewhere to go. Raises ValueError."""

    def start_receive(self) -> None:
        """Let frames in. Queues come first: frames for a disabled queue are lost."""

    def stop_receive(self) -> None:
        """No new frames enter the rings from here on; what is in them stays."""

    def disable_rx_queue(self, queue: int) -> None:
        """The device no longer touches the ring when this returns."""

    def disable_tx_queue(self, queue: int) -> None:
        """The device no longer touches the ring when this returns; what is not `sent` is lost."""

    def rx_progress(self, queue: int, view: QueueView) -> int:
        """A number that changes whenever frames have entered the queue's ring; its value means nothing else."""

    def in_flight(self, queue: int, view: QueueView) -> InFlight:
        """Frames in the rings of a queue; exact once nothing moves."""

    def sent(self, queue: int, view: QueueView) -> bool:
        """Whether the device has sent all that the worker has queued."""

    def steer(self, queues: Sequence[int]) -> None:
        """Let only these queues receive hashed frames, evenly; flows of queues that stay are not moved. Frames that
        are not hashed go to queue 0 all the same. Raises UsageError for an empty or wrong list."""

    def link(self) -> LinkState:
        """Link state now."""

    def retry_link(self) -> None:
        """Set a link that is down up again. Harmless where it is up."""

    def read_statistics(self, views: Sequence[QueueView] = ()) -> None:
        """Bring `statistics` up to date. At least every 50 s: counters of some devices are small. `views`: of all
        queues in use, for devices that count nothing themselves."""

    def stop(self) -> None:
        """Orderly stop; afterwards the memory may be freed. Safe at any stage of bring-up and when called again.
        Raises no DeviceError: see `stop_problems`."""


@dataclass(frozen=True)
class Chip:
    """A PCI device that a family drives. reta_entries: of its RSS redirection table."""

    vendor: int
    device: int
    name: str
    reta_entries: int


@dataclass(frozen=True)
class Refusal:
    """A PCI device that a family knows and does not drive; missing: what it would take, as a clause."""

    vendor: int
    device: int
    name: str
    missing: str


@dataclass(frozen=True)
class PciDevices:
    """Ports that are PCI functions. models: what messages call them all ("82599"). A chip wins over another family's
    refusal of it. `open` touches nothing but the function's configuration space."""

    models: tuple[str, ...]
    chips: tuple[Chip, ...]
    refusals: tuple[Refusal, ...]
    open: Callable[[Function, str], NicPort]


@dataclass(frozen=True)
class Scheme:
    """Ports that are no PCI functions. prefix: how their device addresses begin ("xdp:"), also in the family's
    `Limits.schemes`; `open` takes the whole address and the port's name."""

    prefix: str
    open: Callable[[str, str], NicPort]


@dataclass(frozen=True)
class Family:
    """A family: `ixyfwd/nic/NAME/family.py` has one as `FAMILY`, `NAME/limits.py` its `LIMITS`."""

    name: str
    limits: Limits
    pci: PciDevices | None = None
    scheme: Scheme | None = None
