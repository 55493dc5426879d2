"""Reading the NVM (8.2.3.2, chapter 6): words, versions and the checksum."""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from ixyfwd.errors import DeviceError
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.firmware import EERD
from ixyfwd.nic.ixgbe.ids import DeviceId, Media
from ixyfwd.nic.ixgbe.reading import EEPROM, MANAGEMENT, borrowed
from ixyfwd.nic.ixgbe.windows import FLEX_MNG, FWSTS, HICR

WORD_TIMEOUT_S: Final = 0.5  # Linux: 100000 looks, 5 us apart
COMMAND_TIMEOUT_S: Final = 0.5
CHECKSUM: Final = 0xBABA

_DOING: Final = "reading the NVM"
_ABSENT: Final = (0, 0xFFFF)
_LAST_COVERED_WORD: Final = 0x3F
_POINTERS: Final = range(0x03, 0x0F)
_NOT_COVERED_X540: Final = (0x04, 0x05)  # Linux: PHY and option ROM of the X540
_LONGEST_SECTION_WORDS: Final = 0x1000  # a longer one is no section but a broken pointer
_READ_SHADOW_RAM: Final = 0x31  # a command of the X550's firmware
_REQUEST_BYTES: Final = 6
_NO_CHECKSUM: Final = 0xFF
_DATA_DWORD: Final = 3


class Nvm:
    """The NVM of a device, read word by word and kept.

    An X550 reads it by its firmware (Linux: `ixgbe_read_ee_hostif_X550`), the others by
    EERD. Methods raise DeviceError and its subclasses.
    """

    def __init__(self, regs: Registers, device: DeviceId) -> None:
        self._regs = regs
        self._device = device
        self._known: dict[int, int] = {}

    @property
    def by_firmware(self) -> bool:
        """Whether the firmware reads it, which guards it by a checksum of its own."""
        return self._device.multi_gigabit

    def words(self, *addresses: int) -> tuple[int, ...]:
        """The words at these addresses."""
        missing = [at for at in addresses if at not in self._known]
        if missing:
            with self._lock():
                read = self._read_by_firmware if self.by_firmware else self._read_by_eerd
                self._known.update((at, read(at)) for at in missing)
        return tuple(self._known[at] for at in addresses)

    def word(self, address: int) -> int:
        """The word at an address."""
        return self.words(address)[0]

    def section(self, pointer: int) -> int | None:
        """The address that the word at `pointer` leads to; None if there is no such section."""
        at = self.word(pointer)
        return None if at in _ABSENT else at

    def checksum(self) -> int:
        """The sum of all words that the checksum covers, modulo 65536: CHECKSUM if it holds (82599, X540).

        It covers words 0 to 0x3F and the sections that words 3 to 0xE point to, without
        their first word, which is their length.
        """
        total = sum(self.words(*range(_LAST_COVERED_WORD + 1)))
        copper = self._device.media is Media.COPPER
        for pointer in _POINTERS:
            at = self.section(pointer)
            if at is None or (copper and pointer in _NOT_COVERED_X540):
                continue
            length = self.word(at)
            if length in _ABSENT:
                continue
            if length > _LONGEST_SECTION_WORDS:
                raise DeviceError(
                    f"{self._regs.label}: NVM word {pointer:#x} points to a section at {at:#x} of {length} words, "
                    f"expected {_LONGEST_SECTION_WORDS} at most"
                )
            total += sum(self.words(*range(at + 1, at + 1 + length)))
        return total & 0xFFFF

    def _lock(self) -> AbstractContextManager[None]:
        if self._device.media is not Media.COPPER:
            return nullcontext()  # EERD arbitrates by itself (8.2.3.2.2)
        bits = EEPROM | MANAGEMENT if self.by_firmware else EEPROM
        return borrowed(self._regs, self._device, bits, _DOING)

    def _read_by_eerd(self, address: int) -> int:
        regs = self._regs
        regs.write(EERD, EERD.ADDRESS(address & 0x3FFF), EERD.START(1))
        regs.wait(EERD, EERD.DONE(1), timeout_s=WORD_TIMEOUT_S, doing=_DOING)
        return EERD.DATA.of(regs.read(EERD))

    def _read_by_firmware(self, address: int) -> int:
        """One command: its head, the address and the length in bytes, both big endian."""
        regs = self._regs
        if not regs.holds(HICR, HICR.EN(1)):
            raise DeviceError(f"{regs.label}: HICR.EN is 0: the firmware takes no commands, so the NVM cannot be read")
        regs.write(FWSTS, FWSTS.FWRI(1))
        head = _READ_SHADOW_RAM | _REQUEST_BYTES << 16 | _NO_CHECKSUM << 24
        at, length = ((value.to_bytes(size, "big")) for value, size in ((2 * address, 4), (2, 2)))
        for dword, value in enumerate((head, *(int.from_bytes(part, "little") for part in (at, length)), 0)):
            regs.write(FLEX_MNG[dword], value)
        regs.write(HICR, HICR.EN(1), HICR.C(1))
        regs.wait(HICR, HICR.C(0), timeout_s=COMMAND_TIMEOUT_S, doing=_DOING)
        if not regs.holds(HICR, HICR.SV(1)):
            raise DeviceError(f"{regs.label}: HICR.SV is 0: the firmware has not read NVM word {address:#x}")
        return regs.read(FLEX_MNG[_DATA_DWORD]) & 0xFFFF
