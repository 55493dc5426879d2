"""A card's own report: what it is, what its firmware, NVM, module or PHY and its link say, and its known faults."""

from collections.abc import Callable, Iterator
from typing import Final

from ixyfwd.errors import DeviceError, DeviceGoneError
from ixyfwd.nic.ixgbe.access import Clock
from ixyfwd.nic.ixgbe.errata import errata_of, mac_type
from ixyfwd.nic.ixgbe.ethtool import DUMPS, decode
from ixyfwd.nic.ixgbe.i2c import THERMAL_SENSOR, I2cBus, read_module
from ixyfwd.nic.ixgbe.ids import Media, identify
from ixyfwd.nic.ixgbe.link import cage_is_empty, link_state
from ixyfwd.nic.ixgbe.mac import read_address
from ixyfwd.nic.ixgbe.mdio import NEGOTIATION, VENDOR, Mdio
from ixyfwd.nic.ixgbe.nvm import CHECKSUM, Nvm
from ixyfwd.nic.ixgbe.phy import CONTROL, LOW_POWER
from ixyfwd.nic.ixgbe.reading import ReadingRegisters, borrowed, phy_bit
from ixyfwd.nic.ixgbe.registers import EEC, FWSM, MMNGC, STATUS
from ixyfwd.nic.ixgbe.table import names, read_table
from ixyfwd.nic.ixgbe.windows import ANLP1, LINKS2
from ixyfwd.nic.mac import format_mac
from ixyfwd.nic.pcie import pcie_facts
from ixyfwd.nic.report import Fact, RegisterValue, Reports, Selection
from ixyfwd.pci.function import Function

_FIRMWARE_MODES: Final = {0: "none", 2: "pass-through", 3: "host interface only"}
_FW_VALID: Final = 1 << 15
_FW_RECOVERY: Final = 1 << 5  # X550
_TEMPERATURE, _TEMPERATURE_READY = 0xC820, 0xC821  # FreeBSD ix, Linux aquantia: in 1/256 degrees
_EMC_REGISTERS: Final = (0x00, 0x01, 0x23, 0x2A)  # Linux: IXGBE_EMC_*_DATA


class CardInspection:
    """A look at a card. See `nic.report.Inspection`."""

    def __init__(self, function: Function, name: str, clock: Clock | None = None) -> None:
        """Raises UsageError for a device that is not accepted, DeviceGoneError if there is none."""
        self._function = function
        self._device = identify(function, name)
        self._regs = ReadingRegisters(function, name, clock)
        self._nvm = Nvm(self._regs, self._device)

    def facts(self) -> Iterator[Fact]:
        """What the card says; a part that cannot be read is a fact that says why. Raises DeviceGoneError."""
        parts = (("device", self._identity), ("PCIe", lambda: pcie_facts(self._function)), ("NVM", self._versions),
                 ("NVM", self._checksum), ("firmware", self._firmware), ("module", self._module), ("PHY", self._phy),
                 ("link", self._link), ("temperature", self._board_temperature))  # fmt: skip
        for topic, part in parts:
            yield from _readable(topic, part)
        for one in errata_of(self._device):
            yield Fact("known faults", one.name, f"{one.what}; ixyfwd: {one.handling} [{one.source}]", one.source)

    def registers(self, selection: Selection) -> Iterator[RegisterValue]:
        return read_table(self._regs, selection)

    def _identity(self) -> Iterator[Fact]:
        config = self._function.read_config
        vendor, device, revision = config(0x00, 2), config(0x02, 2), config(0x08, 1)
        subsystem = f"{config(0x2C, 2):04x}:{config(0x2E, 2):04x}"
        yield Fact("device", "name", self._device.name, self._device.name)
        yield Fact("device", "id", f"{vendor:04x}:{device:04x}", f"{vendor:04x}:{device:04x}")
        yield Fact("device", "subsystem", subsystem, subsystem)
        yield Fact("device", "revision", str(revision), revision)
        yield Fact("device", "MAC type", mac_type(self._device), mac_type(self._device))
        lan = STATUS.LAN_ID.of(self._regs.read(STATUS))
        yield Fact("device", "function", f"LAN {lan}", lan)
        address = read_address(self._regs, 0)
        text = "none" if address is None else format_mac(address)
        yield Fact(
            "device",
            "address",
            text,
            text,
            "" if address else "RAH[0].AV is 0: set the port's mac in the configuration",
        )

    def _versions(self) -> Iterator[Fact]:
        present = EEC.EE_PRES.of(self._regs.read(EEC))
        concern = "" if present else "EEC.EE_PRES is 0: no valid NVM is found; restore it with the vendor's tool"
        yield Fact("NVM", "present", "yes" if present else "no", bool(present), concern)
        low, high = self._nvm.words(0x2D, 0x2E)
        # Bit 15 of the word at 0x2E says which of the two comes first (Linux: ixgbe_get_etk_id).
        etrack = f"0x{high << 16 | low if high & 0x8000 else low << 16 | high:08x}"
        yield Fact("NVM", "etrack id", f"{etrack} (its version, as `ethtool -i` has it)", etrack)
        caps = self._nvm.word(0x2C)
        if self._device.media is Media.SFP:
            any_module = bool(caps & 1)
            yield Fact(
                "NVM",
                "modules",
                "any is allowed" if any_module else "the vendor's only (other drivers heed it)",
                any_module,
            )
            yield self._patch()

    def _patch(self) -> Fact:
        firmware = self._nvm.section(0x0F)
        patch = None if firmware is None else self._nvm.section(firmware + 4)
        if patch is None:
            return Fact("NVM", "firmware patch", "no such section")
        version = self._nvm.word(patch + 7)
        concern = (
            ""
            if version > 5
            else "Linux and DPDK want more than 5 on SFP+ ports: update the NVM with the vendor's tool"
        )
        return Fact("NVM", "firmware patch", str(version), version, concern)

    def _checksum(self) -> Iterator[Fact]:
        if self._nvm.by_firmware:
            yield Fact("NVM", "checksum", "not computed: the firmware checks it")
            return
        total = self._nvm.checksum()
        concern = (
            ""
            if total == CHECKSUM
            else "the NVM is damaged; Linux and DPDK refuse it: restore it with the vendor's tool"
        )
        yield Fact("NVM", "checksum", f"{total:#06x}, expected {CHECKSUM:#06x}", total == CHECKSUM, concern)

    def _firmware(self) -> Iterator[Fact]:
        word = self._regs.read(FWSM)
        mode, error = FWSM.MODE.of(word), FWSM.EXT_ERR_IND.of(word)
        concern = ""
        if word & _FW_RECOVERY and self._device.multi_gigabit:
            concern = "the firmware is in its recovery mode: restore the NVM with the vendor's tool"
        elif error:
            concern = f"the firmware indicates error {error:#x}; cards with it are known to work"
        yield Fact("firmware", "FWSM", f"{word:#010x}: {'valid' if word & _FW_VALID else 'not valid'}", word, concern)
        yield Fact("firmware", "mode", _FIRMWARE_MODES.get(mode, f"mode {mode}"), mode)
        veto = bool(MMNGC.MNG_VETO.of(self._regs.read(MMNGC)))
        found = "uses the link (MMNGC.MNG_VETO)" if veto else "does not hold the link"
        concern = "a management controller keeps the link as it is: software must not set it up" if veto else ""
        yield Fact("firmware", "BMC", found, veto, concern)

    def _module(self) -> Iterator[Fact]:
        if self._device.media is not Media.SFP:
            yield Fact("module", "cage", f"none: {self._device.media.value}")
            return
        if cage_is_empty(self._regs, self._device.media):
            yield Fact("module", "cage", "empty", False, "no SFP+ module is in the cage (ESDP.SDP2 is 0)")
            return
        with borrowed(self._regs, self._device, phy_bit(self._regs), "reading the module"):
            found = read_module(self._regs)
        concern = "" if found.is_sfp else f"its identifier is {found.identifier:#04x}, expected 0x03: no SFP+ module"
        yield Fact("module", "kind", ", ".join(found.kinds) or "says nothing that is known", found.identifier, concern)
        for name, text in (("vendor", found.vendor), ("part", found.part), ("serial number", found.serial)):
            yield Fact("module", name, text or "not given", text)

    def _phy(self) -> Iterator[Fact]:
        if self._device.media is not Media.COPPER:
            return
        with borrowed(self._regs, self._device, phy_bit(self._regs), "reading the PHY"):
            reader = Mdio(self._regs)
            phy = reader.find()
            if phy is None:
                yield Fact(
                    "PHY",
                    "id",
                    "no PHY answers",
                    None,
                    "the PHY inside the chip does not answer: power the card off and on",
                )
                return
            number = reader.identity(phy)
            control, version = reader.read(phy, VENDOR, CONTROL), reader.read(phy, VENDOR, 0x20)
            base, fast = reader.read(phy, NEGOTIATION, 0x13), reader.read(phy, NEGOTIATION, 0x21)
            ready, degrees = reader.read(phy, VENDOR, _TEMPERATURE_READY), reader.read(phy, VENDOR, _TEMPERATURE)
        yield Fact("PHY", "id", f"{number:#010x} at {phy}", number)
        yield Fact("PHY", "firmware", f"{version:#06x}", version)
        low = bool(control & LOW_POWER)
        yield Fact(
            "PHY",
            "low power",
            "yes" if low else "no",
            low,
            "another driver left the PHY without power: it has no link so" if low else "",
        )
        yield Fact("link", "partner", _partner(base, fast))
        if ready & 1:
            celsius = (degrees - (1 << 16 if degrees & 1 << 15 else 0)) / 256
            yield Fact("temperature", "PHY", f"{celsius:.0f} degrees Celsius", celsius)
        else:
            yield Fact("temperature", "PHY", "not given")

    def _link(self) -> Iterator[Fact]:
        state = link_state(self._regs, self._device)
        text = (
            f"up at {state.speed_mbps / 1000:g} Gb/s"
            if state.up
            else f"down{f': {state.reason}' if state.reason else ''}"
        )
        yield Fact("link", "state", text, state.up)
        if self._device.media is Media.SFP:
            yield Fact("link", "partner", "says nothing of itself: 10 Gb/s serial has no negotiation")
        elif self._device.media is Media.OTHER:
            able = LINKS2.AN_SUPPORTED.of(self._regs.read(LINKS2))
            word = self._regs.read(ANLP1)
            pause = _pause(bool(ANLP1.SYM_PAUSE.of(word)), bool(ANLP1.ASM_PAUSE.of(word)))
            yield Fact("link", "partner", f"negotiates; {pause}" if able else "does not negotiate", bool(able))

    def _board_temperature(self) -> Iterator[Fact]:
        """The sensors that a board's NVM names (82599, word 0x26; Linux: ixgbe_get_thermal_sensor_data_generic)."""
        if self._device.media is Media.COPPER:
            return
        place = self._nvm.section(0x26)
        if place is None:
            yield Fact("temperature", "board", "no sensor (NVM word 0x26)")
            return
        if STATUS.LAN_ID.of(self._regs.read(STATUS)) & 1:
            yield Fact("temperature", "board", "at the card's first port")
            return
        head = self._nvm.word(place)
        if head & 0x38:
            yield Fact("temperature", "board", f"a sensor of unknown type {head >> 3 & 7}")
            return
        with borrowed(self._regs, self._device, phy_bit(self._regs), "reading the thermal sensor"):
            for word in self._nvm.words(*(place + 1 + n for n in range(min(head & 7, 3)))):
                location, register = word >> 10 & 0xF, _EMC_REGISTERS[word >> 8 & 3]
                if location:
                    celsius = I2cBus(self._regs).read(THERMAL_SENSOR, (register,))[0]
                    limit = word & 0xFF
                    found = f"{celsius} degrees Celsius, at most {limit}"
                    concern = "too hot: see to the card's cooling" if celsius > limit else ""
                    yield Fact("temperature", f"location {location}", found, celsius, concern)


def _readable(topic: str, part: Callable[[], Iterator[Fact]]) -> Iterator[Fact]:
    """The facts of a part; if it cannot be read, those that were and the reason."""
    try:
        yield from part()
    except DeviceGoneError:
        raise
    except DeviceError as error:
        yield Fact(topic, "not read", str(error), None, str(error))


def _pause(symmetric: bool, asymmetric: bool) -> str:
    """A partner's ability to pause (IEEE 802.3 annex 28B)."""
    if symmetric:
        return "pauses in both directions"
    return "pauses in one direction" if asymmetric else "does not pause"


def _partner(base: int, fast: int) -> str:
    """A copper partner's abilities: base page (7.19) and 10GBASE-T status (7.33)."""
    speeds = [name for bit, name in ((1 << 11, "10 Gb/s"), (1 << 6, "5 Gb/s"), (1 << 5, "2.5 Gb/s")) if fast & bit]
    if base & 1 << 8:
        speeds.append("100 Mb/s")
    if not base:
        return "says nothing (no negotiation has ended)"
    return (
        f"offers {', '.join(speeds) or 'no speed that is known'}; {_pause(bool(base & 1 << 10), bool(base & 1 << 11))}"
    )


REPORTS: Final = Reports(CardInspection, names(), decode, DUMPS)
