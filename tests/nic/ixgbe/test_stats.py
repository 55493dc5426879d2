"""Counters that clear on reading, gathered into totals that only grow."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.nic.ixgbe.device import Ixgbe
from ixyfwd.nic.ixgbe.register import ALL_ONES
from ixyfwd.nic.ixgbe.stats import COUNTERS, PER_QUEUE
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.rss import RssOptions
from tests.testing.driver_fake import FakeFunction, counter_offsets, port

QUEUES = 2
QPRC, QPRDC, QPTC, RXMPC, GPRC, RXNFGPC = 0x1030, 0x1430, 0x6030, 0x3FA0, 0x4074, 0x41B0


def counting() -> tuple[Ixgbe, FakeFunction]:
    driver, function, _ = port()
    driver.reset_and_init(PortOptions(rss=RssOptions(queues=QUEUES)))
    function.log.clear()
    return driver, function


def test_bring_up_clears_every_counter_of_the_chip() -> None:
    function = FakeFunction()
    function.power_on |= dict.fromkeys(counter_offsets(), 7)
    driver, _, _ = port(function)
    driver.reset_and_init(PortOptions(rss=RssOptions(queues=QUEUES)))
    assert not counter_offsets() & function.registers.keys()
    driver.read_statistics()
    assert set(driver.statistics.counters.values()) == {0}
    assert not any(sum(values) for values in driver.statistics.queues.values())


def test_every_counter_is_read_once_lower_half_first() -> None:
    driver, function = counting()
    driver.read_statistics()
    reads = [offset for _, offset, _ in function.log]
    assert len(reads) == len(set(reads))
    for row in COUNTERS:
        if row.high is not None:
            assert reads.index(row.low) + 1 == reads.index(row.high)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, ALL_ONES - 1)] * 6), min_size=1, max_size=4))
def test_totals_are_the_sums_of_all_readings(readings: list[tuple[int, ...]]) -> None:
    driver, function = counting()
    for first, second, dropped, missed, sent, good in readings:
        function.registers |= {QPRC: first, QPRC + 0x40: second, QPRDC + 0x40: dropped, QPTC: sent, GPRC: good}
        function.registers |= {RXMPC: missed, RXMPC + 4 * 7: 1}
        driver.read_statistics()
    sums = [sum(column) for column in zip(*readings, strict=True)]
    found = driver.statistics
    assert found.queues["QPRC"] == sums[:2]
    assert found.queues["QPRDC"] == [0, sums[2]]
    assert found.rx_delivered == sums[0] + sums[1]
    assert found.rx_no_descriptor == sums[2]
    assert found.rx_missed == sums[3] + len(readings)
    assert found.rx_packets == found.rx_delivered + found.rx_no_descriptor + found.rx_missed
    assert found.tx_packets == sums[4]
    assert found.counters["GPRC"] == sums[5]
    assert found.saturated == set()


def test_the_upper_half_of_a_byte_counter_counts() -> None:
    driver, function = counting()
    for _ in range(3):
        function.registers |= {0x1034: ALL_ONES, 0x1038: 0xF, 0x8708: 5, 0x870C: 1, 0x4088: 1, 0x408C: 2}
        driver.read_statistics()
    found = driver.statistics
    assert found.rx_bytes == 3 * 0xF_FFFF_FFFF
    assert found.queues["QBTC"] == [0, 3 * 0x1_0000_0005]
    assert found.tx_bytes == 3 * 0x1_0000_0005
    assert found.counters["GORC"] == 3 * 0x2_0000_0001
    assert found.saturated == set()


def test_a_counter_at_its_limit_counts_as_far_as_it_goes_and_says_so() -> None:
    driver, function = counting()
    function.registers[QPRC + 0x40] = ALL_ONES
    function.registers[GPRC] = ALL_ONES
    driver.read_statistics()
    driver.read_statistics()
    assert driver.statistics.rx_delivered == ALL_ONES
    assert driver.statistics.saturated == {"QPRC[1]", "GPRC"}


def test_totals_pass_32_bits() -> None:
    driver, function = counting()
    for _ in range(5):
        function.registers[QPTC] = 0xFFFFFFFE
        driver.read_statistics()
    assert driver.statistics.tx_packets == 5 * 0xFFFFFFFE > 1 << 32


def test_filtered_and_errors() -> None:
    driver, function = counting()
    function.registers |= {RXNFGPC: 100, GPRC: 90, 0x4000: 3, 0x40AC: 2}
    driver.read_statistics()
    assert driver.statistics.rx_filtered == 10
    assert driver.statistics.rx_errors == 5


def test_frames_that_arrive_between_two_reads_never_make_filtered_negative() -> None:
    driver, function = counting()
    order = [row.name for row in COUNTERS]
    assert order.index("GPRC") < order.index("RXNFGPC")
    function.registers[GPRC] = 5
    driver.read_statistics()
    assert driver.statistics.rx_filtered == 0


def test_only_queues_in_use_are_read() -> None:
    driver, function = counting()
    driver.read_statistics()
    reads = {offset for _, offset, _ in function.log}
    assert QPRC + 0x40 in reads and QPRC + 0x80 not in reads
    assert {len(values) for values in driver.statistics.queues.values()} == {QUEUES}
    assert set(driver.statistics.queues) == {row.name for row in PER_QUEUE}


def test_a_new_bring_up_starts_from_zero() -> None:
    driver, function = counting()
    function.registers[QPRC] = 9
    driver.read_statistics()
    driver.reset_and_init(PortOptions())
    driver.read_statistics()
    assert driver.statistics.rx_packets == 0


def test_as_json_is_plain_data() -> None:
    driver, function = counting()
    function.registers[QPRC] = 9
    driver.read_statistics()
    found = driver.statistics.as_json()
    assert found["rx_packets"] == found["rx_delivered"] == 9
    assert found["queues"]["QPRC"] == [9, 0]
    assert found["counters"]["GPRC"] == 0 and found["saturated"] == []
