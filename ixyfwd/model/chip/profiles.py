"""What the X540 and the X550 do otherwise than the 82599. The 82599's table stays the base."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ixyfwd.model.chip import table
from ixyfwd.model.chip.registers import RegisterCells as R
from ixyfwd.model.chip.registers import RegisterMap
from ixyfwd.model.chip.table_counters import COUNTERS

KB = 1 << 10
SPEEDS = 0x0031  # PMA/PMD speed ability: 10 Gb/s, 1 Gb/s, 100 Mb/s


@dataclass(frozen=True)
class Profile:
    """The profile of a chip.

    `phy_id`: of the internal copper PHY, None = no PHY on MDIO, a cage or a fixed board
    instead. `reta_entries`: of the redirection table. `host_interface`: the NVM is read
    through HICR, too.
    """

    name: str
    phy_id: int | None = None
    packet_buffer_kb: int = 512
    reta_entries: int = 128
    reta_bits: int = 4
    host_interface: bool = False

    @property
    def cage(self) -> bool:
        """Whether an SFP+ module (or the board's fixed link) decides the link, by AUTOC."""
        return self.phy_id is None


IXGBE_82599 = Profile("82599")
X540 = Profile("X540", phy_id=0x01540200, packet_buffer_kb=384)
X550 = Profile("X550", phy_id=0x01540221, packet_buffer_kb=384, reta_entries=512, reta_bits=6, host_interface=True)
PROFILES: Mapping[int, Profile] = MappingProxyType({0x1528: X540, 0x1560: X540, 0x1563: X550, 0x15D1: X550})
_PARTS = (
    *(table.GENERAL, table.INTERRUPTS, table.RECEIVE_DMA, table.FILTERS, table.TRANSMIT_DMA),
    *(table.FLOW_CONTROL, table.LINK, table.NVM, table.TIME_SYNC, COUNTERS),
)
_X550_ONLY = (
    R("ERETA", 0x0EE80, 96, path=True),  # entries 128 to 511
    R("CIAA_X550", 0x11508),
    R("CIAD_X550", 0x11510),
    R("I2CCTL_X550", 0x15F5C),
)


def profile_of(device_id: int) -> Profile:
    """The profile of a device id; an unknown id is an 82599's."""
    return PROFILES.get(device_id, IXGBE_82599)


def build_register_map(profile: Profile = IXGBE_82599) -> RegisterMap:
    """The register table of a chip, expanded; the same for all its ports."""
    rows = [_as_on(row, profile) for part in _PARTS for row in part]
    return RegisterMap((*rows, *_X550_ONLY) if profile.reta_entries == 512 else rows)


def _as_on(row: R, profile: Profile) -> R:
    if row.name == "RXPBSIZE" and profile.packet_buffer_kb != IXGBE_82599.packet_buffer_kb:
        return replace(row, reset=(profile.packet_buffer_kb * KB,) * row.count)
    if row.name == "SW_FW_SYNC" and not profile.cage:
        return replace(row, read="regsmp")
    if row.name == "HICR" and profile.host_interface:
        return replace(row, reset=1, mask=0xFFFFFFFF, write="hicr")
    return row
