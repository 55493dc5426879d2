"""Bring-up on a fake function: which devices, what is written, in which order."""

import pytest

from ixyfwd.errors import DeviceGoneError, UsageError
from ixyfwd.nic.ixgbe.ids import ACCEPTED, REFUSED, DeviceId, Media
from ixyfwd.nic.ixgbe.registers import RDT, TDT
from ixyfwd.nic.options import PortOptions
from tests.testing.driver_fake import (
    ADDRESS,
    AUTOC,
    AUTOC2,
    CTRL,
    CTRL_EXT,
    DMATXCTL,
    EIMC,
    ENABLE,
    ESDP,
    GIO_DIS,
    LINKS,
    LNK_RST,
    MRQC,
    MTQC,
    OPTIONS,
    QUEUES,
    RDRXCTL,
    RST,
    RTTDCS,
    RXCTRL,
    SECRXCTRL,
    SECRXSTAT,
    FakeFunction,
    bring_up,
    brought_up,
    port,
    rxdctl,
    txdctl,
)

VLNCTRL = 0x5088
UP = 1 << 30

# Which devices


@pytest.mark.parametrize("known", ACCEPTED, ids=lambda known: known.name)
def test_every_accepted_device_comes_up(known: DeviceId) -> None:
    driver, function, _ = port(FakeFunction(device=known.device))
    bring_up(driver)
    rewrites_link = AUTOC in {offset for offset, _ in function.writes()}
    assert rewrites_link == (known.media is Media.SFP)
    table = [offset for offset, _ in function.writes() if 0xEB00 <= offset < 0xEB80 or 0xEE80 <= offset < 0xF000]
    assert len(table) == known.reta_entries // 4 and len(driver.reta) == known.reta_entries
    assert [value for offset, value in function.writes() if offset == 0x3C00] == [known.packet_buffer_kib << 10]


@pytest.mark.parametrize(("device", "name", "why"), REFUSED)
def test_known_devices_are_refused_by_name(device: int, name: str, why: str) -> None:
    driver, function, _ = port(FakeFunction(device=device))
    with pytest.raises(UsageError) as caught:
        driver.reset_and_init(OPTIONS)
    assert str(caught.value) == (
        f"port p0 ({ADDRESS}): the device is an {name} (8086:{device:04x}), which is not supported: {why}; "
        "use a port of an 82599, X540 or X550"
    )
    assert function.log == []


def test_strangers_are_refused() -> None:
    driver, function, _ = port(FakeFunction(vendor=0x15B3, device=0x10FB))
    with pytest.raises(UsageError, match="the device is 15b3:10fb, which is not an 82599, X540 or X550"):
        driver.reset_and_init(OPTIONS)
    assert function.log == []


def test_an_empty_slot_is_a_device_that_is_gone() -> None:
    driver, _, _ = port(FakeFunction(vendor=0xFFFF, device=0xFFFF))
    with pytest.raises(DeviceGoneError, match="configuration space reads all ones"):
        driver.reset_and_init(OPTIONS)


# Order


def test_nothing_is_configured_before_the_reset() -> None:
    _, function = brought_up()
    reset = function.first_write(CTRL, RST)
    before = {offset for kind, offset, _ in function.log[:reset] if kind == "write"}
    assert before == {EIMC, 0xAB0, 0xAB4, RXCTRL, CTRL}
    assert not any(kind == "master" for kind, _, _ in function.log[:reset])


@pytest.mark.parametrize(
    ("device", "links", "bit"), [(0x10FB, UP, RST), (0x10FB, 0, LNK_RST), (0x1528, UP, RST), (0x1528, 0, RST)]
)
def test_the_reset_follows_the_master_disable_and_spares_a_link_that_is_up(device: int, links: int, bit: int) -> None:
    """RST and LNK_RST together may reset the PHY under a management controller; an X540's LNK_RST always does."""
    driver, function, _ = port(FakeFunction(device))
    function.registers[LINKS] = links
    bring_up(driver)
    assert function.first_write(CTRL, GIO_DIS) < function.first_write(CTRL, bit)
    resets = [value for offset, value in function.writes() if offset == CTRL and value & (RST | LNK_RST)]
    assert resets == [GIO_DIS | bit]


def test_interrupts_are_masked_before_and_after_the_reset_and_never_unmasked() -> None:
    _, function = brought_up()
    reset = function.first_write(CTRL, RST)
    masks = [i for i, (kind, offset, _) in enumerate(function.log) if kind == "write" and offset == EIMC]
    assert masks[0] < reset < masks[1]
    assert not {0x808, 0x880, 0xAA0, 0xAA4} & {offset for offset, _ in function.writes()}


def test_the_device_is_given_time_after_the_reset() -> None:
    driver, function, clock = port()
    quiet: list[tuple[int, float]] = []
    clock.on_sleep = lambda seconds: quiet.append((len(function.log), seconds))
    driver.reset_and_init(OPTIONS)
    reset = function.first_write(CTRL, RST)
    assert quiet[0] == (reset + 1, 1e-3)  # 8.2.3.1.1: no access for 1 ms
    assert (quiet[1][0] - reset, quiet[1][1]) == (2, 10e-3)  # one look, then 10 ms


def test_master_requests_that_never_end_are_flushed_and_reset_twice() -> None:
    driver, function, _ = port()
    function.broken.master = True
    driver.reset_and_init(OPTIONS)
    assert len([value for offset, value in function.writes() if offset == CTRL and value & RST]) == 2
    flush = function.first_write(0x11050, 1 << 30)
    assert flush < function.first_write(CTRL, RST)
    assert function.registers.get(0x11050, 0) == 0


def test_tx_goes_on_before_its_queues_and_reception_after_all_queues() -> None:
    _, function = brought_up()
    te = function.first_write(DMATXCTL, 1)
    rxen = function.first_write(RXCTRL, 1)
    for queue in range(QUEUES):
        assert te < function.first_write(txdctl(queue), ENABLE) < rxen
        assert function.first_write(rxdctl(queue), ENABLE) < rxen


def test_bus_mastering_goes_on_before_the_first_ring_and_after_the_reset() -> None:
    _, function = brought_up()
    master = function.log.index(("master", 0, 1))
    ring_registers = {0x1000 + 0x40 * q for q in range(QUEUES)} | {0x6000 + 0x40 * q for q in range(QUEUES)}
    assert function.first_write(CTRL, RST) < master
    assert all(master < function.first_write(offset) for offset in ring_registers)


def test_mtqc_is_written_only_while_the_arbiter_is_off() -> None:
    _, function = brought_up()
    off = False
    for offset, value in function.writes():
        if offset == RTTDCS:
            off = bool(value & 1 << 6)
        assert offset != MTQC or off
    assert not off
    assert MTQC in {offset for offset, _ in function.writes()}


def test_a_ring_is_programmed_before_its_queue_is_enabled_and_tails_stay_zero() -> None:
    _, function = brought_up()
    for queue in range(QUEUES):
        for base, control in ((0x1000 + 0x40 * queue, rxdctl(queue)), (0x6000 + 0x40 * queue, txdctl(queue))):
            enable = function.first_write(control, ENABLE)
            assert all(function.last_write(base + part) < enable for part in (0x0, 0x4, 0x8, 0x10, 0x18))
            assert all(value == 0 for offset, value in function.writes() if offset == base + 0x18)


def test_the_security_block_holds_the_data_back_while_reception_is_switched() -> None:
    _, function = brought_up()
    rxen = function.first_write(RXCTRL, 1)
    halts = [i for i, entry in enumerate(function.log) if entry[:2] == ("write", SECRXCTRL)][-2:]
    assert halts[0] < rxen < halts[1]
    assert [function.log[i][2] & 2 for i in halts] == [2, 0]
    assert any(entry == ("read", SECRXSTAT, 1) for entry in function.log[halts[0] : rxen])


# Values


def test_queue_registers() -> None:
    _, function = brought_up()
    for queue in range(QUEUES):
        rx, tx = 0x1000 + 0x40 * queue, 0x6000 + 0x40 * queue
        value = function.registers
        assert (value[rx], value[rx + 4], value[rx + 8]) == (0x10000 * queue, 0x10, 512 * 16)
        assert (value[tx], value[tx + 4], value[tx + 8]) == (0x10000 * queue + 0x8000, 0x10, 1024 * 16)
        assert value[rx + 0x14] == 2 | 4 << 8 | 1 << 25 | 1 << 28
        assert value[rx + 0x0C] == 0xA200  # bit 12 cleared
        assert value[tx + 0x0C] == 0x2200  # bit 11 cleared
        assert value[txdctl(queue)] == 36 | 8 << 8 | 0 << 16 | ENABLE
        assert value[rxdctl(queue)] == ENABLE


def test_vlan_tags_stay_in_the_frames_and_no_tag_is_filtered() -> None:
    """8.2.3.8.6, 8.2.3.7.2: RXDCTL.VME would take tags off, VLNCTRL.VFE would drop strangers' frames."""
    driver, function, _ = port()
    vme, vfe, ethertype = 1 << 30, 1 << 30, 0x8100
    function.power_on |= {rxdctl(queue): vme for queue in range(QUEUES)}
    function.power_on[VLNCTRL] = vfe | ethertype
    bring_up(driver)
    assert [function.registers[rxdctl(queue)] & vme for queue in range(QUEUES)] == [0] * QUEUES
    assert function.registers[VLNCTRL] == ethertype


def test_drop_enable_is_an_option() -> None:
    _, function = brought_up(PortOptions(drop_enable=False))
    assert function.registers[0x1014] == 2 | 4 << 8 | 1 << 25


def test_global_registers() -> None:
    _, function = brought_up()
    value = function.registers
    assert value[RDRXCTL] == 0x00108808 & ~(0x1F << 17) | 1 << 1 | 1 << 25 | 1 << 26
    assert value[0x4240] & 0b1000_0100_0000_0111 == 0b0000_0100_0000_0011  # LPBK, TXPADEN, JUMBOEN, CRC both ways
    assert value[CTRL_EXT] & 1 << 16
    assert [value[0x3C00 + 4 * n] for n in range(8)] == [512 << 10] + [0] * 7
    assert [value[0xCC00 + 4 * n] for n in range(8)] == [160 << 10] + [0] * 7
    assert value[DMATXCTL] == 0x81000005
    assert value[0x8100] == 0xFFF
    assert value[0x3D00] == 0 and value[0x4294] == 2  # no flow control; pause frames are dropped
    assert value[0x3260] == 512 * 1024 - 0x6000
    assert value[AUTOC] >> 13 & 7 == 3 and value[AUTOC2] >> 16 & 3 == 2
    assert value[0x5000] & 1 << 13


@pytest.mark.parametrize(("max_frame", "jumbo"), [(1518, 0), (1519, 1), (9018, 1), (9728, 1)])
def test_the_longest_frame(max_frame: int, jumbo: int) -> None:
    """MAXFRS.MFS counts beside JUMBOEN; what leaves the chip must fit above TXPBTHRESH with its tags."""
    _, function = brought_up(PortOptions(max_frame_bytes=max_frame))
    value = function.registers
    assert value[0x4268] >> 16 == max_frame
    assert value[0x4240] >> 2 & 1 == jumbo
    room_kib = 160 - value[0x4950]
    assert room_kib * 1024 - 1024 < max_frame + 8 <= room_kib * 1024
    assert value[0x1014] & 0x1F == 2  # buffers stay as they are: a frame takes several


def test_undefined_tables_are_cleared() -> None:
    driver, function, _ = port()
    tables = {0x5200: 128, 0xA000: 128, 0xF100: 64, 0xF200: 128, 0xF400: 128, 0xE600: 128, 0xA604: 255}
    noise = {base + 4 * n: 0xDEAD for base, count in tables.items() for n in range(count)}
    function.power_on.update(noise)
    driver.reset_and_init(OPTIONS)
    assert not [hex(offset) for offset in noise if function.registers[offset]]


def test_rss_registers() -> None:
    _, function = brought_up()
    assert [function.registers[0xEB80 + 4 * n] for n in range(10)] == [0x5A6D5A6D] * 10
    assert function.registers[MRQC] == 1 | 1 << 16 | 1 << 17 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 23
    table = [function.registers[0xEB00 + 4 * (n // 4)] >> 8 * (n % 4) & 0xF for n in range(128)]
    assert table == [n % QUEUES for n in range(128)]
    assert function.last_write(0xEB7C) < function.first_write(MRQC)


def test_queue_counters_are_mapped_one_to_one() -> None:
    _, function = brought_up()
    for base in (0x2300, 0x8600):
        counters = [function.registers[base + 4 * (q // 4)] >> 8 * (q % 4) & 0xF for q in range(128)]
        assert counters == [q % 16 for q in range(128)]


def test_a_laser_that_the_last_driver_left_off_goes_on() -> None:
    driver, function, _ = port()
    function.power_on[ESDP] = 0x4 | 1 << 11 | 1 << 3
    driver.reset_and_init(OPTIONS)
    assert function.registers[ESDP] == 0x4 | 1 << 11


def test_doorbells() -> None:
    assert [RDT[q].offset for q in (0, 63, 64)] == [0x1018, 0x1FD8, 0xD018]
    assert [TDT[q].offset for q in (0, 127)] == [0x6018, 0x7FD8]
