"""Bring-up on a model that is as unkind as cards are: low power, firmware, management, crosstalk, resets."""

import pytest

from ixyfwd.errors import DeviceError, DeviceGoneError
from ixyfwd.model.chip.resets import Resets
from ixyfwd.nic.ixgbe.bringup import RESET_SILENCE_S
from ixyfwd.nic.ixgbe.defaults import OFF
from tests.testing.model_card import OPTIONS, QUEUES, Card

X540, X550, SFP = 0x1528, 0x1563, 0x10FB
LINK_TIMEOUT_S = 5.0
PHY_BITS = 0b110  # SW_FW_SYNC: SW_PHY0, SW_PHY1
DRV_LOAD = 1 << 28
LINK_DISABLE = 1 << 28

# The PHY's power


@pytest.mark.parametrize("device", [X540, X550])
def test_a_phy_in_low_power_is_switched_on(device: int) -> None:
    """Linux 3c2f2b77a917, DPDK d27a7e4e0b: without it there is never a link."""
    card = Card(device)
    card.inject("phy-low-power")
    card.bring_up()
    assert card.driver.wait_link(LINK_TIMEOUT_S).up
    assert not card.bench.port.injector.report()["phy-low-power"]["active"]


def test_the_phy_is_held_while_its_power_changes() -> None:
    card = Card(X540)
    card.inject("phy-low-power")
    card.bring_up()
    held, on_mdio = 0, []
    for name, _, value in card.log:
        if name == "SW_FW_SYNC":
            held = value & PHY_BITS
        if name == "MSCA":
            on_mdio.append(held)
    assert on_mdio and all(on_mdio)
    assert not held, "given back"


def test_a_phy_that_is_on_is_not_written_to() -> None:
    card = Card(X540)
    card.bring_up()
    assert card.driver.wait_link(LINK_TIMEOUT_S).up
    assert "MSRWD" not in {name for name, _, _ in card.log}


# The firmware's errors


@pytest.mark.parametrize("device", [SFP, X540, X550])
def test_an_error_of_the_firmware_is_a_notice(device: int) -> None:
    """X550 cards in the field show FWSM 0x0118801f and work (DPDK 5fb0a9acbb)."""
    card = Card(device)
    card.inject("firmware-error", indication=0x23)
    card.bring_up()
    (notice,) = card.driver.notices
    assert "the device's firmware indicates error 0x23 (FWSM 0x01188040)" in notice
    assert card.driver.wait_link(LINK_TIMEOUT_S).up


def test_a_card_without_errors_has_no_notices() -> None:
    card = Card(X550)
    card.bring_up()
    assert card.driver.notices == ()


def test_recovery_mode_is_refused_on_an_x550_only() -> None:
    card = Card(X550)
    card.inject("firmware-error", recovery="yes")
    with pytest.raises(DeviceError, match="FWSM reads 0x01188060: the device's firmware is in its recovery mode"):
        card.bring_up()
    other = Card(X540)  # where bit 5 has another meaning
    other.inject("firmware-error", recovery="yes")
    other.bring_up()


# A management controller


@pytest.mark.parametrize("device", [SFP, X540, X550])
def test_a_management_controller_is_not_cut_off(device: int) -> None:
    card = Card(device)
    card.bench.pass_ms(20)
    card.inject("management")
    card.bring_up()
    assert card.driver.wait_link(LINK_TIMEOUT_S).up
    card.driver.retry_link()
    card.driver.stop()
    card.bring_up()
    assert card.count("management") == 0
    assert not {"AUTOC", "AUTOC2"} & {name for name, _, _ in card.log}


def test_a_link_that_a_management_controller_holds_down_says_so() -> None:
    card = Card()
    card.inject("management")
    card.inject("link-down")
    card.bring_up()
    card.driver.retry_link()
    state = card.driver.link()
    assert not state.up and "MMNGC.MNG_VETO is 1" in state.reason
    assert card.count("management") == 0


def test_the_firmware_knows_while_a_driver_has_the_device() -> None:
    card = Card()
    card.bring_up()
    assert card.bench.read("CTRL_EXT") & DRV_LOAD
    card.driver.stop()
    assert card.driver.stop_problems == ()
    assert not card.bench.read("CTRL_EXT") & DRV_LOAD


# Links that are none


def test_an_empty_cage_has_no_link_even_if_links_shows_one() -> None:
    """DPDK dd3a93cf5a: the neighbour's signal."""
    card = Card()
    card.inject("crosstalk")
    card.bring_up()
    state = card.driver.wait_link(1.0)
    assert (state.up, state.speed_mbps, state.reason) == (False, 0, "no SFP+ module in the cage")
    assert card.bench.read("LINKS") >> 30 & 1
    card.bench.port.injector.end("crosstalk")
    card.bring_up()
    assert card.driver.wait_link(LINK_TIMEOUT_S).up


def test_an_nvm_that_wants_no_crosstalk_fix_is_heeded() -> None:
    """Where the board does not wire the cage to SDP2 the pin says nothing."""
    card = Card(module=False)
    card.bench.port.set_cable(True)
    card.bring_up()
    card.bench.write("HLREG0", card.bench.read("HLREG0") | 1 << 15)  # forces the link up
    assert card.driver.link().up


def test_a_link_of_a_moment_is_none() -> None:
    """DPDK c377d4151b: read again after 5 ms."""
    card = Card()
    card.inject("link-down")
    card.inject("link-glitch", ms=2, every_ms=100)
    card.bring_up()
    assert not card.driver.wait_link(1.0).up
    assert card.count("link-glitch") > 1


# Resets


@pytest.mark.parametrize("device", [SFP, X540, X550])
@pytest.mark.parametrize("ms", [2, 50, 400])
def test_a_card_that_is_silent_after_its_reset_has_not_left(device: int, ms: int) -> None:
    card = Card(device)
    card.inject("reset-silence", ms=ms)
    card.bring_up()
    assert card.driver.wait_link(LINK_TIMEOUT_S).up
    assert card.count("reset-silence") == 1


def test_a_card_that_stays_silent_has_left() -> None:
    card = Card()
    card.inject("reset-silence", ms=10_000)
    begun = card.now()
    with pytest.raises(DeviceGoneError, match=r"CTRL .* and STATUS read all ones"):
        card.bring_up()
    assert RESET_SILENCE_S <= card.now() - begun < 2 * RESET_SILENCE_S + 0.5


# What a reset keeps

NOT_RESERVED = {  # the bits that a driver may have changed, of registers with bits that no driver writes
    "GCR_EXT": 1 << 30 | 0b11,
    "ESDP": 1 << 11 | 1 << 3,
    "HLREG0": 1 << 28 | 1 << 27 | 0xF << 20 | 1 << 17 | 1 << 16 | 1 << 15 | 1 << 10 | 0b111,
    "RDRXCTL": 1 << 26 | 1 << 25 | 0x1F << 17 | 0b110,
    "RSCDBU": 1 << 7,
    "DMATXCTL": 0xFFFF << 16 | 1 << 3 | 1,
    "SECTXCTRL": 0b111,
    "SECRXCTRL": 0b11,
    "RTTDCS": 1 << 6 | 1 << 4 | 0b11,
    "RTTPCS": 1 << 8 | 1 << 6 | 1 << 5,
    "RTRPCS": 1 << 6 | 0b110,
    "AUTOC2": LINK_DISABLE | 1 << 16 | 1 << 17,
    "MACC": 1,
}
NOT_RESTORED = {
    # by the board, the NVM or the firmware
    **dict.fromkeys(("LEDCTL", "WUC", "WUFC", "GRC", "GCR", "FLA", "EEMNGCTL", "MANC"), "the NVM's and the board's"),
    **dict.fromkeys(("HICR", "FWSTS", "FLEX_MNG"), "the firmware's"),
    "SW_FW_SYNC": "semaphores, which whoever holds them gives back",
    **dict.fromkeys(("PFMAILBOX", "PFMBMEM", "MSRWD"), "memory for messages"),
    "ESDP": "the board's pins: link.py sets those that it knows",
    "I2CCTL_X550": "pins of a bus, released by whoever uses it",
    **dict.fromkeys(
        ("CIAA", "CIAD", "CIAA_X550", "CIAD_X550"), "access to the configuration space of virtual functions"
    ),
    # without effect while a switch is off, which bring-up writes
    **dict.fromkeys(("SAQF", "DAQF", "SDPQF", "L34T_IMIR"), "FTQF"),
    **dict.fromkeys(("PSRTYPE", "PFVML2FLT"), "PFVTCTL: of pools beyond the first"),
    "PFVMTXSW": "PFDTXGSWC",
    "RQTC": "MRQC: RSS without traffic classes",
    **dict.fromkeys(("RXSTMPL", "RXSTMPH", "SYSTIML", "SYSTIMH", "TIMINCA", "TIMADJL", "TIMADJH"), "TSYNCRXCTL"),
    **dict.fromkeys(("TRGTTIML", "TRGTTIMH"), "TSAUXC"),
    **dict.fromkeys(("SECTXBUFFAF", "SECTXMINIFG"), "SECTXCTRL"),
    **dict.fromkeys(("PCS1GLCTL", "PCS1GANA"), "AUTOC: links of 1 Gb/s"),
    # of the 82599's predecessor, or in register tests of drivers only
    **dict.fromkeys(("DROPEN", "TIPG", "PFCTOP"), "nothing here"),
}
QUEUE_REGISTERS = frozenset(
    {"RDBAL", "RDBAH", "RDLEN", "DCA_RXCTRL", "SRRCTL", "RSCCTL", "TDBAL", "TDBAH", "TDLEN", "DCA_TXCTRL"}
    | {"TDWBAL", "TDWBAH"}
)


def is_restored(name: str, index: int) -> bool:
    """Whether bring-up answers for a register: not for those above, nor for queues that stay disabled."""
    if name in QUEUE_REGISTERS:
        return index < QUEUES
    return name not in NOT_RESTORED and not name.startswith("FDIR")  # FDIRCTRL is off


def make_dirty(card: Card) -> set[tuple[str, int]]:
    """Turn every bit of every plain register that is not reserved; returns the registers."""
    dirty = set()
    for (name, index), cell in card.bench.map.named.items():
        if Resets.is_plain(cell):
            store = card.bench.datapath.store
            store[cell.word] ^= cell.register.mask & NOT_RESERVED.get(name, 0xFFFFFFFF)
            dirty.add((name, index))
    return dirty


@pytest.mark.parametrize("device", [SFP, X540, X550])
def test_a_dirty_card_comes_up_as_a_fresh_one(device: int) -> None:
    fresh, card = Card(device), Card(device)
    fresh.bring_up()
    dirty = make_dirty(card)
    card.inject("reset-keeps")
    card.bring_up()
    expected, found = fresh.values(), card.values()
    changed = {place: (hex(expected[place]), hex(value)) for place, value in found.items() if expected[place] != value}
    if device != SFP:
        changed.pop(("AUTOC2", 0))  # without effect beside a PHY
    assert {place: change for place, change in changed.items() if is_restored(*place)} == {}
    assert len(dirty) > 2000
    assert card.driver.wait_link(LINK_TIMEOUT_S).up


@pytest.mark.parametrize("register", ["RTTDT1C", "RTTBCNRC"])
def test_rate_limits_of_the_last_driver_are_off(register: str) -> None:
    """4.6.11.3.4: a reset leaves the memory of the arbiter alone."""
    card = Card()
    card.inject("reset-keeps")
    card.bench.write("RTTDQSEL", 1)
    card.bench.write(register, 0x80000001)
    card.bring_up()
    card.bench.write("RTTDQSEL", 1)
    assert card.bench.read(register) == 0


def test_no_queue_of_the_last_driver_runs_on() -> None:
    """All of them are switched off after the reset, before the device may reach memory again."""
    card = Card()
    card.driver.reset_and_init(OPTIONS)
    for name in ("RXDCTL", "TXDCTL"):
        assert {index for which, index, value in card.log if which == name and value == 0} == set(range(128))


def test_the_table_of_what_is_off_agrees_with_the_model() -> None:
    named = {(cell.register.name, cell.number): cell.word * 4 for cell in Card().bench.map.cells()}
    for name, rule, _ in OFF:
        offsets = [run.offset + n * run.stride for run in rule for n in range(run.count)]
        assert offsets == sorted(at for (other, _), at in named.items() if other == name), name
