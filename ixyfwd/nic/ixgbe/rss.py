"""RSS in the form of its registers (7.1.2.8)."""

from collections.abc import Sequence

from ixyfwd.nic.rss import KEY_BYTES


def key_words(key: bytes) -> tuple[int, ...]:
    """The values of RSSRK(0) to RSSRK(9) for a key of 40 bytes (8.2.3.7.14: byte 0 is the lowest of RSSRK(0))."""
    return tuple(int.from_bytes(key[at : at + 4], "little") for at in range(0, KEY_BYTES, 4))


def reta_words(table: Sequence[int]) -> tuple[int, ...]:
    """The values of RETA(0) to RETA(31), and of ERETA(0) to ERETA(95) for 512 queue numbers instead of 128.

    Entry i is byte i & 3 of RETA(i >> 2) (8.2.3.7.15).
    """
    return tuple(int.from_bytes(bytes(table[at : at + 4]), "little") for at in range(0, len(table), 4))
