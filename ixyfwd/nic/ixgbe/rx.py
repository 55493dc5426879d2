"""Receive: the global part of 4.6.7, RSS, queues one by one, and the switch."""

from collections.abc import Sequence
from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES
from ixyfwd.nic.ixgbe.limits import LIMITS
from ixyfwd.nic.ixgbe.register import Register, array
from ixyfwd.nic.ixgbe.registers import (
    CTRL_EXT,
    DCA_RXCTRL,
    HLREG0,
    MAXFRS,
    MRQC,
    PSRTYPE,
    RDBAH,
    RDBAL,
    RDH,
    RDLEN,
    RDRXCTL,
    RDT,
    RETA,
    RFCTL,
    RSCCTL,
    RSSRK,
    RTRUP2TC,
    RXCSUM,
    RXCTRL,
    RXDCTL,
    RXPBSIZE,
    SECRXCTRL,
    SECRXSTAT,
    SRRCTL,
)
from ixyfwd.nic.ixgbe.rss import key_words, reta_words
from ixyfwd.nic.options import STANDARD_FRAME_BYTES
from ixyfwd.nic.rss import RssOptions, key_bytes

QUEUE_TIMEOUT_S: Final = 0.5
SECRX_TIMEOUT_S: Final = 0.1

_BUFFER_KIB: Final = LIMITS.buffer_bytes // 1024
_HEADER_BUFFER_UNITS: Final = 4  # the reset value; unused without header split, but must not be 0
_ADVANCED_ONE_BUFFER: Final = 1
_MRQE_RSS: Final = 1
_AFTER_DISABLE_S: Final = 100e-6  # 4.6.7.1.2
_MRQC_FIELDS: Final = {
    "ipv4": MRQC.IPV4,
    "tcp4": MRQC.TCP_IPV4,
    "udp4": MRQC.UDP_IPV4,
    "ipv6": MRQC.IPV6,
    "tcp6": MRQC.TCP_IPV6,
    "udp6": MRQC.UDP_IPV6,
}


# Not in `registers`: only the X550 has it, for entries 128 to 511 in the form of RETA (Linux: IXGBE_ERETA).
class ERETA(Register, at=array(0x0EE80, 96), section="8.2.3.7.15"):
    pass


def init_receive(regs: Registers, packet_buffer_kib: int, max_frame_bytes: int) -> None:
    """Initialise the receive unit (4.6.7, 4.6.11.3.4): one packet buffer, CRC stripped, no header split."""
    # 8.2.3.22.13: MFS counts only beside JUMBOEN; without it the limit is 1518.
    regs.update(MAXFRS, MAXFRS.MFS(max_frame_bytes))
    jumbo = max_frame_bytes > STANDARD_FRAME_BYTES
    regs.update(HLREG0, HLREG0.RXCRCSTRP(1), HLREG0.JUMBOEN(jumbo), HLREG0.LPBK(0))
    # 8.2.3.8.8: CRCSTRIP must agree with HLREG0; RSCFRSTSIZE must be 0 "as opposed to its hardware default"; the
    # last two "software should set".
    regs.update(RDRXCTL, RDRXCTL.CRCSTRIP(1), RDRXCTL.RSCFRSTSIZE(0), RDRXCTL.RSCACKC(1), RDRXCTL.FCOE_WRFIX(1))
    regs.write(RXPBSIZE[0], RXPBSIZE.SIZE(packet_buffer_kib))
    for n in range(1, RXPBSIZE.count):
        regs.write(RXPBSIZE[n], 0)
    regs.write(RTRUP2TC, 0)
    regs.write(RFCTL, RFCTL.RSC_DIS(1))
    regs.write(PSRTYPE[0], 0)
    regs.update(CTRL_EXT, CTRL_EXT.NS_DIS(1))


def init_rss(regs: Registers, options: RssOptions, table: Sequence[int]) -> None:
    """Initialise RSS (7.1.2.8): key and table first, the switch last. With PCSD the descriptor carries the hash."""
    regs.write(RXCSUM, RXCSUM.PCSD(1))
    for n, word in enumerate(key_words(key_bytes(options.key))):
        regs.write(RSSRK[n], word)
    write_reta(regs, table)
    fields = (_MRQC_FIELDS[name](1) for name in sorted(set(options.fields)))
    regs.write(MRQC, MRQC.MRQE(_MRQE_RSS), *fields)


def write_reta(regs: Registers, table: Sequence[int]) -> None:
    """Write the redirection table, also while frames arrive; a register changes four entries at once (8.2.3.7.15)."""
    for n, word in enumerate(reta_words(table)):
        regs.write(RETA[n] if n < RETA.count else ERETA[n - RETA.count], word)


def setup_rx_queue(regs: Registers, queue: int, address: int, entries: int, *, drop_enable: bool) -> None:
    """Program and enable a receive queue (4.6.7): ring, buffer size, enable.

    `address` is the device's; `entries` are descriptors. RDT stays 0: the ring's owner
    fills it. Raises DeviceTimeoutError.
    """
    regs.write(
        SRRCTL[queue],
        SRRCTL.BSIZEPACKET(_BUFFER_KIB),
        SRRCTL.BSIZEHEADER(_HEADER_BUFFER_UNITS),
        SRRCTL.DESCTYPE(_ADVANCED_ONE_BUFFER),
        SRRCTL.DROP_EN(drop_enable),
    )
    regs.write(RDBAL[queue], address & 0xFFFFFFFF)
    regs.write(RDBAH[queue], address >> 32)
    regs.write(RDLEN[queue], entries * DESCRIPTOR_BYTES)
    regs.write(RDH[queue], 0)
    regs.write(RDT[queue], 0)
    regs.write(RSCCTL[queue], RSCCTL.RSCEN(0))
    # 8.2.3.11.1: as after power-on, relaxed ordering and no DCA, but for the bit that must be 0.
    regs.write(
        DCA_RXCTRL[queue],
        *(DCA_RXCTRL.DESC_RO_EN(1), DCA_RXCTRL.DATA_RO_EN(1), DCA_RXCTRL.HEADER_RO_EN(1), DCA_RXCTRL.MUST_BE_ZERO(0)),
    )
    regs.update(RXDCTL[queue], RXDCTL.VME(0), RXDCTL.ENABLE(1))
    doing = f"enabling receive queue {queue}"
    regs.wait(RXDCTL[queue], RXDCTL.ENABLE(1), timeout_s=QUEUE_TIMEOUT_S, doing=doing)


def disable_rx_queues(regs: Registers, queues: Sequence[int]) -> None:
    """Disable receive queues (4.6.7.1.2): the device clears ENABLE once it has stopped touching the ring.

    They share one timeout, which a device that does not answer costs once. Raises
    DeviceTimeoutError.
    """
    for queue in queues:
        regs.update(RXDCTL[queue], RXDCTL.ENABLE(0))
    begun = regs.clock.now()
    for queue in queues:
        doing = f"disabling receive queue {queue}"
        regs.wait(RXDCTL[queue], RXDCTL.ENABLE(0), timeout_s=QUEUE_TIMEOUT_S, begun=begun, doing=doing)
    regs.clock.sleep(_AFTER_DISABLE_S)


def set_receive(regs: Registers, *, on: bool) -> None:
    """Switch RXCTRL.RXEN while the data path is halted and empty (4.6.7).

    Raises DeviceTimeoutError if it does not become empty; RXEN is switched off even
    then.
    """
    regs.update(SECRXCTRL, SECRXCTRL.RX_DIS(1))
    try:
        doing = f"emptying the receive path to switch reception {'on' if on else 'off'}"
        regs.wait(SECRXSTAT, SECRXSTAT.SECRX_RDY(1), timeout_s=SECRX_TIMEOUT_S, doing=doing)
        if on:
            regs.update(RXCTRL, RXCTRL.RXEN(1))
    finally:
        if not on:
            regs.update(RXCTRL, RXCTRL.RXEN(0))
    regs.update(SECRXCTRL, SECRXCTRL.RX_DIS(0))
