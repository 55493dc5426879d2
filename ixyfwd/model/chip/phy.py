"""The internal 10GBASE-T PHY of an X540 or X550: clause-45 registers (IEEE 802.3 45.2) that drivers ask for."""

from collections.abc import Callable

from ixyfwd.model.chip.profiles import SPEEDS

ADDRESS = 0  # on MDIO
PMA, PHYXS, AN, VENDOR = 1, 4, 7, 0x1E  # device types
CONTROL, STATUS, ID_HIGH, ID_LOW, SPEED, STATUS2, EXTENDED = 0, 1, 2, 3, 4, 8, 11
CONTROL_ONCE = 1 << 15 | 1 << 9  # reset, restart of the negotiation: clear themselves
LOW_POWER = 1 << 11  # of VENDOR's control register; no reset of the MAC clears it
LINK = 1 << 2
NEGOTIATED = 1 << 5
PRESENT = 2 << 14
COPPER = 1 << 2 | 1 << 5 | 1 << 7  # 10GBASE-T, 1000BASE-T, 100BASE-TX
ABSENT = 0xFFFF


class Phy:
    """A copper PHY behind MDIO.

    Registers hold what is written; negotiation succeeds at once while `link` says so.
    `on_power(on)` is called when the PHY goes into low power, where it has no link, and
    when it comes out of it.
    """

    def __init__(self, phy_id: int, on_power: Callable[[bool], None] = lambda on: None) -> None:
        self.link = False
        self._on_power = on_power
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

    @property
    def low_power(self) -> bool:
        """Whether software has put the PHY into low power."""
        return bool(self._written.get((VENDOR, CONTROL), 0) & LOW_POWER)

    def set_low_power(self, on: bool) -> None:
        """What a driver does by writing the bit."""
        value = self._written.get((VENDOR, CONTROL), 0)
        self._store_power(value | LOW_POWER if on else value & ~LOW_POWER)

    def _store_power(self, value: int) -> None:
        was = self.low_power
        self._written[VENDOR, CONTROL] = value
        if self.low_power != was:
            self._on_power(not self.low_power)

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
        if (device, self._address) == (VENDOR, CONTROL):
            self._store_power(value)
            return
        self._written[device, self._address] = value & ~CONTROL_ONCE if self._address == CONTROL else value
