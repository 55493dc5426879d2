"""SWSM.SMBI, SW_FW_SYNC.REGSMP and the PHY's bits: held around an X540's reset, taken over from the dead, bounded."""

import pytest

from ixyfwd.errors import DeviceTimeoutError
from ixyfwd.nic.ixgbe.phy import AFTER_RESET_TIMEOUT_S
from ixyfwd.nic.ixgbe.semaphore import PHY_TIMEOUT_S
from tests.testing.driver_fake import CTRL, LNK_RST, OPTIONS, RST, STATUS, FakeClock, FakeFunction, bring_up, port

SWSM, SW_FW_SYNC = 0x10140, 0x10160
SMBI, REGSMP = 1 << 0, 1 << 31
PHY0, PHY1, FW_PHY0, FW_PHY1, SW_EEP = 1 << 1, 1 << 2, 1 << 6, 1 << 7, 1 << 0


class Shared(FakeFunction):
    """A port with semaphores as on the X540: reading takes. `stuck` are registers whose lock never comes free;
    `held` bits of SW_FW_SYNC belong to somebody else until `held_until` by the clock."""

    def __init__(self, device: int = 0x1528, lan: int = 0) -> None:
        super().__init__(device)
        self.lan = lan
        self.stuck: set[int] = set()
        self.locks = {SWSM: SMBI, SW_FW_SYNC: REGSMP}
        self.at_reset: list[int] = []

    def _value(self, offset: int) -> int:
        value = super()._value(offset)
        if offset in self.locks:
            self.registers[offset] = value | self.locks[offset]
            return value | (self.locks[offset] if offset in self.stuck else 0)
        return value | self.lan << 2 if offset == STATUS else value

    def write32(self, offset: int, value: int) -> None:
        kept = {at: self.registers.get(at, 0) for at in self.locks}
        if offset == CTRL and value & (RST | LNK_RST):
            self.at_reset.append(kept[SW_FW_SYNC])
        if offset == SW_FW_SYNC:
            assert kept[SWSM] & SMBI, "changed under SWSM.SMBI only"
        super().write32(offset, value)
        if offset == CTRL:  # a reset leaves semaphores alone
            self.registers.update(kept)

    def locked(self) -> tuple[int, int]:
        return self.registers.get(SWSM, 0) & SMBI, self.registers.get(SW_FW_SYNC, 0)


def shared(device: int = 0x1528, lan: int = 0) -> tuple[Shared, FakeClock]:
    function = Shared(device, lan)
    function.power_on[SW_FW_SYNC] = function.registers[SW_FW_SYNC] = SW_EEP  # somebody else's business
    return function, FakeClock()


@pytest.mark.parametrize(("lan", "bit"), [(0, PHY0), (1, PHY1)])
@pytest.mark.parametrize("device", [0x1528, 0x1563])
def test_a_copper_port_is_reset_with_its_phy_held(device: int, lan: int, bit: int) -> None:
    function, _ = shared(device, lan)
    driver, _, _ = port(function)
    bring_up(driver)
    assert [held & ~REGSMP for held in function.at_reset] == [SW_EEP | bit]
    assert function.locked() == (0, SW_EEP), "given back, and nothing else changed"


def test_both_resets_after_a_flush_are_guarded() -> None:
    function, _ = shared()
    function.broken.master = True
    driver, _, _ = port(function)
    driver.reset_and_init(OPTIONS)
    assert [held & PHY0 for held in function.at_reset] == [PHY0, PHY0]


def test_an_82599_is_reset_without_it() -> None:
    function, _ = shared(0x10FB)
    driver, _, _ = port(function)
    bring_up(driver)
    assert [held & (PHY0 | PHY1) for held in function.at_reset] == [0]
    assert SW_FW_SYNC not in {offset for _, offset, _ in function.log}


@pytest.mark.parametrize("holder", [PHY0, FW_PHY0], ids=["software", "firmware"])
def test_the_reset_waits_for_whoever_has_the_phy(holder: int) -> None:
    function, _ = shared()
    function.registers[SW_FW_SYNC] |= holder
    driver, _, clock = port(function)

    def let_go(_: float) -> None:
        if 0.1 < clock.at < 1 and not function.at_reset:
            function.registers[SW_FW_SYNC] &= ~holder

    clock.on_sleep = let_go
    driver.reset_and_init(OPTIONS)
    assert 0.1 < clock.at < 1 and len(function.at_reset) == 1


@pytest.mark.parametrize("holder", [PHY0, FW_PHY0], ids=["software", "firmware"])
def test_a_dead_holder_of_the_phy_is_passed_over(holder: int) -> None:
    function, _ = shared()
    function.registers[SW_FW_SYNC] |= holder
    driver, _, clock = port(function)
    driver.reset_and_init(OPTIONS)
    assert PHY_TIMEOUT_S < clock.at < PHY_TIMEOUT_S + AFTER_RESET_TIMEOUT_S + 1
    assert function.at_reset[0] & PHY0


def test_another_ports_phy_is_not_waited_for() -> None:
    function, _ = shared()
    function.registers[SW_FW_SYNC] |= PHY1 | FW_PHY1
    driver, _, clock = port(function)
    driver.reset_and_init(OPTIONS)
    assert clock.at < 1
    assert function.locked()[1] == SW_EEP | PHY1 | FW_PHY1


@pytest.mark.parametrize("lock", [SWSM, SW_FW_SYNC])
def test_a_lock_that_its_dead_holder_left_is_released(lock: int) -> None:
    function, _ = shared()
    function.registers[lock] = function.registers.get(lock, 0) | function.locks[lock]
    driver, _, _ = port(function)
    driver.reset_and_init(OPTIONS)
    assert function.locked() == (0, SW_EEP)


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        (SWSM, "waited 0.1 s for SWSM (0x10140) SMBI = 0 while resetting the device"),
        (SW_FW_SYNC, "waited 0.1 s for SW_FW_SYNC (0x10160) REGSMP = 0 while resetting the device"),
    ],
)
def test_a_lock_that_never_comes_free_is_a_timeout_that_names_it(lock: int, words: str) -> None:
    function, _ = shared()
    function.stuck.add(lock)
    driver, _, clock = port(function)
    with pytest.raises(DeviceTimeoutError) as caught:
        driver.reset_and_init(OPTIONS)
    assert words in str(caught.value)
    assert not function.at_reset and clock.at < 2
    driver.stop()
    assert function.log[-1] == ("master", 0, 0)
