"""Ways of a card that a model need not show by itself: its firmware, its PHY, its cage, its resets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ixyfwd.errors import UsageError
from ixyfwd.model.inject.begun import Begun

if TYPE_CHECKING:
    from ixyfwd.model.chip.firmware import Firmware
    from ixyfwd.model.chip.link import Link
    from ixyfwd.model.chip.nvm_access import NvmAccess
    from ixyfwd.model.chip.phy import Phy
    from ixyfwd.model.chip.pins import Pins
    from ixyfwd.model.chip.resets import Resets

MS_NS: Final = 1_000_000


@dataclass(frozen=True)
class Card:
    """The parts of a port's card. `phy`: the one inside an X540 or X550; None: the port has an SFP+ cage."""

    firmware: "Firmware"
    phy: "Phy | None"
    pins: "Pins"
    link: "Link"
    nvm: "NvmAccess"
    resets: "Resets"

    def begin(self, name: str, parameters: Mapping[str, Any]) -> Begun:
        """Begin a kind of `kinds.OF_CARD`. Raises UsageError for a port that has no such part."""
        match name:
            case "phy-low-power":
                return self._begin_low_power()
            case "firmware-error":
                return self._begin_firmware_error(parameters)
            case "management":
                return self._begin_management()
            case "crosstalk":
                return self._begin_crosstalk()
            case "link-glitch":
                return self._begin_glitch(parameters)
            case _:
                return self._begin_reset(name, parameters)

    def _begin_low_power(self) -> Begun:
        phy = self.phy
        if phy is None:
            raise UsageError("phy-low-power is for a port with a PHY inside: an X540 or X550 (chip)")
        phy.set_low_power(True)
        return Begun(lambda: 1, lambda: phy.set_low_power(False), lambda: not phy.low_power)

    def _begin_firmware_error(self, parameters: Mapping[str, Any]) -> Begun:
        firmware = self.firmware
        firmware.indication = parameters["indication"]
        firmware.recovery = parameters["recovery"] == "yes"
        return Begun(lambda: 1, firmware.recover)

    def _begin_management(self) -> Begun:
        firmware = self.firmware
        before = firmware.cuts
        firmware.managed = True
        return Begun(lambda: firmware.cuts - before, firmware.release)

    def _begin_crosstalk(self) -> Begun:
        if self.phy is not None:
            raise UsageError("crosstalk is for a port with an SFP+ cage: an 82599 (chip)")
        self._empty_the_cage(True)
        return Begun(lambda: 1, lambda: self._empty_the_cage(False))

    def _empty_the_cage(self, on: bool) -> None:
        self.nvm.need_crosstalk_fix(on)
        self.pins.emptied = on
        self.link.cross_talk(on)

    def _begin_glitch(self, parameters: Mapping[str, Any]) -> Begun:
        link = self.link
        before = link.glitches
        self.nvm.need_crosstalk_fix(True)
        link.glitch(parameters["ms"] * MS_NS, parameters["every-ms"] * MS_NS)

        def end() -> None:
            link.glitch(0, 0)
            self.nvm.need_crosstalk_fix(False)

        return Begun(lambda: link.glitches - before, end)

    def _begin_reset(self, name: str, parameters: Mapping[str, Any]) -> Begun:
        resets = self.resets
        before = resets.count
        if name == "reset-silence":
            resets.silence_ns = parameters["ms"] * MS_NS
            return Begun(lambda: resets.count - before, resets.answer)
        resets.keeps = True
        return Begun(lambda: resets.count - before, resets.forget)
