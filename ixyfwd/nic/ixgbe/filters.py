"""Which frames the MAC takes (datasheet 7.1.1) and the tables that must not stay as reset left them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from ixyfwd.errors import UsageError
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.mac import write_address
from ixyfwd.nic.ixgbe.registers import (
    ETQF,
    ETQS,
    FCTRL,
    FTQF,
    MCSTCTRL,
    MPSAR,
    MTA,
    PFUTA,
    PFVLVF,
    PFVLVFB,
    PFVTCTL,
    RAH,
    RXCTRL,
    SYNQF,
    VFTA,
    VLNCTRL,
)
from ixyfwd.nic.ixgbe.rx import set_receive

MAX_MAC_FILTERS: Final = RAH.count - 1  # filter 0 is the port's own address


def clear_filters(regs: Registers) -> None:
    """4.6.7: these tables are undefined after reset. Without VLAN, ethertype, SYN and 5-tuple filters every IP frame
    goes to the queue that RSS says, and everything else to queue 0."""
    for table in (MTA, PFUTA, VFTA, PFVLVF, PFVLVFB, MPSAR, FTQF, ETQF, ETQS):
        for n in range(table.count):
            regs.write(table[n], 0)
    regs.write(SYNQF, 0)
    regs.write(PFVTCTL, 0)
    regs.update(VLNCTRL, VLNCTRL.VFE(0))
    regs.update(MCSTCTRL, MCSTCTRL.MFE(0))


def set_addresses(regs: Registers, own: bytes, others: Sequence[bytes]) -> None:
    """7.1.1.1: filter 0 takes the port's own address, the next ones `others`; the rest is invalid.

    Multicast addresses are matched exactly too: the hash table MTA would let strangers in. Raises UsageError.
    """
    if len(others) > MAX_MAC_FILTERS:
        raise UsageError(
            f"{regs.label}: {len(others)} MAC filters are asked for, the device has {MAX_MAC_FILTERS}; "
            "use fewer or set promiscuous"
        )
    addresses = (own, *others)
    for index in range(RAH.count):
        address = addresses[index] if index < len(addresses) else None
        write_address(regs, index, address)
        regs.write(MPSAR[2 * index], 0 if address is None else 1)  # pool 0, the only one


def set_promiscuous(regs: Registers, on: bool) -> None:
    """8.2.3.7.1: all unicast and multicast frames, or only those that a filter takes; broadcast always."""
    regs.update(FCTRL, FCTRL.SBP(0), FCTRL.MPE(on), FCTRL.UPE(on), FCTRL.BAM(1))


@contextmanager
def receive_halted(regs: Registers) -> Iterator[None]:
    """8.2.3.7.1: filters change while RXCTRL.RXEN is 0; afterwards it is what it was."""
    running = regs.holds(RXCTRL, RXCTRL.RXEN(1))
    if running:
        set_receive(regs, on=False)
    try:
        yield
    finally:
        if running:
            set_receive(regs, on=True)
