"""Station addresses as text and as the register pair RAL/RAH."""

import re
from typing import Final

from ixyfwd.errors import UsageError
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.registers import RAH, RAL

_TEXT: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


def parse_mac(text: str, where: str) -> bytes:
    """Six bytes from `02:00:00:00:00:01`. Raises UsageError, which begins with `where`."""
    if not _TEXT.fullmatch(text):
        raise UsageError(
            f"{where}: {text!r} is not a MAC address; expected six hexadecimal bytes such as 02:00:00:00:00:01"
        )
    return bytes.fromhex(text.replace(":", ""))


def format_mac(address: bytes) -> str:
    """`02:00:00:00:00:01` from six bytes."""
    return address.hex(":")


def is_station_address(address: bytes) -> bool:
    """Whether a port can have this address: unicast and not all zeros."""
    return not address[0] & 1 and any(address)


def read_address(regs: Registers, index: int) -> bytes | None:
    """The address in filter `index`, or None if it is not valid (RAH.AV = 0)."""
    high = regs.read(RAH[index])
    if not RAH.AV.of(high):
        return None
    return regs.read(RAL[index]).to_bytes(4, "little") + RAH.ADDRESS.of(high).to_bytes(2, "little")


def write_address(regs: Registers, index: int, address: bytes | None) -> None:
    """Put an address into filter `index`, or make it invalid. AV goes off first: never half an address."""
    regs.write(RAH[index], 0)
    regs.write(RAL[index], 0 if address is None else int.from_bytes(address[:4], "little"))
    if address is not None:
        regs.write(RAH[index], RAH.ADDRESS(int.from_bytes(address[4:], "little")), RAH.AV(1))
