"""The SFP+ module behind I2CCTL, read bit by bit as a driver does (datasheet 8.2.3.1; SFF-8472)."""

import pytest

from ixyfwd.model.chip.i2c import ADDRESS, direct_attach_page
from ixyfwd.model.chip.pins import Pins
from ixyfwd.model.chip.profiles import build_register_map
from ixyfwd.model.chip.regfile import RegisterFile
from tests.testing.model_fakes import Bench, Clock, FakePort

CLK_OUT, DATA_IN, DATA_OUT = 1 << 1, 1 << 2, 1 << 3


class Master:
    """Bit-bangs; every change of a wire is one register write, and a released SDA must read as released."""

    def __init__(self, file: RegisterFile) -> None:
        self._file = file
        self._out = CLK_OUT | DATA_OUT

    def _set(self, bit: int, on: bool) -> None:
        self._out = self._out | bit if on else self._out & ~bit
        self._file.write32(0x28, self._out)

    def line(self) -> bool:
        return bool(self._file.read32(0x28) & DATA_IN)

    def data(self, on: bool) -> None:
        self._set(DATA_OUT, on)
        assert self.line() is on

    def start(self) -> None:
        self.data(True)
        self._set(CLK_OUT, True)
        self.data(False)
        self._set(CLK_OUT, False)

    def stop(self) -> None:
        self.data(False)
        self._set(CLK_OUT, True)
        self.data(True)

    def clock(self) -> bool:
        """One clock; the line while it is high."""
        self._set(CLK_OUT, True)
        line = self.line()
        self._set(CLK_OUT, False)
        return line

    def send(self, byte: int) -> bool:
        """Whether the slave acknowledged."""
        for bit in range(7, -1, -1):
            self.data(bool(byte >> bit & 1))
            self.clock()
        self._set(DATA_OUT, True)
        return not self.clock()

    def take(self, more: bool) -> int:
        self._set(DATA_OUT, True)
        byte = 0
        for _ in range(8):
            byte = byte << 1 | self.clock()
        self.data(not more)
        self.clock()
        return byte

    def read(self, offset: int, count: int = 1) -> bytes:
        self.start()
        assert self.send(ADDRESS)
        assert self.send(offset)
        self.start()
        assert self.send(ADDRESS | 1)
        found = bytes(self.take(n < count - 1) for n in range(count))
        self.stop()
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def master(bench: Bench) -> Master:
    return Master(bench.port._file)


def without_module() -> RegisterFile:
    datapath = FakePort("p0")
    file = RegisterFile(datapath.store, build_register_map(), datapath.reconfigure, lambda *_: None)
    Pins(file, Clock(), module=False)
    file.reset()
    return file


def test_every_byte_read_alone(master: Master) -> None:
    assert b"".join(master.read(n) for n in range(256)) == direct_attach_page()


def test_what_drivers_look_at(master: Master) -> None:
    assert (master.read(0)[0], master.read(8)[0]) == (3, 4)
    assert (master.read(3)[0], master.read(6)[0], master.read(0x5C)[0]) == (0, 0, 0)


def test_checksums_of_the_page() -> None:
    page = direct_attach_page()
    assert page[63] == sum(page[:63]) & 0xFF
    assert page[95] == sum(page[64:95]) & 0xFF


def test_a_run_of_bytes_wraps_at_the_end_of_the_page(master: Master) -> None:
    page = direct_attach_page()
    assert master.read(20, 40) == page[20:60]
    assert master.read(254, 4) == page[254:] + page[:2]


def test_a_read_without_an_offset_goes_on_behind_the_last(master: Master) -> None:
    page = direct_attach_page()
    master.read(19)
    master.start()
    assert master.send(ADDRESS | 1)
    assert bytes((master.take(True), master.take(False))) == page[20:22]
    master.stop()


def test_writes_are_acknowledged_and_change_nothing(master: Master) -> None:
    master.start()
    assert master.send(ADDRESS)
    assert master.send(8)
    assert master.send(0xFF)
    master.stop()
    assert master.read(8) == b"\x04"


@pytest.mark.parametrize("address", [0xA2, 0xA3, 0x00, 0x56])
def test_other_addresses_are_not_answered(master: Master, address: int) -> None:
    master.start()
    assert not master.send(address)
    assert not master.send(0)
    master.stop()
    assert master.read(0) == b"\x03"


def test_a_start_in_the_middle_of_a_byte_begins_anew(master: Master) -> None:
    master.start()
    assert master.send(ADDRESS)
    master.data(True)
    master.clock()
    assert master.read(8) == b"\x04"


def test_a_reset_frees_the_bus(bench: Bench, master: Master) -> None:
    master.start()
    assert master.send(ADDRESS)
    assert master.send(0)
    master.start()
    assert master.send(ADDRESS | 1)  # the module holds the line low for the first bit of 0x03
    assert not bench.read("I2CCTL") & DATA_IN
    bench.write("CTRL", 1 << 26)
    assert bench.read("I2CCTL") == 0xF
    assert Master(bench.port._file).read(0) == b"\x03"


def test_an_empty_cage(bench: Bench) -> None:
    file = without_module()
    master = Master(file)
    master.start()
    assert not master.send(ADDRESS)
    master.stop()
    assert (file.read32(0x20) & 4, bench.read("ESDP") & 4) == (0, 4)
