"""The link: AUTOC, LINKS, ANLP1, and the time it takes to come up (82599.md section 1.7)."""

from collections.abc import Callable

from ixyfwd.model.interrupts import LSC
from ixyfwd.model.regfile import RegisterFile

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
    """Up a moment after a reset or a restart, as long as the cable is in; forced up by FLU or loopback."""

    def __init__(
        self,
        file: RegisterFile,
        device_id: int,
        clock_ns: Callable[[], int],
        raise_cause: Callable[[int], None],
        on_change: Callable[[bool], None],
    ) -> None:
        self._file = file
        self._autoc = AUTOC_OF_DEVICE.get(device_id, AUTOC_SFP)
        self._clock_ns = clock_ns
        self._raise_cause = raise_cause
        self._on_change = on_change
        self._cable = True
        self._up_at_ns: int | None = None
        self.up = False
        file.bind(
            {"links": self._read_links, "anlp1": lambda name, index: ANLP1_STATE},
            {"autoc": self._write_autoc, "hlreg0": self._write_hlreg0},
        )

    def reset(self) -> None:
        """After the registers were reset: load what the NVM holds, start over."""
        self._file.poke("AUTOC", 0, self._autoc)
        self._file.poke("AUTOC2", 0, AUTOC2_SFI if self._autoc == AUTOC_SFP else 0)
        self._restart()

    def set_cable(self, plugged: bool) -> None:
        """Somebody pulls the cable or plugs it in."""
        if plugged != self._cable:
            self._cable = plugged
            self._restart()

    def tick(self) -> None:
        """Bring the link up when its time has come."""
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
        if self._cable:
            self._up_at_ns = self._clock_ns() + UP_DELAY_NS

    def _set(self, up: bool) -> None:
        self._up_at_ns = None
        if up != self.up:
            self.up = up
            self._raise_cause(LSC)
            self._on_change(up)

    def _read_links(self, name: str, index: int) -> int:
        self.tick()  # a client that polls must not wait for the loop's next round
        if not self.up:
            return LINKS_10G
        lms = self._file.peek("AUTOC") >> AUTOC_LMS_SHIFT & 7
        complete = LINKS_KX_AN_COMPLETE if lms in AUTOC_LMS_KX else 0
        return LINKS_UP | LINKS_10G | LINKS_OLD_UP | complete

    def _write_autoc(self, name: str, index: int, value: int) -> None:
        was_forced = self._forced()
        self._file.poke(name, index, value & ~AUTOC_AN_RESTART)
        if value & AUTOC_AN_RESTART or self._forced() != was_forced:
            self._restart()

    def _write_hlreg0(self, name: str, index: int, value: int) -> None:
        was_forced = self._forced()
        self._file.poke(name, index, value)
        if self._forced() != was_forced:
            self._restart()
