"""The registers of the NVM and its locks: EEC, EERD, EEWR, SWSM, SW_FW_SYNC (8.2.3.2, 8.2.3.4)."""

from ixyfwd.model.chip.nvm import CHECKSUM_WORD, DEVICE_CAPS_WORD, NO_CROSSTALK_FIX, WORDS, build_image
from ixyfwd.model.chip.regfile import RegisterFile

EEC_REQUEST = 1 << 6
EEC_GRANT = 1 << 7
START = 1 << 0
DONE = 1 << 1
SWSM_SMBI = 1 << 0
SW_FW_SYNC_REGSMP = 1 << 31


class NvmAccess:
    """The NVM behind its registers. The image outlives resets and clients, as a flash does."""

    def __init__(self, file: RegisterFile) -> None:
        self._file = file
        self.image = build_image()
        self.smbi_held = False
        self._fixes = 0  # how many need the crosstalk fix
        self.turned_away = 0  # reads of SWSM while smbi_held
        self._checksum: int | None = None  # the right one, while it is broken
        file.bind(
            {"eec": self._read_eec, "swsm": self._read_swsm, "regsmp": self._read_sw_fw_sync},
            {"eerd": self._write_eerd, "eewr": self._write_eewr},
        )

    def _read_eec(self, name: str, index: int) -> int:
        value = self._file.peek(name)
        return value | EEC_GRANT if value & EEC_REQUEST else value & ~EEC_GRANT

    def _write_eerd(self, name: str, index: int, value: int) -> None:
        """Address in 15:2, data comes in 31:16; done at once."""
        if not value & START:
            self._file.poke(name, index, value & ~DONE)
            return
        address = value >> 2 & 0x3FFF
        word = self.image[address] if address < WORDS else 0xFFFF
        self._file.poke(name, index, word << 16 | address << 2 | DONE)

    def _write_eewr(self, name: str, index: int, value: int) -> None:
        address = value >> 2 & 0x3FFF
        if value & START and address < WORDS:
            self.image[address] = value >> 16
        done = DONE if value & START else 0
        self._file.poke(name, index, value & ~(START | DONE) | done)

    def _read_swsm(self, name: str, index: int) -> int:
        """Reading takes the semaphore: who reads 0 in SMBI has it."""
        value = self._file.peek(name)
        if self.smbi_held:
            self.turned_away += 1
            return value | SWSM_SMBI
        self._file.poke(name, index, value | SWSM_SMBI)
        return value

    def _read_sw_fw_sync(self, name: str, index: int) -> int:
        """X540, X550: who reads 0 in REGSMP may change the register, and gives it back by a write of 0."""
        value = self._file.peek(name)
        self._file.poke(name, index, value | SW_FW_SYNC_REGSMP)
        return value

    def need_crosstalk_fix(self, on: bool) -> None:
        """Whether the board's designer says that LINKS counts only while the cage is occupied (word 0x2C, bit 7 0).

        It is so until all that needed it need it no more.
        """
        caps = self.image[DEVICE_CAPS_WORD]
        self._fixes += 1 if on else -1
        self.image[DEVICE_CAPS_WORD] = caps & ~NO_CROSSTALK_FIX if self._fixes else caps | NO_CROSSTALK_FIX
        self.image[CHECKSUM_WORD] = (self.image[CHECKSUM_WORD] + caps - self.image[DEVICE_CAPS_WORD]) & 0xFFFF

    def break_checksum(self) -> None:
        """Make word 0x3F wrong until `restore_checksum`."""
        self._checksum = self.image[CHECKSUM_WORD]
        self.image[CHECKSUM_WORD] ^= 0xFFFF

    def restore_checksum(self) -> None:
        """Restore word 0x3F, unless software has written another one meanwhile."""
        if self._checksum is not None and self.image[CHECKSUM_WORD] == self._checksum ^ 0xFFFF:
            self.image[CHECKSUM_WORD] = self._checksum
        self._checksum = None
