"""The X550's host interface: commands to its firmware through FLEX_MNG and HICR, of which drivers need NVM access."""

from ixyfwd.model.chip.nvm import WORDS
from ixyfwd.model.chip.nvm_access import NvmAccess
from ixyfwd.model.chip.regfile import RegisterFile

COMMAND = 1 << 1  # HICR.C
STATUS_VALID = 1 << 2  # HICR.SV
ENABLED = 1 << 0
READ_SHADOW_RAM, WRITE_SHADOW_RAM, DUMP_SHADOW_RAM = 0x31, 0x33, 0x36
SUCCESS = 1
DATA_WORD = 3  # FLEX_MNG index where NVM data begins
MAX_DATA_BYTES = 1024


class HostInterface:
    """The host interface to the firmware: a command is done when the write of HICR is.

    Numbers in a request are big endian, NVM words are not.
    """

    def __init__(self, file: RegisterFile, nvm: NvmAccess) -> None:
        self._file = file
        self._nvm = nvm
        file.bind({}, {"hicr": self._write_hicr})

    def _write_hicr(self, name: str, index: int, value: int) -> None:
        self._file.poke(name, index, value & ~COMMAND | ENABLED)
        if value & COMMAND:
            self._run()
            self._file.poke(name, index, value & ~COMMAND | ENABLED | STATUS_VALID)

    def _run(self) -> None:
        head = self._file.peek("FLEX_MNG", 0)
        address, length = (self._big_endian(1, 4) // 2, self._big_endian(2, 2) // 2)
        match head & 0xFF:
            case 0x31:
                self._read(address, max(1, length))
            case 0x33:
                self._write(address, max(1, length))
        # The answer's head: the command, no further data, success, no checksum.
        self._file.poke("FLEX_MNG", 0, head & 0xFF | SUCCESS << 16)

    def _big_endian(self, dword: int, size: int) -> int:
        return int.from_bytes(self._file.peek("FLEX_MNG", dword).to_bytes(4, "little")[:size], "big")

    def _read(self, address: int, words: int) -> None:
        words = min(words, MAX_DATA_BYTES // 2)
        data = [self._nvm.image[at] if at < WORDS else 0xFFFF for at in range(address, address + words)]
        for n in range(0, len(data), 2):
            high = data[n + 1] if n + 1 < len(data) else 0
            self._file.poke("FLEX_MNG", DATA_WORD + n // 2, data[n] | high << 16)

    def _write(self, address: int, words: int) -> None:
        for n in range(min(words, MAX_DATA_BYTES // 2)):
            if address + n < WORDS:
                self._nvm.image[address + n] = self._file.peek("FLEX_MNG", DATA_WORD + n // 2) >> 16 * (n % 2) & 0xFFFF
