"""A function that behaves as an 82599 does in the few ways that bring-up depends on, and that fails on request.

Offsets are written out here: the driver's table is what the tests judge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ixyfwd.errors import DeviceError, DeviceGoneError
from ixyfwd.nic.ixgbe.device import Ixgbe
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.rss import RssOptions
from ixyfwd.pci.function import DmaMap, Window

ALL_ONES = 0xFFFFFFFF
CTRL, STATUS, CTRL_EXT, ESDP = 0x0, 0x8, 0x18, 0x20
EICR, EIMC = 0x800, 0x888
RXCTRL, DMATXCTL, RTTDCS, MTQC = 0x3000, 0x4A80, 0x4900, 0x8120
AUTOC, LINKS, AUTOC2 = 0x42A0, 0x42A4, 0x42A8
EEC, FWSM, RDRXCTL = 0x10010, 0x10148, 0x2F00
EERD, MSCA, MSRWD = 0x10014, 0x425C, 0x4260
SECRXCTRL, SECRXSTAT = 0x8D00, 0x8D04
RAL0, RAH0, FCTRL, MRQC = 0xA200, 0xA204, 0x5080, 0xEC80
RST, LNK_RST, GIO_DIS, ENABLE = 1 << 26, 1 << 3, 1 << 2, 1 << 25
MDIO_COMMAND = 1 << 30
ADDRESS = "localhost:fake"

RESET_VALUES = {
    ESDP: 0x4,
    EEC: 0x2730,
    RDRXCTL: 0x00108808,
    0x4240: 0x08012C0B,
    DMATXCTL: 0x81000004,
    RTTDCS: 0x00C00000,
    AUTOC: 0xC19D8284,
    AUTOC2: 0,
    LINKS: 0x70000080,
    SECRXCTRL: 1,
    SECRXSTAT: 1,
    RAL0: 0x00000002,
    RAH0: 0x80000100,
    0x5088: 0x8100,
    **{0x1014 + 0x40 * n: 0x402 for n in range(64)},
    **{0x100C + 0x40 * n: 0xB200 for n in range(64)},
    **{0x600C + 0x40 * n: 0x2A00 for n in range(128)},
}


def rxdctl(queue: int) -> int:
    return 0x1028 + 0x40 * queue


def txdctl(queue: int) -> int:
    return 0x6028 + 0x40 * queue


def counter_offsets() -> set[int]:
    """Everything that a read clears (datasheet 8.2.3.23)."""
    single = {0x4000, 0x4004, 0x4008, 0x4010, 0x4034, 0x4038, 0x4040, *range(0x405C, 0x4084, 4)}
    single |= {0x4088, 0x408C, 0x4090, 0x4094, *range(0x40A4, 0x40BC, 4), 0x40C0, 0x40C4, *range(0x40D0, 0x40F8, 4)}
    single |= {0x4120, 0x41A4, 0x41A8, 0x41B0, 0x41B4, 0x41B8, 0x3F60, 0x3F68, 0xCF90}
    single |= {0x2F50, 0x2F54, 0x2F58, 0x87A0, 0x87A4, 0x87A8, *range(0x3FA0, 0x3FC0, 4)}
    for n in range(16):
        single |= {0x1030 + 0x40 * n, 0x1034 + 0x40 * n, 0x1038 + 0x40 * n, 0x1430 + 0x40 * n}
        single |= {0x6030 + 0x40 * n, 0x8700 + 8 * n, 0x8704 + 8 * n}
    return single


class FakeClock:
    """Time that passes only when the driver sleeps."""

    def __init__(self) -> None:
        self.at = 0.0
        self.on_sleep: Callable[[float], None] = lambda seconds: None

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.on_sleep(seconds)


def _has(value: int, mask: int | None) -> bool:
    return mask is None or bool(value & mask)


@dataclass
class Broken:
    """What the device does not do."""

    reset: bool = False  # CTRL.RST never clears
    master: bool = False  # STATUS.19 stays
    mdio: bool = False  # a command on MDIO never ends
    nvm: bool = False  # a read of the NVM never ends
    enable: set[int] = field(default_factory=set)  # offsets of RXDCTL/TXDCTL that never read ENABLE = 1
    disable: set[int] = field(default_factory=set)  # ... never read ENABLE = 0 again
    gone_after: int | None = None  # reads until everything is all ones
    no_answer: bool = False  # the function itself says that the device is gone


class FakeFunction:
    """`log` holds ("read", offset, value), ("write", offset, value) and ("master", 0, 0 or 1) in order."""

    def __init__(self, device: int = 0x10FB, vendor: int = 0x8086) -> None:
        self.address = ADDRESS
        self.removal_fd = -1
        self.config = {0: vendor, 2: device, 4: 0}
        self.broken = Broken()
        self.power_on: dict[int, int] = dict(RESET_VALUES)
        self.registers: dict[int, int] = dict(RESET_VALUES)
        self.log: list[tuple[str, int, int]] = []
        self.reads = 0
        self.bus_master = False
        self._clears = counter_offsets() | {EICR}

    def read_config(self, offset: int, size: int) -> int:
        self._answer()
        return self.config[offset] & ((1 << 8 * size) - 1)

    def write_config(self, offset: int, size: int, value: int) -> None:
        self._answer()
        self.config[offset] = value

    def read32(self, offset: int) -> int:
        self._answer()
        self.reads += 1
        if self.broken.gone_after is not None and self.reads > self.broken.gone_after:
            value = ALL_ONES
        else:
            value = self._value(offset)
        self.log.append(("read", offset, value))
        return value

    def _value(self, offset: int) -> int:
        if offset == STATUS:
            master = self.broken.master or not self.registers.get(CTRL, 0) & GIO_DIS
            return 0x80 | (master << 19)
        if offset in self._clears:
            return self.registers.pop(offset, 0)
        return self.registers.get(offset, 0)

    def write32(self, offset: int, value: int) -> None:
        self._answer()
        assert offset % 4 == 0 and 0 <= value <= ALL_ONES
        self.log.append(("write", offset, value))
        if offset == CTRL and value & (RST | LNK_RST) and not self.broken.reset:
            self.registers = dict(self.power_on)
            return
        if offset == AUTOC:
            value &= ~(1 << 12)
        if offset == EERD and not self.broken.nvm:  # done at once; any module allowed, no crosstalk fix
            value = value & ~1 | 2 | 0x83 << 16
        if offset == MSCA and value & MDIO_COMMAND and not self.broken.mdio:  # no PHY answers
            value &= ~MDIO_COMMAND
            self.registers[MSRWD] = 0xFFFF << 16
        if self._is_queue_control(offset):
            value = self._echo(offset, value)
        self.registers[offset] = value

    def _is_queue_control(self, offset: int) -> bool:
        return offset in {rxdctl(q) for q in range(64)} or offset in {txdctl(q) for q in range(128)}

    def _echo(self, offset: int, value: int) -> int:
        if value & ENABLE and offset in self.broken.enable:
            return value & ~ENABLE
        if not value & ENABLE and offset in self.broken.disable:
            return value | ENABLE
        return value

    def set_bus_master(self, on: bool) -> None:
        self._answer()
        self.bus_master = on
        self.log.append(("master", 0, int(on)))

    def _answer(self) -> None:
        if self.broken.no_answer:
            raise DeviceGoneError(f"{self.address}: the server closed the connection")

    def map_dma(self, fd: int, size: int) -> DmaMap:
        raise DeviceError("not for this fake")

    def unmap_dma(self) -> None:
        raise DeviceError("not for this fake")

    def window(self, bar_offset: int, size: int) -> Window | None:
        return None

    def interrupt_vectors(self) -> int:
        return 0

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        raise DeviceError("not for this fake")

    def reset(self) -> None:
        self.registers = dict(self.power_on)

    def close(self) -> None:
        pass

    # What tests ask

    def writes(self) -> list[tuple[int, int]]:
        return [(offset, value) for kind, offset, value in self.log if kind == "write"]

    def first_write(self, offset: int, mask: int | None = None) -> int:
        """Position in the log of the first write to `offset`, with a bit of `mask` set if one is given."""
        hits = (
            i for i, (kind, at, value) in enumerate(self.log) if (kind, at) == ("write", offset) and _has(value, mask)
        )
        found = next(hits, None)
        assert found is not None, f"{offset:#x} was never written so"
        return found

    def last_write(self, offset: int) -> int:
        """Position in the log of the last write to `offset`."""
        return max(i for i, (kind, at, _) in enumerate(self.log) if kind == "write" and at == offset)


def port(function: FakeFunction | None = None) -> tuple[Ixgbe, FakeFunction, FakeClock]:
    """A driver on a fake, with a clock that only sleeping moves."""
    found = FakeFunction() if function is None else function
    clock = FakeClock()
    return Ixgbe(found, "p0", clock), found, clock


QUEUES = 3
OPTIONS = PortOptions(rss=RssOptions(queues=QUEUES))
RINGS = 0x10_0000_0000


def bring_up(driver: Ixgbe, options: PortOptions = OPTIONS) -> None:
    driver.reset_and_init(options)
    for queue in range(options.rss.queues):
        driver.setup_rx_queue(queue, RINGS + 0x10000 * queue, 512)
        driver.setup_tx_queue(queue, RINGS + 0x10000 * queue + 0x8000, 1024)
    driver.start_receive()


def brought_up(options: PortOptions = OPTIONS) -> tuple[Ixgbe, FakeFunction]:
    driver, function, _ = port()
    bring_up(driver, options)
    return driver, function
