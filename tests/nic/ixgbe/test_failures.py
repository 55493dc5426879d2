"""What a device can do wrong: waits that run out, a stop at any stage, a device that goes away."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.errors import DeviceError, DeviceGoneError, DeviceTimeoutError
from tests.testing.driver_fake import (
    ADDRESS,
    CTRL,
    DMATXCTL,
    EEC,
    ENABLE,
    GIO_DIS,
    OPTIONS,
    QUEUES,
    RDRXCTL,
    RXCTRL,
    SECRXSTAT,
    FakeFunction,
    bring_up,
    brought_up,
    port,
    rxdctl,
    txdctl,
)

# Waits that run out


def never_reset(function: FakeFunction) -> None:
    function.broken.reset = True


def never_read_eeprom(function: FakeFunction) -> None:
    function.power_on[EEC] &= ~(1 << 9)


def never_ready_dma(function: FakeFunction) -> None:
    function.power_on[RDRXCTL] &= ~(1 << 3)


def never_enable_rx(function: FakeFunction) -> None:
    function.broken.enable.add(rxdctl(1))


def never_enable_tx(function: FakeFunction) -> None:
    function.broken.enable.add(txdctl(2))


def never_empty(function: FakeFunction) -> None:
    function.power_on[SECRXSTAT] = 0


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (never_reset, "waited 1 s for CTRL (0x00000) RST = 0 and LNK_RST = 0 while resetting the device"),
        (never_read_eeprom, "waited 1 s for EEC (0x10010) AUTO_RD = 1 while the device reads its EEPROM"),
        (never_ready_dma, "waited 1 s for RDRXCTL (0x02f00) DMAIDONE = 1 while the device initialises its DMA engines"),
        (never_enable_rx, "waited 0.5 s for RXDCTL[1] (0x01068) ENABLE = 1 while enabling receive queue 1"),
        (never_enable_tx, "waited 0.5 s for TXDCTL[2] (0x060a8) ENABLE = 1 while enabling transmit queue 2"),
        (never_empty, "waited 0.1 s for SECRXSTAT (0x08d04) SECRX_RDY = 1 while emptying the receive path"),
    ],
)
def test_every_wait_of_bring_up_is_bounded_and_named(sabotage: Callable[[FakeFunction], None], words: str) -> None:
    driver, function, _ = port()
    sabotage(function)
    with pytest.raises(DeviceTimeoutError) as caught:
        bring_up(driver)
    assert str(caught.value).startswith(f"port p0 ({ADDRESS}): ")
    assert words in str(caught.value)
    driver.stop()
    assert function.log[-1] == ("master", 0, 0)


@pytest.mark.parametrize(("sick_s", "recovers"), [(0.5, True), (1.5, True), (3.5, False)])
def test_a_reset_is_tried_three_times(sick_s: float, recovers: bool) -> None:
    """A second each, by the fake's clock."""
    driver, function, clock = port()
    function.broken.reset = True

    def pass_time(_: float) -> None:
        function.broken.reset = clock.at < sick_s

    clock.on_sleep = pass_time
    if recovers:
        bring_up(driver)
        assert clock.at > sick_s and driver.link().up
    else:
        with pytest.raises(DeviceTimeoutError, match="resetting the device"):
            bring_up(driver)


def test_an_absent_nvm_is_an_error() -> None:
    driver, function, _ = port()
    function.power_on[EEC] = 0x2730 & ~(1 << 8)
    with pytest.raises(DeviceError, match=r"EEC\.EE_PRES is 0: the device finds no valid EEPROM"):
        driver.reset_and_init(OPTIONS)


@pytest.mark.parametrize(("rx", "name"), [(True, "receive"), (False, "transmit")])
def test_disabling_a_queue_is_bounded_and_named(rx: bool, name: str) -> None:
    driver, function = brought_up()
    function.broken.disable.add(rxdctl(1) if rx else txdctl(1))
    with pytest.raises(DeviceTimeoutError, match=f"ENABLE = 0 while disabling {name} queue 1"):
        (driver.disable_rx_queue if rx else driver.disable_tx_queue)(1)


# Stop


def test_stop_is_in_order() -> None:
    driver, function = brought_up()
    function.log.clear()
    driver.stop()
    assert driver.stop_problems == ()
    rxen = function.last_write(RXCTRL)
    rx_off = [function.last_write(rxdctl(q)) for q in range(QUEUES)]
    tx_off = [function.last_write(txdctl(q)) for q in range(QUEUES)]
    te, gio = function.last_write(DMATXCTL), function.first_write(CTRL, GIO_DIS)
    assert rxen < min(rx_off) and max(rx_off) < min(tx_off) and max(tx_off) < te < gio
    assert function.log[-1] == ("master", 0, 0)
    assert function.registers[RXCTRL] == 0 and not function.registers[DMATXCTL] & 1
    assert not any(function.registers[control(q)] & ENABLE for q in range(QUEUES) for control in (rxdctl, txdctl))


def test_stop_waits_for_what_is_queued() -> None:
    driver, function, clock = port()
    bring_up(driver)
    function.registers[0x6018] = 40

    def send(seconds: float) -> None:
        function.registers[0x6010] = min(40, function.registers[0x6010] + 1)

    clock.on_sleep = send
    function.log.clear()
    driver.stop()
    assert driver.stop_problems == ()
    drained = next(i for i, entry in enumerate(function.log) if entry == ("read", 0x6010, 40))
    assert drained < function.first_write(txdctl(0))


def test_stop_of_a_port_that_cannot_send_ends_and_says_so() -> None:
    driver, function = brought_up()
    function.registers[0x6058] = 3
    driver.stop()
    (problem,) = driver.stop_problems
    assert "waited 0.5 s for TDH to meet TDT of transmit queues [1] while stopping" in problem
    assert function.log[-1] == ("master", 0, 0)


def test_stop_tries_every_step_and_reports_each_that_failed() -> None:
    driver, function, clock = port()
    bring_up(driver)
    function.registers[SECRXSTAT] = 0
    function.broken.disable |= {rxdctl(q) for q in range(QUEUES)} | {txdctl(0)}
    function.broken.master = True
    begun = clock.at
    driver.stop()
    expected = ("SECRX_RDY", "RXDCTL[0]", "TXDCTL[0]", "STATUS.GIO_MASTER_ENABLE = 0")
    assert len(driver.stop_problems) == len(expected)
    assert all(words in problem for words, problem in zip(expected, driver.stop_problems, strict=True))
    assert function.registers[RXCTRL] == 0
    assert function.log[-1] == ("master", 0, 0)
    assert clock.at - begun < 1.5


def test_stop_twice_does_nothing_the_second_time() -> None:
    driver, function = brought_up()
    driver.stop()
    function.log.clear()
    driver.stop()
    assert function.log == []


def test_stop_of_a_port_that_was_never_touched_leaves_it_alone() -> None:
    driver, function, _ = port()
    driver.stop()
    assert function.log == []


def test_a_stopped_port_comes_up_again() -> None:
    driver, function = brought_up()
    driver.stop()
    bring_up(driver)
    assert function.registers[RXCTRL] == 1 and function.bus_master
    assert function.registers[rxdctl(QUEUES - 1)] & ENABLE


# A device that goes away


READS_OF_A_RUN = 330


def test_the_number_of_reads_below_covers_a_whole_run() -> None:
    driver, function = brought_up()
    driver.read_statistics()
    assert READS_OF_A_RUN * 0.9 < function.reads < READS_OF_A_RUN


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(0, READS_OF_A_RUN))
def test_gone_at_any_read_is_one_clear_error_and_stop_is_safe(reads: int) -> None:
    driver, function, clock = port()
    function.broken.gone_after = reads
    try:
        bring_up(driver)
        driver.read_statistics()
    except DeviceGoneError as gone:
        assert "read all ones" in str(gone)
        assert "\n" not in str(gone)
        begun = clock.at
        driver.stop()
        (problem,) = driver.stop_problems
        assert "read all ones" in problem
        assert clock.at - begun < 0.1
    else:
        assert function.reads <= reads
        driver.stop()
    assert function.log[-1] == ("master", 0, 0)


def test_a_function_that_does_not_answer_ends_in_one_sentence() -> None:
    driver, function = brought_up()
    function.broken.no_answer = True
    with pytest.raises(DeviceGoneError, match="closed the connection"):
        driver.link()
    driver.stop()
    assert driver.stop_problems == (f"{ADDRESS}: the server closed the connection",)


def test_bus_mastering_goes_off_even_when_the_stop_is_interrupted() -> None:
    driver, function, clock = port()
    bring_up(driver)
    function.registers[0x6018] = 1

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    clock.on_sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        driver.stop()
    assert function.log[-1] == ("master", 0, 0)
