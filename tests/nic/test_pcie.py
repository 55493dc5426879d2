"""The PCIe link of a function: width and speed against what the card can do."""

import pytest

from ixyfwd.nic.pcie import pcie_facts
from tests.testing.driver_fake import FakeFunction


def function(speed: int, lanes: int, best: int = 0x82) -> FakeFunction:
    found = FakeFunction()
    found.config.update({0x34: 0xA0, 0xA0: 0x10, 0xA1: 0, 0xAC: best, 0xB2: lanes << 4 | speed})
    return found


@pytest.mark.parametrize(
    ("speed", "lanes", "share"), [(2, 8, ""), (2, 4, "50%"), (1, 8, "50%"), (1, 4, "25%"), (2, 1, "12%")]
)
def test_a_narrow_or_slow_slot_is_said(speed: int, lanes: int, share: str) -> None:
    link = next(pcie_facts(function(speed, lanes)))
    assert link.concern.startswith(share) and bool(link.concern) == bool(share)


def test_a_card_made_for_four_lanes_of_8_gt_is_content() -> None:
    assert not next(pcie_facts(function(3, 4, best=0x43))).concern


def test_a_broken_list_of_capabilities_ends() -> None:
    found = FakeFunction()
    found.config.update({0x34: 0x40, 0x40: 5, 0x41: 0x40})
    assert "no PCIe capability" in next(pcie_facts(found)).found
