"""Transmit: the global part of 4.6.8, queues one by one, draining."""

from collections.abc import Sequence
from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES
from ixyfwd.nic.ixgbe.limits import LIMITS
from ixyfwd.nic.ixgbe.registers import (
    DCA_TXCTRL,
    DMATXCTL,
    DTXMXSZRQ,
    HLREG0,
    MTQC,
    RTTBCNRC,
    RTTDCS,
    RTTDQSEL,
    RTTDT1C,
    TDBAH,
    TDBAL,
    TDH,
    TDLEN,
    TDT,
    TDWBAH,
    TDWBAL,
    TXDCTL,
    TXPBSIZE,
    TXPBTHRESH,
)
from ixyfwd.nic.ixgbe.rx import QUEUE_TIMEOUT_S

DRAIN_TIMEOUT_S: Final = 0.5

_PACKET_BUFFER_KIB: Final = 160
_TAGS_BYTES: Final = 8  # two VLAN tags
_MAX_REQUEST_UNITS: Final = 0xFFF  # 4.6.11.3.4: 1 MB
# 7.2.3.4.1: fetch when at most 36 descriptors are on the chip and at least 8 wait. WTHRESH must be 0 because RS is
# set on every 32nd descriptor only.
_PTHRESH, _HTHRESH, _WTHRESH = 36, 8, 0
_DRAIN_PAUSE_S: Final = 100e-6


def init_transmit(regs: Registers, max_frame_bytes: int) -> None:
    """Initialise the transmit unit (4.6.8, 4.6.11.3.4): one packet buffer, one traffic class, TE before any queue."""
    regs.update(HLREG0, HLREG0.TXCRCEN(1), HLREG0.TXPADEN(1))
    regs.update(RTTDCS, RTTDCS.ARBDIS(1))  # 8.2.3.9.15: MTQC is written while the arbiter is off
    regs.write(DTXMXSZRQ, DTXMXSZRQ.MAX_BYTES_NUM_REQ(_MAX_REQUEST_UNITS))
    regs.write(TXPBSIZE[0], TXPBSIZE.SIZE(_PACKET_BUFFER_KIB))
    largest_frame_kib = -(-(max_frame_bytes + _TAGS_BYTES) // 1024)
    regs.write(TXPBTHRESH[0], TXPBTHRESH.THRESH(_PACKET_BUFFER_KIB - largest_frame_kib))
    for n in range(1, TXPBSIZE.count):
        regs.write(TXPBSIZE[n], 0)
        regs.write(TXPBTHRESH[n], 0)
    regs.write(MTQC, MTQC.RT_ENA(0), MTQC.VT_ENA(0), MTQC.NUM_TC_OR_Q(0))
    _clear_rate_limits(regs)
    regs.update(RTTDCS, RTTDCS.ARBDIS(0))
    regs.update(DMATXCTL, DMATXCTL.GDV(0), DMATXCTL.TE(1))


def _clear_rate_limits(regs: Registers) -> None:
    """Clear the arbiter's rate limits, which a reset leaves alone (4.6.11.3.4), of all queues that can be enabled."""
    for queue in range(LIMITS.queues):
        regs.write(RTTDQSEL, RTTDQSEL.TXDQ_IDX(queue))
        regs.write(RTTDT1C, 0)
        regs.write(RTTBCNRC, 0)


def setup_tx_queue(regs: Registers, queue: int, address: int, entries: int) -> None:
    """Program and enable a transmit queue (4.6.8): ring, thresholds, enable.

    `address` is the device's; `entries` are descriptors. TDT stays 0. Raises
    DeviceTimeoutError.
    """
    regs.write(TDBAL[queue], address & 0xFFFFFFFF)
    regs.write(TDBAH[queue], address >> 32)
    regs.write(TDLEN[queue], entries * DESCRIPTOR_BYTES)
    regs.write(TDH[queue], 0)
    regs.write(TDT[queue], 0)
    regs.write(TDWBAL[queue], 0)
    regs.write(TDWBAH[queue], 0)
    # 8.2.3.11.2: a write-back must not overtake the ones before it.
    regs.write(DCA_TXCTRL[queue], DCA_TXCTRL.DESC_RO_EN(1), DCA_TXCTRL.DATA_RO_EN(1), DCA_TXCTRL.DESC_WB_RO_EN(0))
    regs.update(
        TXDCTL[queue],
        TXDCTL.PTHRESH(_PTHRESH),
        TXDCTL.HTHRESH(_HTHRESH),
        TXDCTL.WTHRESH(_WTHRESH),
        TXDCTL.ENABLE(1),
    )
    doing = f"enabling transmit queue {queue}"
    regs.wait(TXDCTL[queue], TXDCTL.ENABLE(1), timeout_s=QUEUE_TIMEOUT_S, doing=doing)


def tx_drained(regs: Registers, queue: int) -> bool:
    """Whether the device has taken every descriptor up to TDT."""
    return regs.read(TDH[queue]) == regs.read(TDT[queue])


def drain_tx_queues(regs: Registers, queues: Sequence[int], timeout_s: float) -> list[int]:
    """Wait until heads meet tails (4.6.8.1.2); returns the queues that hold frames after `timeout_s` seconds."""
    deadline = regs.clock.now() + timeout_s
    pending = list(queues)
    while True:
        late = regs.clock.now() >= deadline
        pending = [queue for queue in pending if not tx_drained(regs, queue)]
        if late or not pending:
            return pending
        regs.clock.sleep(_DRAIN_PAUSE_S)


def disable_tx_queues(regs: Registers, queues: Sequence[int]) -> None:
    """Disable transmit queues (4.6.8.1.2), with one timeout for all. Raises DeviceTimeoutError."""
    for queue in queues:
        regs.update(TXDCTL[queue], TXDCTL.ENABLE(0))
    begun = regs.clock.now()
    for queue in queues:
        doing = f"disabling transmit queue {queue}"
        regs.wait(TXDCTL[queue], TXDCTL.ENABLE(0), timeout_s=QUEUE_TIMEOUT_S, begun=begun, doing=doing)


def disable_transmit(regs: Registers) -> None:
    """Switch DMATXCTL.TE off, after the queues (8.2.3.9.2)."""
    regs.update(DMATXCTL, DMATXCTL.TE(0))
