"""A port of an 82599, X540 or X550 as the supervisor sees it."""

from collections.abc import Sequence
from typing import Final

from ixyfwd.errors import DeviceTimeoutError, UsageError
from ixyfwd.nic.contract import Doorbells, InFlight, LinkState, QueueView
from ixyfwd.nic.doorbell import register_doorbell
from ixyfwd.nic.ixgbe import bringup, filters, rx, stats, tx
from ixyfwd.nic.ixgbe.access import Clock, Registers
from ixyfwd.nic.ixgbe.defaults import restore_defaults
from ixyfwd.nic.ixgbe.firmware import cage_decides_link, check_firmware, own_device
from ixyfwd.nic.ixgbe.flow_control import set_flow_control
from ixyfwd.nic.ixgbe.frames import queued_frames, received_frames, slots_between
from ixyfwd.nic.ixgbe.ids import DeviceId, Media, identify
from ixyfwd.nic.ixgbe.interrupts import enable_interrupts
from ixyfwd.nic.ixgbe.limits import LIMITS
from ixyfwd.nic.ixgbe.link import LINK_PROOF_S, link_state, setup_link
from ixyfwd.nic.ixgbe.phy import power_up
from ixyfwd.nic.ixgbe.registers import LINKS, RDH, RDT, TDH, TDT
from ixyfwd.nic.ixgbe.semaphore import software_semaphore
from ixyfwd.nic.ixgbe.stats import PortStatistics
from ixyfwd.nic.ixgbe.stop import stop_device
from ixyfwd.nic.limits import Limits
from ixyfwd.nic.mac import format_mac, is_station_address, parse_mac
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.rss import steer
from ixyfwd.pci.function import Function

_ENTRIES_MULTIPLE: Final = 8  # RDLEN and TDLEN count in 128 bytes
_MAX_ENTRIES: Final = 8192  # 8.2.3.8.3: the validated limit


class Ixgbe:
    """A port of an 82599, X540 or X550. See `nic.contract.NicPort`.

    The supervisor is its only user: it owns every register but the tails. Methods raise
    DeviceTimeoutError (a bounded wait ran out), DeviceGoneError (the device left the
    bus) and the function's DeviceError; the message names the port and the register.
    Wrong arguments raise ValueError.
    """

    def __init__(self, function: Function, name: str, clock: Clock | None = None) -> None:
        self.name = name
        self.regs = Registers(function, name, clock)
        self.statistics = PortStatistics()
        self.stop_problems: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self._function = function
        self._options = PortOptions()
        self._device = DeviceId(0, "not identified", Media.OTHER)  # until `reset_and_init` has looked
        self._address = bytes(6)
        self._reta: tuple[int, ...] = ()
        self._rx_queues: set[int] = set()
        self._tx_queues: set[int] = set()
        self._touched = False
        self._cage_decides = False  # whether an empty cage has no link, even if LINKS shows one
        self._link_was_up = False

    @property
    def attachment(self) -> Function:
        """The PCI function behind the port."""
        return self._function

    @property
    def limits(self) -> Limits:
        """The limits of the family."""
        return LIMITS

    @property
    def mac(self) -> str:
        """The station address, once `reset_and_init` has run."""
        return format_mac(self._address)

    @property
    def chip(self) -> str:
        """The name of the port's chip, once `reset_and_init` has run: "X550-T2"."""
        return self._device.name

    @property
    def reta(self) -> tuple[int, ...]:
        """The redirection table in force: 128 queue numbers, 512 on an X550."""
        return self._reta

    @property
    def frames_wait(self) -> bool:
        """Whether frames may wait in the packet buffer, where no counter includes them yet."""
        return self._options.frames_wait

    def reset_and_init(self, options: PortOptions) -> None:
        """Bring the port up, except for queues and reception (4.6.3).

        Raises UsageError for a device that is not accepted or options that it cannot
        keep, before it touches the device.
        """
        own = None if options.mac is None else self._station_address(options.mac)
        others = [parse_mac(text, self.regs.label) for text in options.mac_filters]
        device = identify(self._function, self.name)
        options.rss.table(device.reta_entries)  # a table of the wrong size is refused here
        self._options = options
        self._device = device
        self._touched = True
        self.stop_problems = ()
        self.notices = ()
        self._link_was_up = False
        self._rx_queues.clear()
        self._tx_queues.clear()
        self._reset(device)
        self._address = bringup.station_address(self.regs) if own is None else own
        stats.clear_statistics(self.regs)
        self.statistics = PortStatistics()
        self._init_receive(others)
        tx.init_transmit(self.regs, options.max_frame_bytes)
        stats.map_queue_counters(self.regs)

    def _station_address(self, text: str) -> bytes:
        address = parse_mac(text, self.regs.label)
        if not is_station_address(address):
            raise UsageError(
                f"{self.regs.label}: {text} cannot be a port's own address; expected a unicast address such as "
                "02:00:00:00:00:01"
            )
        return address

    def _reset(self, device: DeviceId) -> None:
        bringup.enable_memory_access(self._function)
        bringup.mask_interrupts(self.regs)
        bringup.reset(self.regs, device)
        bringup.mask_interrupts(self.regs)  # 4.6.3.1: reset undoes the first time
        restore_defaults(self.regs)
        own_device(self.regs, True)
        options = self._options
        set_flow_control(self.regs, options.flow_control, device.packet_buffer_kib, options.max_frame_bytes)
        bringup.wait_eeprom(self.regs)
        self._note(check_firmware(self.regs, device))
        bringup.wait_dma_init(self.regs)
        self._cage_decides = cage_decides_link(self.regs, device)
        if device.media is Media.COPPER:
            try:
                power_up(self.regs)
            except DeviceTimeoutError as error:  # the PHY may be on all the same: LINKS will tell
                self._note(str(error))
        self._set_link_up()

    def _set_link_up(self) -> None:
        with software_semaphore(self.regs, "setting the link up"):
            setup_link(self.regs, self._device.media)

    def _note(self, text: str | None) -> None:
        if text is not None and text not in self.notices:
            self.notices += (text,)

    def _init_receive(self, others: Sequence[bytes]) -> None:
        filters.clear_filters(self.regs)
        filters.set_addresses(self.regs, self._address, others)
        filters.set_promiscuous(self.regs, self._options.promiscuous)
        rx.init_receive(self.regs, self._device.packet_buffer_kib, self._options.max_frame_bytes)
        options = self._options.rss
        self._reta = options.table(self._device.reta_entries)
        rx.init_rss(self.regs, options, self._reta)

    def poison(self, ring: memoryview) -> None:
        """Fill a ring's memory, uint8[n], with ones: a descriptor that no worker wrote is then an unmapped address."""
        ring[:] = b"\xff" * len(ring)

    def setup_rx_queue(self, queue: int, ring_address: int, entries: int) -> None:
        """Program and enable a receive queue, again if it ran before. RDT is 0 then: the worker fills the ring."""
        self._check_ring(queue, ring_address, entries)
        if queue in self._rx_queues:
            self.disable_rx_queue(queue)
        self._function.set_bus_master(True)
        self._rx_queues.add(queue)
        rx.setup_rx_queue(self.regs, queue, ring_address, entries, drop_enable=not self._options.frames_wait)

    def setup_tx_queue(self, queue: int, ring_address: int, entries: int) -> None:
        """Program and enable a transmit queue, again if it ran before. TDT is 0 then."""
        self._check_ring(queue, ring_address, entries)
        if queue in self._tx_queues:
            self.disable_tx_queue(queue)
        self._function.set_bus_master(True)
        self._tx_queues.add(queue)
        tx.setup_tx_queue(self.regs, queue, ring_address, entries)

    def _check_ring(self, queue: int, ring_address: int, entries: int) -> None:
        if not 0 <= queue < self._options.rss.queues:
            raise ValueError(f"{self.regs.label}: queue {queue} is not one of {self._options.rss.queues}")
        if ring_address % LIMITS.ring.align_bytes or not 0 <= ring_address < 1 << 64:
            raise ValueError(f"{self.regs.label}: a ring cannot lie at {ring_address:#x}: not a multiple of 128")
        if entries % _ENTRIES_MULTIPLE or not _ENTRIES_MULTIPLE <= entries <= _MAX_ENTRIES:
            raise ValueError(f"{self.regs.label}: a ring cannot have {entries} entries: 8 to 8192, a multiple of 8")

    def doorbells(self, queue: int) -> Doorbells:
        """The doorbells RDT and TDT. Raises DeviceError if the device does not offer them for mapping."""
        rx, tx = (register_doorbell(self._function, self.name, tail[queue].offset) for tail in (RDT, TDT))
        return Doorbells(rx, tx)

    def enable_interrupts(self, vectors: int, interval_us: int) -> None:
        """Have MSI-X vector i report frames in receive queue i until `stop`, at most once in `interval_us` (0 to 1022).

        The messages' eventfds are set before. Raises ValueError.
        """
        enable_interrupts(self.regs, vectors, interval_us)

    def start_receive(self) -> None:
        """Switch reception on (4.6.7), after the queues: frames for a disabled queue are lost."""
        rx.set_receive(self.regs, on=True)

    def stop_receive(self) -> None:
        """Switch reception off: no new frames enter the rings; those in them stay."""
        rx.set_receive(self.regs, on=False)

    def disable_rx_queue(self, queue: int) -> None:
        """Disable a receive queue; the device no longer touches its ring when this returns."""
        rx.disable_rx_queues(self.regs, (queue,))
        self._rx_queues.discard(queue)

    def disable_tx_queue(self, queue: int) -> None:
        """Disable a transmit queue; the device no longer touches its ring, and frames that are not `sent` are lost."""
        tx.disable_tx_queues(self.regs, (queue,))
        self._tx_queues.discard(queue)

    def rx_head(self, queue: int) -> int:
        """RDH: the index of the descriptor that the device will fill next."""
        return self.regs.read(RDH[queue])

    def rx_tail(self, queue: int) -> int:
        """RDT: the last value that the worker wrote."""
        return self.regs.read(RDT[queue])

    def tx_head(self, queue: int) -> int:
        """TDH: the index of the descriptor that the device will send next."""
        return self.regs.read(TDH[queue])

    def tx_tail(self, queue: int) -> int:
        """TDT: the last value that the worker wrote."""
        return self.regs.read(TDT[queue])

    def rx_progress(self, queue: int, view: QueueView) -> int:
        """The queue's RDH, which moves with every descriptor that is filled."""
        return self.rx_head(queue)

    def in_flight(self, queue: int, view: QueueView) -> InFlight:
        """Frames between the device's heads and the worker's own indices.

        Where frames may span several descriptors, those that end a frame are counted. A
        device may have moved its head over descriptors that it has not written back;
        its own count of frames then tells how many are in them.
        """
        received = slots_between(view.rx.next, self.rx_head(queue), view.rx.entries)
        queued = slots_between(self.tx_head(queue), view.tx.tail, view.tx.entries)
        if not view.segmented:
            return InFlight(len(received), len(queued))
        ended = received_frames(view.rx.memory, received)
        if ended is None:
            ended = self.statistics.delivered(queue) - view.rx_packets
        return InFlight(ended, queued_frames(view.tx.memory, queued))

    def sent(self, queue: int, view: QueueView) -> bool:
        """Whether TDH has reached the worker's tail."""
        return self.tx_head(queue) == view.tx.tail

    def tx_drained(self, queue: int) -> bool:
        """Whether the device has taken all descriptors up to TDT."""
        return tx.tx_drained(self.regs, queue)

    def steer(self, queues: Sequence[int]) -> None:
        """Spread hashed frames evenly over these queues only; flows of queues that stay are not moved.

        Frames that are not hashed still go to queue 0. Raises UsageError for an empty
        or wrong list.
        """
        options = self._options.rss
        self._reta = steer(options.table(self._device.reta_entries), options.queues, queues)
        rx.write_reta(self.regs, self._reta)

    def link(self) -> LinkState:
        """The state of the link now. One that has just come up is looked at twice where it may be crosstalk."""
        state = link_state(self.regs, self._device, cage_decides=self._cage_decides)
        if state.up and self._cage_decides and not self._link_was_up:
            self.regs.clock.sleep(LINK_PROOF_S)
            state = link_state(self.regs, self._device, cage_decides=True)
        self._link_was_up = state.up
        return state

    def wait_link(self, timeout_s: float) -> LinkState:
        """The state of the link as soon as it is up, or after `timeout_s` seconds."""
        deadline = self.regs.clock.now() + timeout_s
        while True:
            left_s = deadline - self.regs.clock.now()
            self.regs.settles(LINKS, LINKS.UP(1), timeout_s=max(0.0, left_s))
            state = self.link()
            if state.up or left_s <= 0:
                return state
            self.regs.clock.sleep(LINK_PROOF_S)

    def retry_link(self) -> None:
        """Set a link that is down up again (4.6.4), as after an exchange of modules. Harmless where it is up."""
        if self.link().up:
            return
        self._set_link_up()

    def set_promiscuous(self, on: bool) -> None:
        """Take every frame, or only broadcast, the port's own address and those of the MAC filters."""
        with filters.receive_halted(self.regs):
            filters.set_promiscuous(self.regs, on)

    def set_mac_filters(self, addresses: Sequence[str]) -> None:
        """Replace the addresses taken besides the port's own. Raises UsageError."""
        others = [parse_mac(text, self.regs.label) for text in addresses]
        with filters.receive_halted(self.regs):
            filters.set_addresses(self.regs, self._address, others)

    def read_statistics(self, views: Sequence[QueueView] = ()) -> None:
        """Add the device's counters to `statistics` and clear them, at least every 50 s (8.2.3.23: they are small)."""
        stats.collect(self.regs, self.statistics, self._options.rss.queues)

    def stop(self) -> None:
        """Stop the port in order, bus mastering last; afterwards the memory may be freed.

        Safe at any stage of bring-up and when called again. It raises no DeviceError:
        `stop_problems` has a sentence for each step that failed.
        """
        if not self._touched:
            return
        self._touched = False
        rx_queues, tx_queues = sorted(self._rx_queues), sorted(self._tx_queues)
        self._rx_queues.clear()
        self._tx_queues.clear()
        self.stop_problems = stop_device(self.regs, self._function, rx_queues, tx_queues)
