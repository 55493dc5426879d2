"""Station addresses in the register pair RAL/RAH."""

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.registers import RAH, RAL


def read_address(regs: Registers, index: int) -> bytes | None:
    """The address in filter `index`, six bytes; None if it is not valid (RAH.AV = 0)."""
    high = regs.read(RAH[index])
    if not RAH.AV.of(high):
        return None
    return regs.read(RAL[index]).to_bytes(4, "little") + RAH.ADDRESS.of(high).to_bytes(2, "little")


def write_address(regs: Registers, index: int, address: bytes | None) -> None:
    """Write an address, six bytes, to filter `index`; None: make it invalid. AV is cleared first (8.2.3.7.9)."""
    regs.write(RAH[index], 0)
    regs.write(RAL[index], 0 if address is None else int.from_bytes(address[:4], "little"))
    if address is not None:
        regs.write(RAH[index], RAH.ADDRESS(int.from_bytes(address[4:], "little")), RAH.AV(1))
