"""The internal 10GBASE-T PHY of an X540 or X550: clause-45 registers (IEEE 802.3 45.2) that drivers ask for."""

from ixyfwd.model.chip.profiles import SPEEDS

ADDRESS = 0  # on MDIO
PMA, PHYXS, AN = 1, 4, 7  # device types
CONTROL, STATUS, ID_HIGH, ID_LOW, SPEED, STATUS2, EXTENDED = 0, 1, 2, 3, 4, 8, 11
CONTROL_ONCE = 1 << 15 | 1 << 9  # reset, restart of the negotiation: clear themselves
LINK = 1 << 2
NEGOTIATED = 1 << 5
PRESENT = 2 << 14
COPPER = 1 << 2 | 1 << 5 | 1 << 7  # 10GBASE-T, 1000BASE-T, 100BASE-TX
ABSENT = 0xFFFF


class Phy:
    """A PHY on MDIO. Registers hold what is written; negotiation succeeds at once while `link` says so."""

    def __init__(self, phy_id: int) -> None:
        self.link = False
        self._address = 0
        self._written: dict[tuple[int, int], int] = {}
        self._fixed = {
            (device, register): value
            for device in (PMA, PHYXS, AN)
            for register, value in (
                (ID_HIGH, phy_id >> 16),
                (ID_LOW, phy_id & 0xFFFF),
                (SPEED, SPEEDS),
                (STATUS2, PRESENT),
                (EXTENDED, COPPER),
            )
        }

    def set_address(self, address: int) -> None:
        """Select the register for the next read or write."""
        self._address = address

    def read(self, device: int) -> int:
        """The register last addressed, of a device type."""
        place = device, self._address
        if self._address == STATUS:
            return (LINK | NEGOTIATED | 1 << 3) if self.link else 1 << 3
        return self._fixed.get(place, self._written.get(place, 0))

    def write(self, device: int, value: int) -> None:
        """Write the register last addressed; fixed ones ignore it."""
        self._written[device, self._address] = value & ~CONTROL_ONCE if self._address == CONTROL else value
