"""The link: AUTOC, LINKS, ANLP1, and the time it takes to come up (datasheet 8.2.3.22)."""

from collections.abc import Callable

from ixyfwd.model.chip.interrupts import LSC
from ixyfwd.model.chip.profiles import profile_of
from ixyfwd.model.chip.regfile import RegisterFile

UP_DELAY_NS = 10_000_000
AUTOC_FLU = 1 << 0
AUTOC_AN_RESTART = 1 << 12
AUTOC_LMS_SHIFT = 13
AUTOC_LMS_KX = (4, 6)  # modes that end in a completed KX/KX4/KR negotiation
HLREG0_LPBK = 1 << 15
LINKS_10G = 3 << 28
LINKS_UP = 1 << 30
LINKS_OLD_UP = 1 << 7
LINKS_KX_AN_COMPLETE = 1 << 31
ANLP1_STATE = 5 << 16

# AUTOC as the NVM of such a card would load it: LMS 3 (10G serial) with SFI for SFP+, 10G parallel for CX4 and KX4.
AUTOC_SFP = 0xC09C6004
AUTOC_OF_DEVICE = {0x10F9: 0x2100, 0x10F7: 0x2080, 0x1514: 0x2080}
AUTOC2_SFI = 2 << 16


class Link:
    """The link of a port.

    It is up a moment after a reset or a restart, as long as the cable is in; FLU or
    loopback force it up.
    """

    def __init__(
        self,
        file: RegisterFile,
        device_id: int,
        clock_ns: Callable[[], int],
        raise_cause: Callable[[int], None],
        on_change: Callable[[bool], None],
        *,
        on_autoc: Callable[[], None] = lambda: None,
    ) -> None:
        self._file = file
        self._autoc = AUTOC_OF_DEVICE.get(device_id, AUTOC_SFP)
        self._copper = not profile_of(device_id).cage
        self._clock_ns = clock_ns
        self._raise_cause = raise_cause
        self._on_change = on_change
        self._on_autoc = on_autoc
        self._cable = True
        self._held_down = False
        self._powered = True
        self._crosstalk = False
        self._glitch_ns = self._glitch_every_ns = self._glitch_at_ns = 0
        self._flap_period_ns = 0
        self._flap_left: int | None = None
        self._flap_at_ns = 0
        self._up_at_ns: int | None = None
        self.up = False
        self.ups = self.flaps = self.glitches = 0
        self.flapping = self._flapped_down = False
        self.extra_delay_ns = 0
        file.bind(
            {"links": self._read_links, "anlp1": lambda name, index: ANLP1_STATE},
            {"autoc": self._write_autoc, "hlreg0": self._write_hlreg0},
        )

    def reset(self, keep_autoc2: bool = False) -> None:
        """After the registers were reset: load what the NVM holds, start over."""
        self._file.poke("AUTOC", 0, self._autoc)
        if not keep_autoc2:
            self._file.poke("AUTOC2", 0, AUTOC2_SFI if self._autoc == AUTOC_SFP else 0)
        self._restart()

    def set_cable(self, plugged: bool) -> None:
        """Plug the cable in or pull it out."""
        if plugged != self._cable:
            self._cable = plugged
            self._restart()

    def hold_down(self, on: bool) -> None:
        """Injected: keep the link down as if the cable were out, even if `set_cable` plugged it in."""
        if on != self._held_down:
            self._held_down = on
            self._restart()

    def set_powered(self, on: bool) -> None:
        """The PHY goes into low power, where no link is, or out of it; a reset of the port changes nothing of that."""
        if on != self._powered:
            self._powered = on
            self._restart()

    def cross_talk(self, on: bool) -> None:
        """Injected: no cable, and LINKS shows a link that its neighbour's signal makes it see."""
        self._crosstalk = on
        self._restart()

    def glitch(self, length_ns: int, every_ns: int) -> None:
        """Injected: LINKS shows a link that is none for `length_ns` in `every_ns`; 0: no more."""
        self._glitch_ns, self._glitch_every_ns = length_ns, every_ns
        self._glitch_at_ns = self._clock_ns() - every_ns

    def flap(self, period_ns: int, count: int | None) -> None:
        """Injected: pull the cable for half a period, plug it in for the other, `count` times or until `end_flap`."""
        self.flaps = 0
        self._flap_period_ns, self._flap_left = period_ns, count
        self._flap_at_ns = self._clock_ns()
        self.flapping = True
        self._flap_tick()

    def end_flap(self) -> None:
        """Stop a flap: the cable is in again, unless it was also pulled."""
        self.flapping = False
        if self._flapped_down:
            self._flapped_down = False
            self._restart()

    def clear_delay(self) -> None:
        """Links come up as fast as usual again, from the next time on."""
        self.extra_delay_ns = 0

    def _flap_tick(self) -> None:
        if not self.flapping or self._clock_ns() < self._flap_at_ns:
            return
        self._flap_at_ns += self._flap_period_ns // 2
        if not self._flapped_down and self._flap_left is not None and self.flaps >= self._flap_left:
            self.flapping = False
            return
        self._flapped_down = not self._flapped_down
        self.flaps += self._flapped_down
        self._restart()

    def tick(self) -> None:
        """Bring the link up when its time has come."""
        self._flap_tick()
        if self._up_at_ns is not None and self._clock_ns() >= self._up_at_ns:
            self._set(True)

    def _forced(self) -> bool:
        flu = self._file.peek("AUTOC") & AUTOC_FLU
        return bool(flu or self._file.peek("HLREG0") & HLREG0_LPBK)

    def _restart(self) -> None:
        if self._forced():
            self._set(True)
            return
        self._set(False)
        held = self._held_down or self._flapped_down or self._crosstalk
        if self._cable and self._powered and not held:
            self._up_at_ns = self._clock_ns() + UP_DELAY_NS + self.extra_delay_ns

    def _set(self, up: bool) -> None:
        self._up_at_ns = None
        if up != self.up:
            self.up = up
            self.ups += up
            self._raise_cause(LSC)
            self._on_change(up)

    def _read_links(self, name: str, index: int) -> int:
        self.tick()  # a client that polls must not wait for the loop's next round
        if not self.up and not self._seems_up():
            return LINKS_10G
        lms = self._file.peek("AUTOC") >> AUTOC_LMS_SHIFT & 7
        complete = LINKS_KX_AN_COMPLETE if lms in AUTOC_LMS_KX else 0
        return LINKS_UP | LINKS_10G | LINKS_OLD_UP | complete

    def _seems_up(self) -> bool:
        """Whether LINKS shows a link that is none: from the first look at it on, for the glitch's length."""
        if self._crosstalk or not self._glitch_ns:
            return self._crosstalk
        since = self._clock_ns() - self._glitch_at_ns
        if since >= self._glitch_every_ns:
            self._glitch_at_ns, since = self._clock_ns(), 0
            self.glitches += 1
        return since < self._glitch_ns

    def _write_autoc(self, name: str, index: int, value: int) -> None:
        was_forced = self._forced()
        self._on_autoc()
        self._file.poke(name, index, value & ~AUTOC_AN_RESTART)
        if self._copper:  # the PHY negotiates and does not heed AUTOC
            return
        if value & AUTOC_AN_RESTART or self._forced() != was_forced:
            self._restart()

    def _write_hlreg0(self, name: str, index: int, value: int) -> None:
        was_forced = self._forced()
        self._file.poke(name, index, value)
        if self._forced() != was_forced:
            self._restart()
