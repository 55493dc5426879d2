"""The filters of the MAC (7.1.1), and the tables that must not stay as reset left them."""

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

_TPID: Final = 0x8100  # IEEE 802.1Q
MAX_MAC_FILTERS: Final = RAH.count - 1  # filter 0 is the port's own address


def clear_filters(regs: Registers) -> None:
    """Clear the filter tables, which are undefined after reset (4.6.7).

    Without VLAN, EtherType, SYN and 5-tuple filters RSS chooses the queue of every IP
    frame, and all other frames go to queue 0.
    """
    for table in (MTA, PFUTA, VFTA, PFVLVF, PFVLVFB, MPSAR, FTQF, ETQF, ETQS):
        for n in range(table.count):
            regs.write(table[n], 0)
    regs.write(SYNQF, 0)
    regs.write(PFVTCTL, 0)
    regs.write(VLNCTRL, VLNCTRL.VET(_TPID), VLNCTRL.VFE(0))
    regs.write(MCSTCTRL, MCSTCTRL.MFE(0))


def set_addresses(regs: Registers, own: bytes, others: Sequence[bytes]) -> None:
    """Write the exact filters (7.1.1.1): filter 0 has the port's own address, the next ones `others`.

    Multicast addresses are matched exactly too: the hash table MTA would let others
    pass. Raises UsageError for more addresses than there are filters.
    """
    if len(others) > MAX_MAC_FILTERS:
        raise UsageError(
            f"{regs.label}: found {len(others)} MAC filters, expected at most {MAX_MAC_FILTERS}; "
            "use fewer or set promiscuous"
        )
    addresses = (own, *others)
    for index in range(RAH.count):
        address = addresses[index] if index < len(addresses) else None
        write_address(regs, index, address)
        regs.write(MPSAR[2 * index], 0 if address is None else 1)  # pool 0, the only one


def set_promiscuous(regs: Registers, on: bool) -> None:
    """Take all unicast and multicast frames, or only those of a filter; broadcast always (8.2.3.7.1)."""
    regs.write(FCTRL, FCTRL.SBP(0), FCTRL.MPE(on), FCTRL.UPE(on), FCTRL.BAM(1))


@contextmanager
def receive_halted(regs: Registers) -> Iterator[None]:
    """Halt reception inside the context: filters change while RXCTRL.RXEN is 0 (8.2.3.7.1)."""
    running = regs.holds(RXCTRL, RXCTRL.RXEN(1))
    if running:
        set_receive(regs, on=False)
    try:
        yield
    finally:
        if running:
            set_receive(regs, on=True)
