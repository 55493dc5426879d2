"""The 82599, X540 and X550 as a family."""

from typing import Final

from ixyfwd.nic.contract import Chip, Family, PciDevices
from ixyfwd.nic.ixgbe.device import Ixgbe
from ixyfwd.nic.ixgbe.ids import ACCEPTED, INTEL, MODELS, REFUSALS
from ixyfwd.nic.ixgbe.limits import LIMITS
from ixyfwd.nic.ixgbe.report import REPORTS

FAMILY: Final = Family(
    "ixgbe",
    LIMITS,
    PciDevices(
        MODELS,
        tuple(Chip(INTEL, one.device, one.name, one.reta_entries) for one in ACCEPTED),
        REFUSALS,
        Ixgbe,
        REPORTS,
    ),
)
