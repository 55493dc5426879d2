"""Injected ways of a card: its PHY's power, its firmware, a management controller, an empty cage, its resets."""

import pytest

from ixyfwd.errors import UsageError
from ixyfwd.model.chip.nvm import CHECKSUM_SUM, covered_sum
from tests.testing.model_fakes import Bench

ALL_ONES = 0xFFFFFFFF
RST, LNK_RST = 1 << 26, 1 << 3
LINKS_UP = 1 << 30
SDP2 = 1 << 2
AN_RESTART = 1 << 12
X540, X550 = 0x1528, 0x1563
COMMAND, ADDRESS, WRITE, READ = 1 << 30, 0 << 26, 1 << 26, 3 << 26
VENDOR, LOW_POWER = 0x1E << 16, 1 << 11


def begin(bench: Bench, kind: str, **parameters: object) -> None:
    bench.port.injector.begin(kind, {name.replace("_", "-"): value for name, value in parameters.items()})


def end(bench: Bench, kind: str) -> None:
    bench.port.injector.end(kind)


def count(bench: Bench, kind: str) -> int:
    return bench.port.injector.report()[kind]["count"]


def active(bench: Bench, kind: str) -> bool:
    bench.port.tick()
    return bench.port.injector.report()[kind]["active"]


def link_up(bench: Bench, milliseconds: int = 100) -> bool:
    bench.pass_ms(milliseconds)
    return bool(bench.read("LINKS") & LINKS_UP)


def write_phy(bench: Bench, value: int) -> None:
    """Register 0 of MDIO device 0x1E."""
    bench.write("MSRWD", value)
    bench.write("MSCA", COMMAND | ADDRESS | VENDOR)
    bench.write("MSCA", COMMAND | WRITE | VENDOR)


def read_phy(bench: Bench) -> int:
    bench.write("MSCA", COMMAND | ADDRESS | VENDOR)
    bench.write("MSCA", COMMAND | READ | VENDOR)
    return bench.read("MSRWD") >> 16


def nvm_sum(bench: Bench) -> int:
    words = []
    for address in range(1024):
        bench.write("EERD", address << 2 | 1)
        words.append(bench.read("EERD") >> 16)
    return covered_sum(words)


# The PHY


@pytest.mark.parametrize("device", [X540, X550])
def test_a_phy_in_low_power_has_no_link_and_no_reset_ends_that(device: int) -> None:
    bench = Bench(device)
    assert link_up(bench)
    write_phy(bench, LOW_POWER)  # what Linux does when an interface is closed
    assert not link_up(bench)
    for bits in (RST, LNK_RST):
        bench.write("CTRL", bits)
        assert not link_up(bench)
    bench.port.reset()
    bench.port.disconnect()
    assert not link_up(bench) and read_phy(bench) == LOW_POWER
    write_phy(bench, 0)
    assert link_up(bench)


def test_low_power_on_demand_ends_when_a_driver_clears_the_bit() -> None:
    bench = Bench(X540)
    begin(bench, "phy-low-power")
    assert not link_up(bench) and read_phy(bench) == LOW_POWER and active(bench, "phy-low-power")
    write_phy(bench, read_phy(bench) & ~LOW_POWER)
    assert link_up(bench) and not active(bench, "phy-low-power")
    begin(bench, "phy-low-power")
    end(bench, "phy-low-power")
    assert link_up(bench) and read_phy(bench) == 0


@pytest.mark.parametrize(("kind", "device"), [("phy-low-power", 0x10FB), ("crosstalk", X540)])
def test_a_port_without_the_part_refuses(kind: str, device: int) -> None:
    with pytest.raises(UsageError, match=f"{kind} is for a port with"):
        begin(Bench(device), kind)


# The firmware


def test_errors_of_the_firmware_outlive_resets() -> None:
    bench = Bench(X550)
    assert bench.read("FWSM") == 0x8040
    begin(bench, "firmware-error")
    bench.write("CTRL", RST)
    assert bench.read("FWSM") == 0x8040 | 0x23 << 19
    begin(bench, "firmware-error", indication=1, recovery="yes")
    assert bench.read("FWSM") == 0x8040 | 1 << 19 | 1 << 5
    end(bench, "firmware-error")
    assert bench.read("FWSM") == 0x8040


def test_a_management_controller_notices_who_changes_its_link() -> None:
    bench = Bench()
    assert link_up(bench)
    bench.write("AUTOC", bench.read("AUTOC"))  # before it is there
    begin(bench, "management")
    assert bench.read("MMNGC") == 1 and bench.read("FWSM") >> 1 & 7 == 2
    bench.write("CTRL", RST)
    assert count(bench, "management") == 0 and bench.read("MMNGC") == 1
    bench.write("CTRL", LNK_RST)  # the link is down: nothing to lose
    assert count(bench, "management") == 0
    assert link_up(bench)
    bench.write("CTRL", RST | LNK_RST)
    bench.write("AUTOC", bench.read("AUTOC") | AN_RESTART)
    assert count(bench, "management") == 2
    end(bench, "management")
    assert bench.read("MMNGC") == 0


@pytest.mark.parametrize("device", [X540, X550])
def test_a_link_reset_always_includes_a_phy_inside(device: int) -> None:
    bench = Bench(device)
    begin(bench, "management")
    bench.write("CTRL", LNK_RST)
    assert count(bench, "management") == 1


# Links that are none


def test_crosstalk_shows_a_link_on_an_empty_cage() -> None:
    bench = Bench()
    assert link_up(bench)
    begin(bench, "crosstalk")
    assert link_up(bench)
    assert not bench.read("ESDP") & SDP2 and not bench.port.link_up and not bench.datapath.link
    bench.write("EERD", 0x2C << 2 | 1)
    assert not bench.read("EERD") >> 16 & 1 << 7
    assert nvm_sum(bench) == CHECKSUM_SUM
    end(bench, "crosstalk")
    assert link_up(bench) and bench.port.link_up and bench.read("ESDP") & SDP2
    assert nvm_sum(bench) == CHECKSUM_SUM


def test_injections_that_need_the_same_do_not_end_each_other() -> None:
    bench = Bench()
    for kind in ("link-down", "crosstalk", "link-glitch"):
        begin(bench, kind)
    end(bench, "crosstalk")
    bench.write("EERD", 0x2C << 2 | 1)
    assert not bench.read("EERD") >> 16 & 1 << 7 and not bench.port.link_up
    end(bench, "link-glitch")
    assert not link_up(bench) and nvm_sum(bench) == CHECKSUM_SUM
    end(bench, "link-down")
    assert link_up(bench)


def test_a_glitch_lasts_for_its_moment() -> None:
    bench = Bench()
    begin(bench, "link-down")
    begin(bench, "link-glitch", ms=2, every_ms=100)
    assert link_up(bench) and link_up(bench, 1)
    assert not link_up(bench, 1) and not link_up(bench, 50)
    assert link_up(bench, 60) and not link_up(bench, 2)
    assert count(bench, "link-glitch") == 2 and not bench.port.link_up
    end(bench, "link-glitch")
    assert not link_up(bench, 200)


# Resets


def test_a_reset_that_keeps_registers_keeps_the_plain_ones_only() -> None:
    bench = Bench()
    begin(bench, "reset-keeps")
    bench.write("RAL", 0x12345678, 0)
    for name, value in (("PFDTXGSWC", 1), ("AUTOC2", 0x70000000), ("RDBAL", 0x1000), ("ESDP", 0x804), ("EIMS", 3)):
        bench.write(name, value)
    bench.write("RTTDQSEL", 5)
    bench.write("RTTBCNRC", 7)
    bench.write("DMATXCTL", 1)
    bench.write("TXDCTL", 1 << 25)
    bench.write("CTRL", RST)
    assert [bench.read(name) for name in ("PFDTXGSWC", "AUTOC2", "RDBAL", "ESDP")] == [1, 0x70000000, 0x1000, 0x804]
    assert bench.read("EIMS") == bench.read("TXDCTL") == bench.read("CTRL") == 0 and not bench.datapath.running
    assert bench.read("RTTBCNRC") == 7
    assert bench.read("RAL") == 0x33221102, "from the NVM"
    bench.port.disconnect()
    assert bench.read("PFDTXGSWC") == 0, "as new for the next client"
    bench.write("PFDTXGSWC", 1)
    assert count(bench, "reset-keeps") == 1
    end(bench, "reset-keeps")
    bench.write("CTRL", LNK_RST)
    assert bench.read("PFDTXGSWC") == bench.read("RTTBCNRC") == 0


def test_a_silent_card_reads_all_ones_and_hears_nothing() -> None:
    bench = Bench()
    begin(bench, "reset-silence", ms=5)
    bench.write("CTRL", RST)
    bench.write("FCTRL", 0x700)
    assert bench.read("STATUS") == bench.read("CTRL") == ALL_ONES
    assert bench.config(0, 2) == 0x8086, "configuration space answers"
    bench.pass_ms(5)
    assert bench.read("CTRL") == bench.read("FCTRL") == 0
    bench.write("CTRL", RST)
    end(bench, "reset-silence")
    assert bench.read("CTRL") == 0
