"""The register table by itself: no overlaps, aliases that lead somewhere, the reset values of the datasheet (8.2.3)."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.model.chip.nvm import CHECKSUM_SUM, CHECKSUM_WORD, build_image, covered_sum, mac_words
from ixyfwd.model.chip.regfile import RegisterFile
from ixyfwd.model.chip.registers import BAR_BYTES, RegisterCells, RegisterMap
from ixyfwd.model.chip.table_counters import COUNTERS, SOURCES
from tests.testing.model_fakes import MAC, Bench

R = RegisterCells


@pytest.fixture
def bench() -> Bench:
    return Bench()


class File:
    """A register file over a little table of a test's own."""

    def __init__(self, *rows: RegisterCells) -> None:
        self.store = memoryview(bytearray(BAR_BYTES)).cast("I")
        self.changes = 0
        self.misuses: list[tuple[str, int]] = []
        self.file = RegisterFile(self.store, RegisterMap(rows), self._change, self._misuse)
        self.file.reset()
        self.changes = 0

    def _change(self) -> None:
        self.changes += 1

    def _misuse(self, name: str, index: int, text: str) -> None:
        self.misuses.append((name, index))


# The table


def test_two_rows_on_one_offset_are_refused() -> None:
    with pytest.raises(ValueError, match=r"A\(1\).*0x14|0x14"):
        RegisterMap([R("A", 0x10, 2), R("B", 0x14)])


def test_one_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"A\(0\) is defined twice"):
        RegisterMap([R("A", 0x10), R("A", 0x20)])


def test_an_alias_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="alias of nothing"):
        RegisterMap([R("A", 0x10), R("A", 0x20, 2, alias=True)])


@pytest.mark.parametrize("offset", [2, BAR_BYTES, -4])
def test_places_outside_of_the_bar_are_refused(offset: int) -> None:
    with pytest.raises(ValueError, match="no place in BAR0"):
        RegisterMap([R("A", offset)])


def test_every_hook_of_the_table_is_bound(bench: Bench) -> None:
    assert bench.port.unbound_hooks == set()


def test_every_counter_register_has_a_source_and_the_other_way_round() -> None:
    hooked = {row.name for row in COUNTERS if row.read == "counter" and not row.alias}
    assert hooked == set(SOURCES)


ALIASES = [  # datasheet 8.2.3: name, indices, alias, stride, real, stride
    ("SRRCTL", 16, 0x2100, 4, 0x1014, 0x40),
    ("DCA_RXCTRL", 16, 0x2200, 4, 0x100C, 0x40),
    ("RAL", 16, 0x5400, 8, 0xA200, 8),
    ("RAH", 16, 0x5404, 8, 0xA204, 8),
    ("PSRTYPE", 16, 0x5480, 4, 0xEA00, 4),
    ("MRQC", 1, 0x5818, 4, 0xEC80, 4),
    ("RETA", 32, 0x5C00, 4, 0xEB00, 4),
    ("RSSRK", 10, 0x5C80, 4, 0xEB80, 4),
]


def test_reserved_bits_of_an_address_register_read_zero(bench: Bench) -> None:
    """Linux's register test writes 0x800cffff and wants bits 15:0 and AV back."""
    for offset in (0xA204, 0xA204 + 8 * 127, 0x5404):
        bench.write_at(offset, 0xFFFFFFFF)
        assert bench.read_at(offset) == 0x8000FFFF


@pytest.mark.parametrize("row", ALIASES, ids=lambda row: row[0])
def test_aliases_read_and_write_the_same_cell(bench: Bench, row: tuple[str, int, int, int, int, int]) -> None:
    _, count, alias, alias_stride, real, stride = row
    for n in range(count):
        first, second = alias + n * alias_stride, real + n * stride
        bench.write_at(first, 0x80005A00 | n)
        assert bench.read_at(second) == bench.read_at(first) == 0x80005A00 | n
        bench.write_at(second, 0x00003C00 | n)
        assert bench.read_at(first) == bench.read_at(second) == 0x00003C00 | n
        assert bench.datapath.store[second // 4] == 0x00003C00 | n, "the data path reads the canonical offset"
        assert bench.datapath.store[first // 4] == 0


def test_ctrl_is_at_0_and_4(bench: Bench) -> None:
    bench.write_at(0, 4)
    assert bench.read_at(4) == 4
    bench.write_at(4, 0)
    assert bench.read_at(0) == 0


def test_queue_windows_are_where_the_datasheet_has_them(bench: Bench) -> None:
    for n in (0, 1, 63, 64, 127):
        window = 0x1000 + 0x40 * n if n < 64 else 0xD000 + 0x40 * (n - 64)
        assert [bench.at(r, n) - window for r in ("RDBAL", "RDLEN", "RDH", "SRRCTL", "RDT", "RXDCTL")] == [
            *(0x00, 0x08, 0x10, 0x14, 0x18, 0x28)
        ]
        assert bench.at("TDT", n) == 0x6018 + 0x40 * n
    assert bench.at("EITR", 23) == 0x87C
    assert bench.at("EITR", 24) == 0x12300
    assert bench.at("QPRDC", 0) == bench.at("RDBAL", 16) + 0x30


RESETS = [  # 1.13 and what the tables of section 1 say besides
    ("SRRCTL", 0x402), ("RDRXCTL", 0x00108808), ("HLREG0", 0x08012C0B), ("DMATXCTL", 0x81000004),
    ("RTTDCS", 0x00C00000), ("DCA_RXCTRL", 0xB200), ("DCA_TXCTRL", 0x2A00), ("TXPBSIZE", 0x28000),
    ("TXPBTHRESH", 0x96), ("RXPBSIZE", 0x80000), ("VLNCTRL", 0x8100), ("MAXFRS", 0x05EE0000),
    ("SECRXCTRL", 1), ("SECRXSTAT", 1), ("SECTXSTAT", 1), ("LEDCTL", 0x05040100), ("PCS1GLCTL", 0x02040000),
    ("I2CCTL", 0xF), ("DTXMXSZRQ", 0x10), ("EEC", 0x2730), ("ESDP", 0x4), ("FACTPS", 0x4), ("PCS1GANA", 0x1A0),
    ("CTRL", 0), ("STATUS", 1 << 19), ("EICR", 0), ("EIMS", 0), ("FCTRL", 0), ("RXCTRL", 0), ("MRQC", 0),
    ("MTQC", 0), ("RXCSUM", 0), ("GPIE", 0), ("CTRL_EXT", 0), ("RXDCTL", 0), ("TXDCTL", 0), ("SWSM", 0),
    ("SW_FW_SYNC", 0), ("FDIRCTRL", 0), ("MMNGC", 0), ("MREVID", 0), ("EERD", 0), ("RXDSTATCTRL", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), RESETS)
def test_reset_values(bench: Bench, name: str, value: int) -> None:
    assert bench.read(name) == value
    bench.write("CTRL", 1 << 26)
    assert bench.read(name) == (value if name != "SWSM" else 1), "reading SWSM has taken it, and a reset leaves it"


def test_reset_values_of_whole_runs(bench: Bench) -> None:
    assert [bench.read("SRRCTL", n) for n in range(128)] == [0x402] * 128
    assert [bench.read("RXPBSIZE", n) for n in range(8)] == [0x80000] * 8
    assert [bench.read("TXPBSIZE", n) for n in range(8)] == [0x28000] + [0] * 7
    assert [bench.read("TXPBTHRESH", n) for n in range(8)] == [0x96] + [0] * 7
    assert [bench.read("FTQF", n) for n in range(128)] == [0] * 128
    assert [bench.read("RAH", n) >> 31 for n in range(128)] == [1] + [0] * 127


def test_nothing_reads_all_ones_and_status_is_no_side_effect(bench: Bench) -> None:
    """An unimplemented register that reads 0xFFFFFFFF makes Linux detach the adapter."""
    for offset in range(0, 0x20000, 4):
        assert bench.read_at(offset) != 0xFFFFFFFF, hex(offset)
    assert bench.read("STATUS") == bench.read("STATUS")
    assert bench.misuses() == []


def test_what_is_not_implemented_reads_0_and_swallows_writes(bench: Bench) -> None:
    for offset in (0x0000C, 0x02800, 0x20000, BAR_BYTES - 4):
        bench.write_at(offset, 0xDEADBEEF)
        assert bench.read_at(offset) == 0
    assert bench.misuses() == []


# Access modes


def test_plain_and_mask() -> None:
    made = File(R("A", 0x10, mask=0xFF0, reset=0x8001))
    made.file.write32(0x10, 0xFFFFFFFF)
    assert made.file.read32(0x10) == 0x8FF1
    made.file.write32(0x10, 0)
    assert made.file.read32(0x10) == 0x8001


def test_clear_on_read_and_write_only() -> None:
    made = File(R("A", 0x10, reset=5, read="clear"), R("B", 0x14, reset=5, read="zero"))
    assert [made.file.read32(0x10) for _ in range(2)] == [5, 0]
    assert made.file.read32(0x14) == 0
    assert made.file.peek("B") == 5


def test_w1c_and_w1s() -> None:
    made = File(R("C", 0x10, reset=0xFF, mask=0x0F, write="w1c"), R("S", 0x14, reset=0x80, mask=0x0F, write="w1s"))
    made.file.write32(0x10, 0xF3)
    made.file.write32(0x14, 0xF3)
    assert made.file.read32(0x10) == 0xFC
    assert made.file.read32(0x14) == 0x83


def test_read_only_is_silent_and_guarded_complains() -> None:
    made = File(R("A", 0x10, reset=5, write="ro"), R("B", 0x14, 2, reset=5, write="guarded"))
    made.file.write32(0x10, 0)
    made.file.write32(0x18, 0)
    assert (made.file.read32(0x10), made.file.read32(0x18)) == (5, 5)
    assert made.misuses == [("B", 1)]


def test_hooks_get_name_and_index() -> None:
    made = File(R("A", 0x10, 4, read="h", write="h"))
    written: list[tuple[str, int, int]] = []
    assert made.file.unbound() == {"h"}
    made.file.bind({"h": lambda name, index: index + 100}, {"h": lambda *what: written.append(what)})
    made.file.write32(0x18, 7)
    assert made.file.read32(0x1C) == 103
    assert written == [("A", 2, 7)]


def test_the_data_path_learns_of_new_values_only() -> None:
    made = File(R("A", 0x10, path=True), R("B", 0x14))
    made.file.write32(0x14, 1)
    made.file.write32(0x10, 0)
    assert made.changes == 0
    made.file.write32(0x10, 1)
    made.file.write32(0x10, 1)
    assert made.changes == 1


def test_64_bit_accesses_go_low_half_first() -> None:
    made = File(R("A", 0x10, 2, read="h", write="h"))
    order: list[tuple[str, int, int]] = []

    def read(name: str, index: int) -> int:
        order.append(("r", index, 0))
        return index + 1

    made.file.bind({"h": read}, {"h": lambda *what: order.append(what)})
    assert made.file.read(0x10, 8) == (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
    made.file.write(0x10, (0x22_0000_0011).to_bytes(8, "little"))
    assert order == [("r", 0, 0), ("r", 1, 0), ("A", 0, 0x11), ("A", 1, 0x22)]


def test_narrow_accesses_are_tolerated() -> None:
    made = File(R("A", 0x10, reset=0x44332211), R("C", 0x14, reset=0xFFFFFFFF, write="w1c"))
    assert made.file.read(0x11, 1) == b"\x22"
    assert made.file.read(0x12, 2) == b"\x33\x44"
    made.file.write(0x12, b"\xaa")
    assert made.file.read32(0x10) == 0x44AA2211
    made.file.write(0x15, b"\x0f")
    assert made.file.read32(0x14) == 0xFFFFF0FF, "bytes that were not written clear nothing"


@given(st.integers(-8, BAR_BYTES + 8), st.integers(1, 16))
def test_any_run_of_bytes_is_read_or_refused(offset: int, count: int) -> None:
    made = File(R("A", 0x10, reset=1))
    if offset >= 0 and offset + count <= BAR_BYTES:
        assert len(made.file.read(offset, count)) == count
        made.file.write(offset, bytes(count))
    else:
        with pytest.raises(ValueError, match="leaves its"):
            made.file.read(offset, count)
        with pytest.raises(ValueError, match="leaves its"):
            made.file.write(offset, bytes(count))


# NVM


def checksum_as_a_driver_computes_it(read: list[int]) -> int:
    """The NVM's checksum (datasheet 6): words 0 to 0x3E, sections of pointers 3 to 0xE without their length word."""
    total = sum(read[:0x3F])
    for pointer in range(3, 0xF):
        if read[pointer] in (0, 0xFFFF):
            continue
        length = read[read[pointer]]
        if length not in (0, 0xFFFF):
            total += sum(read[read[pointer] + 1 : read[pointer] + 1 + length])
    return (0xBABA - total) & 0xFFFF


def sections() -> Iterator[list[int]]:
    yield build_image()
    image = build_image()
    image[4] = 0x200
    image[0x200:0x204] = [3, 0x1111, 0x2222, 0x3333]
    yield image


def test_nvm_checksum() -> None:
    image = build_image()
    assert covered_sum(image) == CHECKSUM_SUM == 0xBABA
    assert image[CHECKSUM_WORD] == checksum_as_a_driver_computes_it(image)


def test_nvm_checksum_follows_pointers() -> None:
    plain, pointed = sections()
    difference = 0x200 - 0xFFFF + 0x1111 + 0x2222 + 0x3333
    assert (covered_sum(pointed) - covered_sum(plain)) & 0xFFFF == difference & 0xFFFF


def test_nvm_holds_what_drivers_look_for() -> None:
    image = build_image()
    assert len(image) == 1024
    assert image[image[image[0x0F] + 4] + 7] > 5, "pass-through patch version"
    assert image[0x2C] == 0x0083
    pairs = image[image[0x2B] + 1 : image[0x2B] + 9]
    assert pairs[::2] == [3, 4, 5, 6]
    assert image[image[0x2B] + 9] == 0xFFFF
    assert all(image[data + 1] == 0xFFFF for data in pairs[1::2])


def test_mac_words() -> None:
    assert mac_words("02:11:22:33:44:55") == (0x33221102, 0x80005544)
    for wrong in ("", "02:11:22:33:44", "02:11:22:33:44:5g", "0211.2233.4455", "+2:11:22:33:44:55"):
        with pytest.raises(ValueError, match="no MAC address"):
            mac_words(wrong)


def test_the_mac_address_is_in_the_first_filter(bench: Bench) -> None:
    assert (bench.read("RAL"), bench.read("RAH")) == mac_words(MAC)
