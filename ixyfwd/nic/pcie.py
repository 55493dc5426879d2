"""The PCIe link of a function, from its configuration space (PCI Express base specification 7.8)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ixyfwd.nic.report import Fact
from ixyfwd.pci.function import Function

_CAPABILITIES: Final = 0x34
_PCIE: Final = 0x10
_LINK_CAPABILITIES, _LINK_STATUS = 0x0C, 0x12
_GT_S: Final = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0}
_MOST_CAPABILITIES: Final = 48


@dataclass(frozen=True)
class PcieLink:
    """Lanes and transfers a lane, in 10^9 a second."""

    lanes: int
    gt_s: float

    @property
    def gbit_s(self) -> float:
        """Bits each way in 10^9 a second, without the line code and before packets' overhead."""
        return self.lanes * self.gt_s * (0.8 if self.gt_s < 8 else 128 / 130)

    def __str__(self) -> str:
        return f"{self.gt_s:g} GT/s x{self.lanes}"


def pcie_facts(function: Function) -> Iterator[Fact]:
    """The link as it is against what the card can do."""
    at = _capability(function, _PCIE)
    if at is None:
        yield Fact("PCIe", "link", "configuration space has no PCIe capability")
        return
    best = _link(function.read_config(at + _LINK_CAPABILITIES, 4))
    now = _link(function.read_config(at + _LINK_STATUS, 2))
    if not best.gbit_s or not now.gbit_s:
        yield Fact("PCIe", "link", "not known: configuration space gives no width and speed")
        return
    share = now.gbit_s / best.gbit_s
    found = f"{now}: {now.gbit_s:.0f} Gb/s each way (the card can do {best}: {best.gbit_s:.0f} Gb/s)"
    concern = "" if share >= 1 else (
        f"{share:.0%} of what the card can do; use a slot with {best.lanes} lanes of {best.gt_s:g} GT/s that are all "
        "wired (a long slot may have fewer)"
    )  # fmt: skip
    yield Fact("PCIe", "link", found, str(now), concern)
    yield Fact("PCIe", "width in lanes", f"{now.lanes} of {best.lanes}", now.lanes)
    yield Fact("PCIe", "speed in GT/s", f"{now.gt_s:g} of {best.gt_s:g}", now.gt_s)


def _link(word: int) -> PcieLink:
    return PcieLink(word >> 4 & 0x3F, _GT_S.get(word & 0xF, 0.0))


def _capability(function: Function, wanted: int) -> int | None:
    """The place of a capability; the list may be broken, so it is followed for a bounded time."""
    at = function.read_config(_CAPABILITIES, 1) & 0xFC
    for _ in range(_MOST_CAPABILITIES):
        if at < 0x40:
            return None
        if function.read_config(at, 1) == wanted:
            return at
        at = function.read_config(at + 1, 1) & 0xFC if at % 2 == 0 else 0
    return None
