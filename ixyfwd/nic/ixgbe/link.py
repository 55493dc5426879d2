"""The link: its set-up (4.6.4) and its state."""

from typing import Final

from ixyfwd.nic.contract import LinkState
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.ids import DeviceId, Media
from ixyfwd.nic.ixgbe.registers import AUTOC, AUTOC2, ESDP, LINKS

LMS_10G_SERIAL: Final = 3
PMA_10G_SERIAL_SFI: Final = 2
NO_MODULE: Final = "no SFP+ module in the cage"
_SPEEDS_MBPS: Final = (0, 100, 1000, 10000)  # LINKS.SPEED; 0 is reserved
_NON_STANDARD: Final = 1 << 27  # X550: "100 Mb/s" is 5 Gb/s then, "10 Gb/s" is 2.5 Gb/s
_NON_STANDARD_MBPS: Final = {100: 5000, 10000: 2500}
_LASER_OFF: Final = (ESDP.SDP3_IODIR(1), ESDP.SDP3_DATA(1))


def setup_link(regs: Registers, media: Media) -> None:
    """Set the link up (4.6.4): an SFP+ cage is 10G serial over SFI.

    A PHY inside the chip negotiates by itself; other media are configured by the
    board's NVM and left alone.
    """
    if media is not Media.SFP:
        return
    # Linux's ixgbe leaves the laser off when it lets go of a port (SDP3, an output, high).
    if regs.holds(ESDP, *_LASER_OFF):
        regs.update(ESDP, ESDP.SDP3_DATA(0))
    regs.update(AUTOC2, AUTOC2.PMA_PMD_10G_SERIAL(PMA_10G_SERIAL_SFI))
    regs.update(AUTOC, AUTOC.LMS(LMS_10G_SERIAL), AUTOC.AN_RESTART(1))


def cage_is_empty(regs: Registers, media: Media) -> bool:
    """Whether an SFP+ cage holds no module: boards wire its module-present pin to SDP2, 1 with a module (3.7.4)."""
    return media is Media.SFP and regs.holds(ESDP, ESDP.SDP2_DATA(0))


def link_state(regs: Registers, device: DeviceId) -> LinkState:
    """The state of the link by LINKS (8.2.3.22.20)."""
    links = regs.read(LINKS)
    if not LINKS.UP.of(links):
        return LinkState(False, 0, NO_MODULE if cage_is_empty(regs, device.media) else "")
    speed_mbps = _SPEEDS_MBPS[LINKS.SPEED.of(links)]
    if device.multi_gigabit and links & _NON_STANDARD:
        speed_mbps = _NON_STANDARD_MBPS.get(speed_mbps, speed_mbps)
    return LinkState(True, speed_mbps)


def wait_link(regs: Registers, device: DeviceId, timeout_s: float) -> LinkState:
    """Wait until the link is up, for `timeout_s` seconds at most. A link that stays down is a state, not an error."""
    regs.settles(LINKS, LINKS.UP(1), timeout_s=timeout_s)
    return link_state(regs, device)
