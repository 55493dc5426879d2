"""Bring-up on a model that is as unkind as cards are: low power, firmware, management, crosstalk, resets."""

import pytest

from ixyfwd.errors import DeviceError, DeviceGoneError
from ixyfwd.nic.ixgbe.bringup import RESET_SILENCE_S
from tests.testing.model_card import Card

X540, X550, SFP = 0x1528, 0x1563, 0x10FB
LINK_TIMEOUT_S = 5.0
PHY_BITS = 0b110  # SW_FW_SYNC: SW_PHY0, SW_PHY1
DRV_LOAD = 1 << 28

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
