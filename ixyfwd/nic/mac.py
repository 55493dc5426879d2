"""Station addresses as text and as six bytes."""

import re
from typing import Final

from ixyfwd.errors import UsageError

_TEXT: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


def parse_mac(text: str, where: str) -> bytes:
    """The six bytes of a text such as `02:00:00:00:00:01`. Raises UsageError, which begins with `where`."""
    if not _TEXT.fullmatch(text):
        raise UsageError(
            f"{where}: {text!r} is not a MAC address; expected six hexadecimal bytes such as 02:00:00:00:00:01"
        )
    return bytes.fromhex(text.replace(":", ""))


def format_mac(address: bytes) -> str:
    """The text, such as `02:00:00:00:00:01`, of six bytes."""
    return address.hex(":")


def is_station_address(address: bytes) -> bool:
    """Whether a port can have this address: unicast and not all zeros."""
    return not address[0] & 1 and any(address)
