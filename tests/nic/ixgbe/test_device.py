"""A port that is up, on a fake function: addresses, filters, queues, steering, link."""

import pytest

from ixyfwd.errors import DeviceError, UsageError
from ixyfwd.nic.contract import LinkState
from ixyfwd.nic.ixgbe.rss import reta_words
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.rss import steer
from tests.testing.driver_fake import (
    AUTOC,
    ENABLE,
    ESDP,
    FCTRL,
    LINKS,
    OPTIONS,
    QUEUES,
    RAH0,
    RAL0,
    RINGS,
    RXCTRL,
    FakeFunction,
    bring_up,
    brought_up,
    port,
    rxdctl,
    txdctl,
)

AN_RESTART = 1 << 12

# Addresses and filters


def test_the_address_comes_from_the_nvm() -> None:
    driver, _ = brought_up()
    assert driver.mac == "02:00:00:00:00:01"


def test_the_address_may_be_given() -> None:
    driver, function = brought_up(PortOptions(mac="02:12:34:56:78:9A"))
    assert driver.mac == "02:12:34:56:78:9a"
    assert function.registers[RAL0] == 0x56341202
    assert function.registers[RAH0] == 0x80009A78


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0x00000002, 0x00000100, r"RAH\[0\].AV is 0"),
        (0, 0x80000000, "hold 00:00:00:00:00:00"),
        (0x00000001, 0x80000000, "hold 01:00:00:00:00:00"),
    ],
)
def test_a_bad_address_in_the_nvm_is_an_error_unless_one_is_given(low: int, high: int, words: str) -> None:
    function = FakeFunction()
    function.power_on |= {RAL0: low, RAH0: high}
    driver, _, _ = port(function)
    with pytest.raises(DeviceError, match=words):
        driver.reset_and_init(OPTIONS)
    driver.reset_and_init(PortOptions(mac="02:00:00:00:00:07"))
    assert driver.mac == "02:00:00:00:00:07"


@pytest.mark.parametrize(("promiscuous", "expected"), [(True, 1 << 8 | 1 << 9 | 1 << 10), (False, 1 << 10)])
def test_promiscuous_or_not(promiscuous: bool, expected: int) -> None:
    _, function = brought_up(PortOptions(promiscuous=promiscuous))
    assert function.registers[FCTRL] == expected


def test_mac_filters_are_set_and_replaced_while_reception_is_halted() -> None:
    driver, function = brought_up(
        PortOptions(promiscuous=False, mac_filters=("02:00:00:00:00:aa", "01:00:5e:00:00:01"))
    )
    assert [function.registers[RAL0 + 8 * n] for n in range(4)] == [0x2, 0x2, 0x005E0001, 0]
    assert [function.registers[RAH0 + 8 * n] for n in range(4)] == [0x80000100, 0x8000AA00, 0x80000100, 0]
    function.log.clear()
    driver.set_mac_filters(["02:00:00:00:00:bb"])
    assert [function.registers[RAH0 + 8 * n] for n in range(3)] == [0x80000100, 0x8000BB00, 0]
    off, on = (i for i, entry in enumerate(function.log) if entry[:2] == ("write", RXCTRL))
    changed = [i for i, (kind, at, _) in enumerate(function.log) if kind == "write" and RAL0 <= at < RAL0 + 0x400]
    assert off < min(changed) and max(changed) < on
    assert function.registers[RXCTRL] == 1


def test_set_promiscuous_leaves_a_halted_port_halted() -> None:
    driver, function, _ = port()
    driver.reset_and_init(OPTIONS)
    driver.set_promiscuous(False)
    assert function.registers[FCTRL] == 1 << 10
    assert function.registers.get(RXCTRL, 0) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (PortOptions(mac="02:00:00:00:00"), "is not a MAC address"),
        (PortOptions(mac="03:00:00:00:00:01"), "expected a unicast address"),
        (PortOptions(mac_filters=("02-00-00-00-00-01",)), "is not a MAC address"),
    ],
)
def test_wrong_addresses_are_refused_before_anything_is_touched(options: PortOptions, words: str) -> None:
    driver, function, _ = port()
    with pytest.raises(UsageError, match=words):
        driver.reset_and_init(options)
    assert function.log == []


def test_too_many_filters_are_refused() -> None:
    driver, _ = brought_up()
    with pytest.raises(UsageError, match="found 128 MAC filters, expected at most 127"):
        driver.set_mac_filters([f"02:00:00:00:00:{n:02x}" for n in range(128)])


# Steering, queues, link


def test_steer_writes_the_table_and_nothing_else() -> None:
    driver, function = brought_up()
    function.log.clear()
    driver.steer([0, 2])
    assert [offset for offset, _ in function.writes()] == [0xEB00 + 4 * n for n in range(32)]
    expected = steer([n % QUEUES for n in range(128)], QUEUES, [0, 2])
    assert [value for _, value in function.writes()] == list(reta_words(expected))
    assert driver.reta == expected
    driver.steer(range(QUEUES))
    assert driver.reta == tuple(n % QUEUES for n in range(128))


@pytest.mark.parametrize(
    ("queue", "address", "entries", "words"),
    [
        (QUEUES, RINGS, 512, "queue 3 is not one of 3"),
        (-1, RINGS, 512, "queue -1"),
        (0, RINGS + 64, 512, "not a multiple of 128"),
        (0, RINGS, 500, "cannot have 500 entries"),
        (0, RINGS, 0, "cannot have 0 entries"),
        (0, RINGS, 16384, "cannot have 16384 entries"),
    ],
)
def test_impossible_rings_are_refused(queue: int, address: int, entries: int, words: str) -> None:
    driver, function = brought_up()
    function.log.clear()
    for setup in (driver.setup_rx_queue, driver.setup_tx_queue):
        with pytest.raises(ValueError, match=words):
            setup(queue, address, entries)
    assert function.log == []


def test_a_queue_that_runs_is_disabled_before_it_is_set_up_again() -> None:
    driver, function = brought_up()
    function.registers |= {0x1018: 17, 0x1010: 18, 0x6018: 19, 0x6010: 19}
    function.log.clear()
    driver.setup_rx_queue(0, RINGS, 256)
    driver.setup_tx_queue(0, RINGS, 256)
    for control, base in ((rxdctl(0), 0x1000), (txdctl(0), 0x6000)):
        values = [value & ENABLE for offset, value in function.writes() if offset == control]
        assert values == [0, ENABLE]
        off = next(i for i, entry in enumerate(function.log) if entry[:2] == ("write", control))
        assert off < function.first_write(base)
        assert function.registers[base + 0x18] == function.registers[base + 0x10] == 0


def test_heads_tails_and_drained() -> None:
    driver, function = brought_up()
    function.registers |= {0x1050: 5, 0x1058: 4, 0x6050: 7, 0x6058: 9}
    assert (driver.rx_head(1), driver.rx_tail(1), driver.tx_head(1), driver.tx_tail(1)) == (5, 4, 7, 9)
    assert not driver.tx_drained(1)
    function.registers[0x6050] = 9
    assert driver.tx_drained(1)


@pytest.mark.parametrize(
    ("links", "state"),
    [
        (0x70000080, LinkState(True, 10000)),
        (0x60000080, LinkState(True, 1000)),
        (0x50000000, LinkState(True, 100)),
        (0x30000000, LinkState(False, 0)),
    ],
)
def test_link_states(links: int, state: LinkState) -> None:
    driver, function = brought_up()
    function.registers[LINKS] = links
    assert driver.link() == state
    assert driver.wait_link(0.01) == state


def test_an_empty_cage_is_said_where_there_is_one() -> None:
    driver, function = brought_up()
    function.registers |= {LINKS: 0x30000000, ESDP: 0}
    assert driver.link() == LinkState(False, 0, "no SFP+ module in the cage")
    function.registers[LINKS] = 0x70000080
    assert driver.link() == LinkState(True, 10000)
    cx4, function, _ = port(FakeFunction(0x10F9))
    bring_up(cx4)
    function.registers |= {LINKS: 0x30000000, ESDP: 0}
    assert cx4.link() == LinkState(False, 0), "a board without a cage"


def test_a_link_that_is_down_is_set_up_again() -> None:
    driver, function = brought_up()
    function.log.clear()
    driver.retry_link()
    assert AUTOC not in dict(function.writes()), "it is up"
    function.registers[LINKS] = 0x30000000
    driver.retry_link()
    assert dict(function.writes())[AUTOC] & AN_RESTART


def test_waiting_for_a_link_ends_when_it_is_up() -> None:
    driver, function, clock = port()
    bring_up(driver)
    function.registers[LINKS] = 0x30000000
    begun = clock.at

    def plug_in(seconds: float) -> None:
        if clock.at - begun > 0.5:
            function.registers[LINKS] = 0x70000080

    clock.on_sleep = plug_in
    assert driver.wait_link(10.0) == LinkState(True, 10000)
    assert clock.at - begun < 1.0
