"""The NVM image (datasheet 6): what Linux and DPDK look for, and a checksum that adds up."""

import re
from collections.abc import Sequence

WORDS = 1024
CHECKSUM_WORD = 0x3F
CHECKSUM_SUM = 0xBABA
POINTER_WORDS = range(0x03, 0x0F)
NO_SECTION = 0xFFFF

DEVICE_CAPS_WORD = 0x2C
NO_CROSSTALK_FIX = 1 << 7

_SFP_DATA = 0x160
_CONTENT = {
    **dict.fromkeys(POINTER_WORDS, NO_SECTION),
    0x0F: 0x0100,  # firmware module
    0x15: 0x1234,  # part number in its legacy form: anything but 0xFAFA
    0x16: 0x5678,
    0x26: 0xFFFF,  # no thermal sensor
    0x27: NO_SECTION,  # no alternate SAN MAC addresses
    0x28: NO_SECTION,
    0x2B: 0x0140,  # SFP initialisation list
    DEVICE_CAPS_WORD: 0x0003 | NO_CROSSTALK_FIX,  # any SFP allowed, no FCoE, no crosstalk fix
    0x2D: 0x8000,  # etrack id
    0x2E: 0x0001,
    0x38: 0x0000,
    0x102: NO_SECTION,  # no LESM
    0x104: 0x0120,  # pass-through patch
    0x127: 0x0006,  # its version: Linux and DPDK want more than 5 on fibre
    0x140: 0x0000,
    **{0x141 + 2 * n: sfp for n, sfp in enumerate((3, 4, 5, 6))},
    **{0x142 + 2 * n: _SFP_DATA for n in range(4)},
    0x149: NO_SECTION,
    _SFP_DATA: 0x0000,
    _SFP_DATA + 1: NO_SECTION,  # no CORECTL words
}


def build_image() -> list[int]:
    """An NVM image: 1024 words of 16 bits with a valid checksum."""
    image = [0] * WORDS
    for at, word in _CONTENT.items():
        image[at] = word
    image[CHECKSUM_WORD] = (CHECKSUM_SUM - covered_sum(image) + image[CHECKSUM_WORD]) & 0xFFFF
    return image


def covered_sum(image: Sequence[int]) -> int:
    """The sum that must be 0xBABA: words 0 to 0x3F and the sections that pointers 3 to 0xE lead to, modulo 65536.

    A section's first word is its length, which is counted neither as a word of it nor in the sum.
    """
    total = sum(image[: CHECKSUM_WORD + 1])
    for pointer in POINTER_WORDS:
        at = image[pointer]
        if at not in (0, NO_SECTION) and at < len(image):
            total += sum(image[at + 1 : at + 1 + image[at]])
    return total & 0xFFFF


def mac_words(mac: str) -> tuple[int, int]:
    """RAL and RAH of a MAC address given as `aa:bb:cc:dd:ee:ff`, address valid. Raises ValueError."""
    if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", mac):
        raise ValueError(f"{mac!r} is no MAC address, expected six pairs of hexadecimal digits: 02:00:00:00:00:01")
    octets = bytes.fromhex(mac.replace(":", ""))
    return int.from_bytes(octets[:4], "little"), int.from_bytes(octets[4:], "little") | 1 << 31
