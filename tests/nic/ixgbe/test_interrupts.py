"""Receive interrupts: what is written on a fake function, and what the model's registers then do with time by hand."""

import os
import select
from collections.abc import Iterator
from typing import Any, cast

import pytest

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.bringup import mask_interrupts
from ixyfwd.nic.ixgbe.interrupts import MAX_INTERVAL_US, MAX_VECTORS, enable_interrupts
from ixyfwd.pci.function import Function
from ixyfwd.vfiouser.protocol import msix_eventfds
from tests.testing.driver_fake import EIMC, brought_up
from tests.testing.model_fakes import Bench

EIAC, EIMS, GPIE, IVAR, IVAR_MISC = 0x810, 0x880, 0x898, 0x900, 0xA00
INTERVAL_US = 100
US = 1000


def eitr(vector: int) -> int:
    return 0x820 + 4 * vector


@pytest.mark.parametrize(
    ("vectors", "ivar", "bits"),
    [
        (1, [0x00000080, 0], 0x1),
        (2, [0x00810080, 0], 0x3),
        (3, [0x00810080, 0x00000082, 0], 0x7),
        (16, [0x00810080 + n * 0x00020002 for n in range(8)] + [0], 0xFFFF),
    ],
)
def test_vector_i_tells_of_receive_queue_i(vectors: int, ivar: list[int], bits: int) -> None:
    driver, function = brought_up()
    function.log.clear()
    driver.enable_interrupts(vectors, INTERVAL_US)
    written = dict(function.writes())
    assert len(written) == len(function.log), "each register is written once and none is read"
    assert [written[IVAR + 4 * n] for n in range(len(ivar))] == ivar
    assert all(written[IVAR + 4 * n] == 0 for n in range(len(ivar), 64))
    assert written[IVAR_MISC] == 0
    assert written[GPIE] == 1 << 31 | 1 << 4, "MSI-X, no automatic mask"
    assert (written[EIAC], written[EIMS]) == (bits, bits)
    assert [offset for offset in written if 0x820 <= offset < 0x880] == [eitr(n) for n in range(vectors)]
    assert function.writes()[-1] == (EIMS, bits), "nothing interrupts before all is set"


@pytest.mark.parametrize(("interval_us", "word"), [(0, 0), (2, 1 << 3), (100, 50 << 3), (101, 50 << 3), (1022, 0xFF8)])
def test_intervals_count_in_two_microseconds(interval_us: int, word: int) -> None:
    driver, function = brought_up()
    driver.enable_interrupts(2, interval_us)
    assert [function.registers[eitr(n)] for n in range(2)] == [word, word]


@pytest.mark.parametrize(("vectors", "interval_us"), [(0, 2), (MAX_VECTORS + 1, 2), (1, -1), (1, MAX_INTERVAL_US + 1)])
def test_what_the_chip_has_not(vectors: int, interval_us: int) -> None:
    driver, function = brought_up()
    function.log.clear()
    with pytest.raises(ValueError, match=r"port p0 .*, expected 1 to 16 and 0 to 1022 us"):
        driver.enable_interrupts(vectors, interval_us)
    assert not function.log


def test_the_stop_masks_them() -> None:
    driver, function = brought_up()
    driver.enable_interrupts(3, INTERVAL_US)
    driver.stop()
    assert driver.stop_problems == ()
    assert function.last_write(EIMC) > function.last_write(EIMS)


class OnModel:
    """The model's registers reached as a function; the clock stands still unless told otherwise."""

    def __init__(self, vectors: int, interval_us: int) -> None:
        self.bench = Bench()
        self.fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(vectors)]
        self.bench.port.set_irqs(msix_eventfds(0, vectors), tuple(self.fds))
        self.address = "by hand"
        self.writes = 0
        self.registers = Registers(cast(Function, self), "p0")  # of a function only this is used
        enable_interrupts(self.registers, vectors, interval_us)
        self.writes = 0

    def read32(self, offset: int) -> int:
        return self.bench.read_at(offset)

    def write32(self, offset: int, value: int) -> None:
        self.writes += 1
        self.bench.write_at(offset, value)

    def frames(self, *queues: int) -> list[int]:
        """Write-backs of these receive queues; messages by vector since the last look."""
        self.bench.datapath.causes = (sum(1 << queue for queue in queues), 0)
        return self.messages()

    def messages(self, after_us: int = 0) -> list[int]:
        self.bench.clock.ns += after_us * US
        self.bench.port.tick()
        ready: list[Any] = select.select(self.fds, [], [], 0)[0]
        return [os.eventfd_read(fd) if fd in ready else 0 for fd in self.fds]

    def close(self) -> None:
        self.bench.port.disconnect()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def chip() -> Iterator[OnModel]:
    found = OnModel(16, INTERVAL_US)
    yield found
    found.close()


def test_a_lone_frame_is_told_at_once_and_the_next_at_the_end_of_the_interval(chip: OnModel) -> None:
    """Again and again, without a register being written."""
    first = [0] * 3 + [1] + [0] * 12
    for _ in range(5):
        assert chip.frames(3) == first
        assert chip.frames(3) == chip.frames(3) == [0] * 16
        assert chip.messages(after_us=INTERVAL_US - 1) == [0] * 16
        assert chip.messages(after_us=1) == first
        assert chip.messages(after_us=10 * INTERVAL_US) == [0] * 16
    assert chip.writes == 0


def test_vectors_do_not_hold_each_other_back(chip: OnModel) -> None:
    for queue in range(16):
        assert chip.frames(queue) == [int(vector == queue) for vector in range(16)]
    chip.messages(after_us=INTERVAL_US)
    assert chip.frames(*range(16)) == [1] * 16


def test_no_limit() -> None:
    chip = OnModel(1, 0)
    assert [chip.frames(0) for _ in range(100)] == [[1]] * 100
    chip.close()


def test_queues_without_a_vector_and_other_causes_tell_nobody(chip: OnModel) -> None:
    assert chip.frames(16, 63) == [0] * 16
    chip.bench.pass_ms(20)  # the link comes up
    assert chip.messages() == [0] * 16


def test_masked_is_silent(chip: OnModel) -> None:
    mask_interrupts(chip.registers)
    assert chip.frames(*range(16)) == [0] * 16
    assert chip.messages(after_us=10 * INTERVAL_US) == [0] * 16
