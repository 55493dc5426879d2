"""The register table and the access object: offsets, fields, waits, devices that are gone."""

from itertools import combinations

import pytest

from ixyfwd.errors import DeviceGoneError, DeviceTimeoutError
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.register import Field, Mode, Register, Where
from ixyfwd.nic.ixgbe.registers import (
    CTRL,
    EICR,
    EIMC,
    FCTRL,
    LINKS,
    RAH,
    RAL,
    RDBAL,
    RDT,
    RETA,
    RXDCTL,
    SRRCTL,
    STATUS,
    TDT,
    TXDCTL,
)
from tests.testing.driver_fake import ADDRESS, ALL_ONES, FakeClock, FakeFunction
from tests.testing.driver_fake import EICR as EICR_OFFSET

TABLE = Register.__subclasses__()


def registers(function: FakeFunction | None = None) -> tuple[Registers, FakeFunction, FakeClock]:
    found = FakeFunction() if function is None else function
    clock = FakeClock()
    return Registers(found, "p0", clock), found, clock


def test_no_two_registers_share_an_offset() -> None:
    seen: dict[int, str] = {}
    for register in TABLE:
        for index in range(register.count):
            location = register[index]
            assert location.offset % 4 == 0 and location.offset < 0x20000
            assert location.offset not in seen, (location.name, seen.get(location.offset))
            seen[location.offset] = location.name


@pytest.mark.parametrize("register", TABLE, ids=lambda register: register.__name__)
def test_fields_of_a_register_do_not_overlap_and_know_their_register(register: type[Register]) -> None:
    for field in register.fields:
        assert field.register == register.__name__
        assert field.mask and field.mask < 1 << 32
    for one, other in combinations(register.fields, 2):
        assert not one.mask & other.mask, (str(one), str(other))
    assert register.section.startswith("8.2.3")


@pytest.mark.parametrize(
    ("register", "index", "offset"),
    [
        (RDBAL, 0, 0x1000),
        (RDBAL, 63, 0x1FC0),
        (RDBAL, 64, 0xD000),
        (RDBAL, 127, 0xDFC0),
        (RDT, 3, 0x10D8),
        (RXDCTL, 64, 0xD028),
        (SRRCTL, 1, 0x1054),
        (TDT, 127, 0x7FD8),
        (TXDCTL, 2, 0x60A8),
        (RAL, 127, 0xA5F8),
        (RAH, 127, 0xA5FC),
        (RETA, 31, 0xEB7C),
    ],
)
def test_offset_rules(register: type[Register], index: int, offset: int) -> None:
    assert register[index].offset == offset
    assert register[index].name == f"{register.__name__}[{index}]"


@pytest.mark.parametrize("index", [-1, 128])
def test_an_index_outside_the_table_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=r"there is no RDBAL\[-?\d+\], only 128 of them"):
        RDBAL[index]


def test_a_register_that_exists_often_needs_an_index() -> None:
    regs, function, _ = registers()
    with pytest.raises(IndexError, match="RXDCTL exists 128 times"):
        regs.read(RXDCTL)
    assert function.log == []


def test_a_field_refuses_a_value_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"TXDCTL\.PTHRESH holds 0 to 127, not 128"):
        TXDCTL.PTHRESH(128)
    with pytest.raises(ValueError, match="not -1"):
        RXDCTL.ENABLE(-1)


def test_update_changes_its_fields_and_nothing_else() -> None:
    regs, function, _ = registers()
    function.registers[0x60A8] = 0xF0000000 | 0x7F
    regs.update(TXDCTL[2], TXDCTL.PTHRESH(36), TXDCTL.HTHRESH(8))
    assert function.writes() == [(0x60A8, 0xF0000000 | 8 << 8 | 36)]


def test_write_composes_values_and_fields() -> None:
    regs, function, _ = registers()
    regs.write(SRRCTL[1], SRRCTL.BSIZEPACKET(2), SRRCTL.DROP_EN(1))
    regs.write(RETA[0], 0x03020100)
    assert function.writes() == [(0x1054, 2 | 1 << 28), (0xEB00, 0x03020100)]


def test_a_field_of_another_register_is_refused_before_anything_is_written() -> None:
    regs, function, _ = registers()
    with pytest.raises(ValueError, match=r"TXDCTL\.ENABLE is not a field of RXDCTL\[0\]"):
        regs.update(RXDCTL[0], TXDCTL.ENABLE(1))
    assert function.writes() == []


@pytest.mark.parametrize(("where", "mode"), [(LINKS, Mode.RO), (EICR, Mode.RC), (EIMC, Mode.W1C)])
def test_registers_that_must_not_be_read_and_written_back_refuse_update(where: Where, mode: Mode) -> None:
    regs, function, _ = registers()
    with pytest.raises(ValueError, match=mode.value):
        regs.update(where)
    assert function.log == []


def test_all_ones_with_a_living_status_is_a_value() -> None:
    regs, function, _ = registers()
    function.registers[FCTRL[0].offset] = ALL_ONES
    assert regs.read(FCTRL) == ALL_ONES
    assert [offset for _, offset, _ in function.log] == [0x5080, STATUS[0].offset]


def test_all_ones_with_a_dead_status_is_a_device_that_is_gone() -> None:
    regs, function, _ = registers()
    function.broken.gone_after = 0
    with pytest.raises(DeviceGoneError) as caught:
        regs.read(RXDCTL[3])
    assert str(caught.value) == (
        f"port p0 ({ADDRESS}): RXDCTL[3] (0x010e8) and STATUS read all ones: the device has left the bus (removed, "
        "powered off or reset by another process); bring it back and start again"
    )


def test_a_wait_that_runs_out_names_everything() -> None:
    regs, _, clock = registers()
    with pytest.raises(DeviceTimeoutError) as caught:
        regs.wait(RXDCTL[3], RXDCTL.ENABLE(1), timeout_s=0.25, doing="enabling receive queue 3")
    assert str(caught.value) == (
        f"port p0 ({ADDRESS}): waited 0.25 s for RXDCTL[3] (0x010e8) ENABLE = 1 while enabling receive queue 3; it "
        "reads 0x00000000 (ENABLE = 0); check that nothing else drives the device, then start again"
    )
    assert clock.at >= 0.25


def test_a_wait_ends_as_soon_as_the_fields_have_their_values() -> None:
    regs, function, clock = registers()

    def later(seconds: float) -> None:
        if clock.at > 0.01:
            function.registers[CTRL[0].offset] = 0

    function.registers[CTRL[0].offset] = 1 << 26
    clock.on_sleep = later
    regs.wait(CTRL, CTRL.RST(0), CTRL.LNK_RST(0), timeout_s=1.0, doing="resetting")
    assert 0.01 < clock.at < 0.02


def test_the_last_look_comes_after_the_deadline() -> None:
    """A process that slept through the deadline must still see that the device was ready in time."""
    regs, function, clock = registers()

    def oversleep(seconds: float) -> None:
        clock.at += 100.0
        function.registers[RXDCTL[0].offset] = 1 << 25

    clock.on_sleep = oversleep
    assert regs.settles(RXDCTL[0], RXDCTL.ENABLE(1), timeout_s=0.1)


def test_waits_that_run_together_share_one_timeout() -> None:
    regs, _, clock = registers()
    begun = clock.now()
    for queue in range(3):
        with pytest.raises(DeviceTimeoutError):
            regs.wait(RXDCTL[queue], RXDCTL.ENABLE(1), timeout_s=0.5, begun=begun, doing="waiting")
    assert clock.at < 0.6


def test_the_dump_reads_nothing_that_a_read_would_change() -> None:
    regs, function, _ = registers()
    function.registers[RXDCTL[1].offset] = 1 << 25
    lines = list(regs.dump(queues=2))
    assert function.writes() == []
    assert EICR_OFFSET not in {offset for _, offset, _ in function.log}
    assert "RXDCTL[1]      0x01068 0x02000000  ENABLE=1 VME=0" in lines
    assert not any(line.startswith("RXDCTL[2]") for line in lines)


def test_a_field_reads_its_bits() -> None:
    assert Field(7, 4).of(0xABCD) == 0xC
    assert LINKS.SPEED.of(0x70000080) == 3
