"""The link: its set-up (4.6.4) and its state."""

from typing import Final

from ixyfwd.nic.contract import LinkState
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.ids import DeviceId, Media
from ixyfwd.nic.ixgbe.registers import AUTOC, AUTOC2, ESDP, LINKS, MMNGC

LMS_10G_SERIAL: Final = 3
PMA_10G_SERIAL_SFI: Final = 2
NO_MODULE: Final = "no SFP+ module in the cage"
VETOED: Final = "a management controller (BMC) uses the link and forbids to set it up: MMNGC.MNG_VETO is 1"
LINK_PROOF_S: Final = 5e-3  # a link that is gone after so long was none (DPDK c377d4151b)
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
    if link_is_vetoed(regs):
        return
    regs.update(AUTOC2, AUTOC2.LINK_DISABLE(0), AUTOC2.PMA_PMD_10G_SERIAL(PMA_10G_SERIAL_SFI))
    regs.update(AUTOC, AUTOC.LMS(LMS_10G_SERIAL), AUTOC.AN_RESTART(1))


def link_is_vetoed(regs: Registers) -> bool:
    """Whether a management controller forbids to change the link, as its own sessions use it."""
    return regs.holds(MMNGC, MMNGC.MNG_VETO(1))


def cage_is_empty(regs: Registers, media: Media) -> bool:
    """Whether an SFP+ cage holds no module: boards wire its module-present pin to SDP2, 1 with a module (3.7.4)."""
    return media is Media.SFP and regs.holds(ESDP, ESDP.SDP2_DATA(0))


def link_state(regs: Registers, device: DeviceId, *, cage_decides: bool = False) -> LinkState:
    """The state of the link by LINKS (8.2.3.22.20); with `cage_decides` an empty cage has none."""
    if cage_decides and cage_is_empty(regs, device.media):
        return LinkState(False, 0, NO_MODULE)
    links = regs.read(LINKS)
    if not LINKS.UP.of(links):
        return LinkState(False, 0, _reason_of(regs, device))
    speed_mbps = _SPEEDS_MBPS[LINKS.SPEED.of(links)]
    if device.multi_gigabit and links & _NON_STANDARD:
        speed_mbps = _NON_STANDARD_MBPS.get(speed_mbps, speed_mbps)
    return LinkState(True, speed_mbps)


def _reason_of(regs: Registers, device: DeviceId) -> str:
    if cage_is_empty(regs, device.media):
        return NO_MODULE
    return VETOED if device.media is Media.SFP and link_is_vetoed(regs) else ""
