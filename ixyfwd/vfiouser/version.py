"""Version negotiation: the first message each way, two numbers and a JSON object of capabilities."""

import json
import struct
from dataclasses import dataclass
from typing import Any, Self

from ixyfwd.vfiouser.protocol import MAX_TRANSFER_BYTES, ProtocolError

MAJOR = 0
MINOR = 0
PAGE_SIZES = 4096  # smallest unit of a DMA mapping
MAX_DMA_MAPS = 65535
MAX_MSG_FDS = 16  # the server accepts more, but QEMU refuses one that says so
_NUMBERS = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Version:
    """A version message, proposal or answer. Defaults are those of the protocol for capabilities that are absent.

    `max_data_xfer_size`: bytes of one access. `pgsizes`: smallest unit of a DMA
    mapping, in bytes.
    """

    major: int = MAJOR
    minor: int = MINOR
    max_msg_fds: int = 1
    max_data_xfer_size: int = 1 << 20
    max_dma_maps: int = 65535
    pgsizes: int = 4096
    write_multiple: bool = False

    def pack(self) -> bytes:
        """The message's payload."""
        capabilities = {
            "max_msg_fds": self.max_msg_fds,
            "max_data_xfer_size": self.max_data_xfer_size,
            "max_dma_maps": self.max_dma_maps,
            "pgsizes": self.pgsizes,
            "write_multiple": self.write_multiple,
        }
        text = json.dumps({"capabilities": capabilities}, separators=(",", ":"))
        return _NUMBERS.pack(self.major, self.minor) + text.encode() + b"\0"

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The version in a payload. Raises ProtocolError unless its text is the JSON object of the protocol."""
        if len(payload) < _NUMBERS.size:
            raise ProtocolError(f"the version message has {len(payload)} bytes, expected at least {_NUMBERS.size}")
        major, minor = _NUMBERS.unpack_from(payload)
        found = _parse_capabilities(payload[_NUMBERS.size :])
        return cls(
            major,
            minor,
            _number(found, "max_msg_fds", 1, low=0),
            _number(found, "max_data_xfer_size", 1 << 20),
            _number(found, "max_dma_maps", 65535),
            _number(found, "pgsizes", 4096),
            found.get("write_multiple") is True,
        )


def our_version(*, write_multiple: bool = True) -> Version:
    """The version that this implementation proposes and answers."""
    return Version(MAJOR, MINOR, MAX_MSG_FDS, MAX_TRANSFER_BYTES, MAX_DMA_MAPS, PAGE_SIZES, write_multiple)


def _parse_capabilities(text: bytes) -> dict[str, Any]:
    text = text.split(b"\0", 1)[0]
    if not text.strip():
        return {}
    try:
        data = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the version message carries no valid JSON: {error}") from None
    capabilities = data.get("capabilities", {}) if isinstance(data, dict) else None
    if not isinstance(capabilities, dict):
        raise ProtocolError("the version message carries JSON without a 'capabilities' object")
    return capabilities


def _number(found: dict[str, Any], key: str, default: int, low: int = 1) -> int:
    value = found.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value < 1 << 63:
        raise ProtocolError(f"the capability {key} is {value!r}, expected a whole number of {low} or more")
    return value
