"""The contract of a family of network interfaces and of its ports.

The supervisor knows ports by `NicPort` only. It writes no register, reads no head and
looks at no descriptor: the family interprets the rings in the arena. The workers' side
of the rings is in `engine/contract.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ixyfwd.nic.limits import Limits
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.report import Reports
from ixyfwd.pci.function import DmaMap, Function, Window


@dataclass(frozen=True)
class LinkState:
    """The state of a link.

    `speed_mbps`: in Mbit/s, 0 while the link is down. `reason`: why it is down, where
    the port can tell; else empty.
    """

    up: bool
    speed_mbps: int
    reason: str = ""


@dataclass(frozen=True)
class RegisterDoorbell:
    """A register that notifies a queue by one store of `value`; None: of the ring's new tail.

    It is `width_bytes` wide and lies at `offset` of BAR0, inside `window`.
    """

    window: Window
    offset: int
    width_bytes: int = 4
    value: int | None = None


@dataclass(frozen=True)
class CallDoorbell:
    """A descriptor that notifies a queue by a system call, which the family's bursts choose."""

    fd: int


Doorbell = RegisterDoorbell | CallDoorbell


@dataclass(frozen=True)
class Doorbells:
    """The doorbells of a queue's two rings."""

    rx: Doorbell
    tx: Doorbell


@dataclass(frozen=True)
class RingView:
    """A ring as a worker left it: its memory, and words of its state (`memory.layout.RingLayout`).

    `memory`: uint8[n], the descriptors. `entries`: how many there are.
    """

    memory: memoryview
    entries: int
    next: int
    tail: int
    clean: int


@dataclass(frozen=True)
class QueueView:
    """A queue of a port as its worker left it.

    `rx_packets`, `tx_packets`: frames that the worker has taken and queued there, by
    its own count. `segmented`: a frame may fill several buffers.
    """

    rx: RingView
    tx: RingView
    rx_packets: int
    tx_packets: int
    segmented: bool


@dataclass(frozen=True)
class InFlight:
    """Frames between device and worker. `received`: in the rx ring, not taken. `queued`: in the tx ring, not sent."""

    received: int
    queued: int


class Statistics(Protocol):
    """The totals of a port since bring-up.

    They do not depend on the device's counters, which may clear when they are read,
    wrap around, or continue from an earlier driver's values.
    """

    @property
    def rx_packets(self) -> int:
        """Frames that passed the filters: delivered to a ring or dropped for want of room."""

    @property
    def rx_delivered(self) -> int:
        """Frames written to a ring; part of `rx_packets`."""

    @property
    def rx_bytes(self) -> int:
        """Bytes of the frames delivered, without CRC."""

    @property
    def rx_no_descriptor(self) -> int:
        """Frames dropped because their ring had no free descriptor."""

    def no_descriptor(self, queue: int) -> int:
        """Frames dropped because the ring of one queue had no free descriptor."""

    def delivered(self, queue: int) -> int:
        """Frames written to the ring of one queue."""

    def transmitted(self, queue: int) -> int:
        """Frames sent from the ring of one queue."""

    @property
    def rx_missed(self) -> int:
        """Frames dropped because the device had no room of its own."""

    @property
    def rx_errors(self) -> int:
        """Frames that the device refused: CRC, length, symbol errors."""

    @property
    def rx_too_long(self) -> int:
        """Frames that the device refused as longer than `max_frame_bytes`; part of `rx_errors`."""

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
    """The way in which a port reaches memory and delivers interrupts.

    A PCI function (`pci.function.Function`) is one; a port that is not a PCI function,
    such as a socket, has its own. Methods raise DeviceError or a subclass. `address`:
    for messages. `removal_fd`: becomes readable when the kernel wants the device back
    and waits for it; -1 where no such notice exists.
    """

    address: str
    removal_fd: int

    def map_dma(self, fd: int, size: int) -> DmaMap:
        """Let the device reach the first `size` bytes of a shared file (the arena)."""

    def unmap_dma(self) -> None:
        """Take the mapping of `map_dma` back."""

    def interrupt_vectors(self) -> int:
        """The number of messages that `set_interrupts` can deliver; 0 where none can be."""

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        """Have message i count up `eventfds[i]`, which stay the caller's; an empty sequence ends delivery."""

    def close(self) -> None:
        """Close the device. Harmless when called twice."""


class NicPort(Protocol):
    """One port. The supervisor is its only user; workers touch rings and doorbells only.

    Methods raise DeviceTimeoutError (a bounded wait ran out), DeviceGoneError (the
    device has left) and DeviceError, and ValueError for a queue or a ring that the port
    cannot have; the message names the port. A `ring_address` is one of the device's;
    `entries` are descriptors.
    """

    name: str

    @property
    def attachment(self) -> Attachment:
        """The port's way to memory and interrupts."""

    @property
    def limits(self) -> Limits:
        """The limits of the port's family."""

    @property
    def statistics(self) -> Statistics:
        """The totals as of the last `read_statistics`."""

    @property
    def stop_problems(self) -> tuple[str, ...]:
        """A sentence for each step of `stop` that failed."""

    @property
    def notices(self) -> tuple[str, ...]:
        """A sentence for each thing that an operator should know of the device, once `reset_and_init` has run."""

    @property
    def mac(self) -> str:
        """The port's own address, once `reset_and_init` has run."""

    @property
    def chip(self) -> str:
        """The name of the port's chip, once `reset_and_init` has run: "X550-T2"."""

    @property
    def reta(self) -> tuple[int, ...]:
        """The RSS redirection table in force: a queue number for each entry."""

    @property
    def frames_wait(self) -> bool:
        """Whether frames may wait in the device, where no counter includes them yet."""

    def reset_and_init(self, options: PortOptions) -> None:
        """Bring the port up, except for queues and reception.

        Raises UsageError for a device that is not accepted or options that it cannot
        keep, before it touches the device.
        """

    def poison(self, ring: memoryview) -> None:
        """Fill a ring's memory, uint8[n], before its queue is enabled, with bytes that are not a valid descriptor.

        A descriptor that no worker wrote is then a fault, and not an address that
        happens to be mapped.
        """

    def setup_rx_queue(self, queue: int, ring_address: int, entries: int) -> None:
        """Program and enable a receive queue, again if it ran before.

        It has no buffers then: the worker fills the ring, which is at `ring_address`
        for the device (a family whose rings are elsewhere uses those).
        """

    def setup_tx_queue(self, queue: int, ring_address: int, entries: int) -> None:
        """Program and enable a transmit queue, again if it ran before. It is empty then."""

    def doorbells(self, queue: int) -> Doorbells:
        """The doorbells of a queue. Raises DeviceError if workers cannot reach them."""

    def enable_interrupts(self, vectors: int, interval_us: int) -> None:
        """Have message i report frames in receive queue i, at most once in `interval_us` microseconds, until `stop`.

        The messages' eventfds are set before. Raises ValueError for more vectors, or a
        longer interval, than the port has.
        """

    def start_receive(self) -> None:
        """Switch reception on, after the queues: frames for a disabled queue are lost."""

    def stop_receive(self) -> None:
        """Switch reception off: no new frames enter the rings; those in them stay."""

    def disable_rx_queue(self, queue: int) -> None:
        """Disable a receive queue; the device no longer touches its ring when this returns."""

    def disable_tx_queue(self, queue: int) -> None:
        """Disable a transmit queue; the device no longer touches its ring, and frames that are not `sent` are lost."""

    def rx_progress(self, queue: int, view: QueueView) -> int:
        """A number that changes whenever frames have entered the queue's ring; its value has no other meaning."""

    def in_flight(self, queue: int, view: QueueView) -> InFlight:
        """Frames in the rings of a queue; exact once no frame moves."""

    def sent(self, queue: int, view: QueueView) -> bool:
        """Whether the device has sent all that the worker has queued."""

    def steer(self, queues: Sequence[int]) -> None:
        """Spread hashed frames evenly over these queues only; flows of queues that stay are not moved.

        Frames that are not hashed still go to queue 0. Raises UsageError for an empty
        or wrong list.
        """

    def link(self) -> LinkState:
        """The state of the link now."""

    def retry_link(self) -> None:
        """Set a link that is down up again. Harmless where it is up."""

    def read_statistics(self, views: Sequence[QueueView] = ()) -> None:
        """Bring `statistics` up to date, at least every 50 s: the counters of some devices are small.

        `views`: of all queues in use, for devices that do not count themselves.
        """

    def stop(self) -> None:
        """Stop the port in order; afterwards the memory may be freed. Safe at any stage and when called again.

        It raises no DeviceError: see `stop_problems`.
        """


@dataclass(frozen=True)
class Chip:
    """A PCI device that a family drives. `reta_entries`: of its RSS redirection table."""

    vendor: int
    device: int
    name: str
    reta_entries: int


@dataclass(frozen=True)
class Refusal:
    """A PCI device that a family knows and does not drive; `missing`: what it would take, as a clause."""

    vendor: int
    device: int
    name: str
    missing: str


@dataclass(frozen=True)
class PciDevices:
    """The ports of a family that are PCI functions.

    `models`: their names in messages ("82599"). A chip wins over another family's
    refusal of it. `open` touches only the function's configuration space. `reports`:
    what the family tells of a device that no run drives, if it does.
    """

    models: tuple[str, ...]
    chips: tuple[Chip, ...]
    refusals: tuple[Refusal, ...]
    open: Callable[[Function, str], NicPort]
    reports: Reports | None = None


@dataclass(frozen=True)
class Scheme:
    """The ports of a family that are not PCI functions.

    `prefix`: the beginning of their device addresses ("xdp:"), also in the family's
    `Limits.schemes`. `open` takes the whole address and the port's name.
    """

    prefix: str
    open: Callable[[str, str], NicPort]


@dataclass(frozen=True)
class Family:
    """A family of NICs: `ixyfwd/nic/NAME/family.py` has it as `FAMILY`, `NAME/limits.py` has its `LIMITS`."""

    name: str
    limits: Limits
    pci: PciDevices | None = None
    scheme: Scheme | None = None
