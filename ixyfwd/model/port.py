"""One port of the model: the device that a vfio-user session serves."""

import errno
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ixyfwd.errors import UsageError
from ixyfwd.model.chip.director import FlowDirector
from ixyfwd.model.chip.faults import Faults, MisuseLog, merge
from ixyfwd.model.chip.firmware import Firmware
from ixyfwd.model.chip.host_interface import HostInterface
from ixyfwd.model.chip.interrupts import RX_MISS, InterruptRegisters
from ixyfwd.model.chip.link import Link
from ixyfwd.model.chip.msix import IrqLines, Messages, MsixTable
from ixyfwd.model.chip.nvm import mac_words
from ixyfwd.model.chip.nvm_access import NvmAccess
from ixyfwd.model.chip.pciconfig import BAR0_BYTES, BAR4_BYTES, CONFIG_BYTES, PciConfig
from ixyfwd.model.chip.phy import Phy
from ixyfwd.model.chip.pins import Pins
from ixyfwd.model.chip.profiles import profile_of
from ixyfwd.model.chip.queues import Queues
from ixyfwd.model.chip.regfile import RegisterFile
from ixyfwd.model.chip.registers import RegisterMap
from ixyfwd.model.chip.resets import Resets
from ixyfwd.model.chip.statistics import StatisticsRegisters
from ixyfwd.model.datapath.dma import DmaMappings
from ixyfwd.model.inject.card import Card
from ixyfwd.model.inject.injector import Injector
from ixyfwd.model.spec import PortSpec
from ixyfwd.vfiouser.protocol import DmaMapping, IrqInfo, IrqSet, Region, RegionFlag, RegionInfo, RequestError

if TYPE_CHECKING:
    from ixyfwd.model.datapath.binding import DatapathPort

RXCTRL_RXEN = 1 << 0
CTRL_GIO_DIS = 1 << 2
CTRL_LNK_RST = 1 << 3
CTRL_RST = 1 << 26
STATUS_LINK_UP = 1 << 7
STATUS_GIO_MASTER = 1 << 19
DOORBELL_AREAS = ((0x1000, 0x1000), (0x6000, 0x2000), (0xD000, 0x1000))  # R(n) low, T(n), R(n) high
KEPT_OVER_RESET = frozenset({"SWSM", "SW_FW_SYNC"})
_READ_WRITE = RegionFlag.READ | RegionFlag.WRITE


class SimulatedPort:
    """Implements `vfiouser.server.ServedDevice`: registers in Python in front of a data path in C."""

    def __init__(
        self,
        spec: PortSpec,
        datapath: "DatapathPort",
        registers: RegisterMap,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Raises UsageError for a MAC address that is none."""
        self.name = spec.name
        self.resets = 0  # of the registers, for any reason: for a front end that keeps a copy of them
        self._spec = spec
        self._datapath = datapath
        try:
            self._mac = mac_words(spec.mac)
        except ValueError as error:
            raise UsageError(f"port {spec.name}: {error}") from None
        self._misuse = MisuseLog()
        self._missed = 0  # RXMPC that RX_MISS was raised for
        self._gone = False
        self._hangs = False
        self.hung_resets = 0
        self._file = file = RegisterFile(datapath.store, registers, datapath.reconfigure, self._record_misuse)
        self._config = PciConfig(spec.device_id, lambda on: self._follow_bus_master(), self.reset)
        self._msix = MsixTable()
        self._irqs = IrqLines()
        self._messages = Messages(self._msix, self._irqs, self._config)
        self._interrupts = InterruptRegisters(file, self._messages, datapath, clock_ns)
        profile = profile_of(spec.device_id)
        self._far_end = True  # until what the wire leads to is gone
        self._has_link = spec.module or not profile.cage
        self._firmware = firmware = Firmware(file)
        self._resets = Resets(clock_ns)
        self._link = link = Link(
            file,
            spec.device_id,
            clock_ns,
            self._interrupts.raise_cause,
            self._follow_link,
            on_autoc=firmware.lose_link,
        )
        self._phy = phy = None if profile.phy_id is None else Phy(profile.phy_id, link.set_powered)
        self._nvm = nvm = NvmAccess(file)
        self._pins = pins = Pins(file, clock_ns, spec.module and profile.cage, phy)
        card = Card(firmware, phy, pins, link, nvm, self._resets)
        self.injector = Injector(datapath, link, nvm, self, clock_ns, card=card)
        if profile.host_interface:
            HostInterface(file, self._nvm)
        datapath.set_reta_entries(profile.reta_entries)
        self._statistics = StatisticsRegisters(file, datapath.stats)
        # Without the order of writes it is not known which of them came too early or too late.
        self._queues = Queues(file, datapath, self._ignore_misuse if spec.directory else self._record_misuse)
        self._dma = DmaMappings(datapath)
        FlowDirector(file, datapath, self._interrupts.raise_cause)
        file.bind({"status": self._read_status}, {"ctrl": self._write_ctrl})
        datapath.set_tail_mapped(spec.offer_mmap)
        datapath.set_link(False)
        self.set_cable(True)
        self._power_on()

    # What the server's loop and the control socket use

    @property
    def link_up(self) -> bool:
        """Whether the link is up and the device present."""
        return self._link.up and not self._gone

    @property
    def gone(self) -> bool:
        """Whether the port has been made to leave the bus."""
        return self._gone

    @property
    def receiving(self) -> bool:
        """Whether a driver has switched reception on; without a client it is off."""
        return not self._gone and bool(self._file.peek("RXCTRL") & RXCTRL_RXEN)

    @property
    def unbound_hooks(self) -> set[str]:
        """Hooks of the table without a meaning; empty, as a test checks."""
        return self._file.unbound()

    def tick(self) -> None:
        """Do what time demands; called every round of the loop."""
        self.injector.tick()
        if self._gone:
            self._show_all_ones(DOORBELL_AREAS)
            return
        if self._far_end and self._datapath.wire_gone:
            self._far_end = False
            self.set_cable(False)
        self._link.tick()
        missed = self._datapath.stats.rxmpc[0]
        if missed != self._missed:
            self._missed = missed
            self._interrupts.raise_cause(RX_MISS)
        self._interrupts.service()

    def due_ns(self) -> int | None:
        """When `tick` must be called at the latest (CLOCK_MONOTONIC), or None if nothing is timed that exactly."""
        return None if self._gone else self._interrupts.due_ns

    def set_cable(self, plugged: bool) -> None:
        """Pull the cable at the far end, or plug it in; without a module or a far end there is no link."""
        self._link.set_cable(plugged and self._has_link and self._far_end)

    def faults(self) -> Faults:
        """The faults of drivers since the port was made: how many, and the most recent ones."""
        return merge(self._datapath.faults(), self._misuse)

    def disconnect(self) -> None:
        """Clean up after a client that has gone: stop, forget its memory and eventfds, be as new for the next."""
        self._datapath.reset()
        self._dma.unmap_all()
        self._irqs.close()
        self._power_on()
        if self._gone:
            self.leave()

    def _power_on(self) -> None:
        self._file.reset()  # also what a reset by software leaves alone
        self.reset()

    # Off the bus and back (injected)

    def leave(self) -> None:
        """Leave the bus: all reads are all ones now, mapped pages too; nothing moves and writes have no effect."""
        self._gone = True
        self.resets += 1
        self._datapath.reset()
        self._datapath.set_bus_master(False)
        self._datapath.set_link(False)
        self._show_all_ones(((0, BAR0_BYTES),))

    def come_back(self) -> None:
        """Make the device present again, as after power-on; the client's mappings and eventfds are still there."""
        self._gone = False
        self._power_on()
        self._datapath.set_link(self._link.up)

    def hang_in_reset(self, on: bool) -> None:
        """Hang in resets: until it is switched off, a reset sets everything back and never says that it is done."""
        self._hangs = on
        if not on and not self._gone:
            self._file.poke("CTRL", 0, self._file.peek("CTRL") & ~(CTRL_RST | CTRL_LNK_RST))

    def _show_all_ones(self, areas: Sequence[tuple[int, int]]) -> None:
        for start, size in areas:
            self._datapath.store[start // 4 : (start + size) // 4] = memoryview(b"\xff" * size).cast("I")

    def _follow_link(self, up: bool) -> None:
        if self._phy is not None:
            self._phy.link = up
        self._datapath.set_link(up and not self._gone)

    # Registers of the port as a whole

    def _record_misuse(self, name: str, index: int, text: str) -> None:
        self._misuse.add(name, index, self._file.offset(name, index), text)

    def _ignore_misuse(self, name: str, index: int, text: str) -> None:
        pass

    def reset_registers(self, keep: bool = False) -> None:
        """Reset the port as CTRL.RST and LNK_RST do (datasheet 4.2, 8.2.3.1.1), within the write that asks for it.

        `keep`: plain registers keep their values.
        """
        self.resets += 1
        self._datapath.reset()
        if keep:
            self._file.reset_but(lambda cell: cell.register.name in KEPT_OVER_RESET or Resets.is_plain(cell))
        else:
            self._file.reset(KEPT_OVER_RESET)
        self._queues.reset(keep)
        self._statistics.reset()
        self._file.poke("RAL", 0, self._mac[0])
        self._file.poke("RAH", 0, self._mac[1])
        self._pins.reset()
        self._link.reset(keep)
        self._interrupts.reset()
        self._follow_bus_master()
        self._datapath.reconfigure()

    def _follow_bus_master(self) -> None:
        """CTRL.GIO_DIS stops bus mastering as the command register does."""
        disabled = self._file.peek("CTRL") & CTRL_GIO_DIS
        self._datapath.set_bus_master(self._config.bus_master and not disabled)

    def _write_ctrl(self, name: str, index: int, value: int) -> None:
        if value & (CTRL_RST | CTRL_LNK_RST):
            if value & CTRL_LNK_RST and (self._link.up or self._phy is not None):
                self._firmware.lose_link()
            self.reset_registers(self._resets.keeps)
            self._resets.begin()
            if self._hangs:
                self.hung_resets += 1
                self._file.poke(name, index, value & (CTRL_RST | CTRL_LNK_RST))
            return
        self._file.poke(name, index, value)
        self._follow_bus_master()

    def _read_status(self, name: str, index: int) -> int:
        """GIO master enable goes to 0 when software asks for it: nothing is ever pending between two messages."""
        master = 0 if self._file.peek("CTRL") & CTRL_GIO_DIS else STATUS_GIO_MASTER
        return master | (STATUS_LINK_UP if self._link.up else 0)

    # vfiouser.server.Device

    def region_info(self, index: int) -> RegionInfo:
        if index == Region.BAR0 and self._spec.offer_mmap:
            flags = _READ_WRITE | RegionFlag.MMAP | RegionFlag.CAPS
            return RegionInfo(index, BAR0_BYTES, flags, 0, DOORBELL_AREAS, self._datapath.store_fd)
        sizes = {Region.BAR0: BAR0_BYTES, Region.BAR4: BAR4_BYTES, Region.CONFIG: CONFIG_BYTES}
        size = sizes.get(Region(index), 0) if index in sizes else 0
        return RegionInfo(index, size, _READ_WRITE if size else RegionFlag(0))

    def irq_info(self, index: int) -> IrqInfo:
        return self._irqs.info(index)

    def _space(self, region: int) -> "RegisterFile | PciConfig | MsixTable":
        if region == Region.BAR0:
            return self._file
        if region == Region.CONFIG:
            return self._config
        if region == Region.BAR4:
            return self._msix
        raise RequestError(errno.EINVAL, f"region {region} has no bytes")

    def region_read(self, region: int, offset: int, count: int) -> bytes:
        try:
            space = self._space(region)
            silent = self._gone or (space is self._file and self._resets.silent)
            return b"\xff" * count if silent else space.read(offset, count)
        except ValueError as error:
            raise RequestError(errno.EINVAL, str(error)) from None

    def region_write(self, region: int, offset: int, data: bytes) -> None:
        try:
            space = self._space(region)
            if not self._gone and not (space is self._file and self._resets.silent):
                space.write(offset, data)
        except ValueError as error:
            raise RequestError(errno.EINVAL, str(error)) from None

    def dma_map(self, mapping: DmaMapping, fd: int | None) -> None:
        self._dma.map(mapping, fd)

    def dma_unmap(self, address: int, size: int) -> None:
        self._dma.unmap(address, size)

    def dma_unmap_all(self) -> None:
        self._dma.unmap_all()

    def set_irqs(self, request: IrqSet, fds: tuple[int, ...]) -> None:
        self._messages.set(request, fds)

    def reset(self) -> None:
        """Do a function-level reset: registers, configuration space, MSI-X table. Mappings and eventfds stay."""
        if self._gone:
            return
        self.reset_registers()
        self._msix.reset()
        self._config.reset()
