"""Registers that must not stay as the last driver left them, and that bring-up does not set by itself.

A reset is not relied on: the datasheet does not say of them that CTRL.RST clears them.
What decides (RTTDCS, MFLCN, FCTRL ...) gets its value where it is used; here is what has
to be off, or as after power-on. Bits that the datasheet reserves are left alone.
"""

from typing import Final

from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.interrupts import EIAC, GPIE
from ixyfwd.nic.ixgbe.register import Field, Location, Mode, OffsetRule, Register, Setting, array, one
from ixyfwd.nic.ixgbe.registers import (
    CTRL_EXT,
    DMATXCTL,
    GCR_EXT,
    HLREG0,
    RDRXCTL,
    RTTDCS,
    RXCTRL,
    RXDCTL,
    SECRXCTRL,
    TXDCTL,
)

_TPID: Final = 0x8100  # IEEE 802.1Q


class SECTXCTRL(Register, at=one(0x08800), section="8.2.3.12.1"):
    SECTX_DIS = Field(0)
    TX_DIS = Field(1)
    STORE_FORWARD = Field(2)


class RTTPCS(Register, at=one(0x0CD00), section="8.2.3.10.3"):
    TPPAC = Field(5)
    ARBDIS = Field(6)
    TPRM = Field(8)


class RTRPCS(Register, at=one(0x02430), section="8.2.3.10.1"):
    RRM = Field(1)
    RAC = Field(2)
    ARBDIS = Field(6)


class RSCDBU(Register, at=one(0x03028), section="8.2.3.8.12"):
    RSCACKDIS = Field(7)


class MACC(Register, at=one(0x04330), section="8.2.3.22"):
    FLU = Field(0)  # force the 10G link up


class DTXTCPFLGL(Register, at=one(0x04A88), section="8.2.3.9.3"):
    FIRST = Field(11, 0)
    MIDDLE = Field(27, 16)


class DTXTCPFLGH(Register, at=one(0x04A8C), section="8.2.3.9.4"):
    LAST = Field(11, 0)


_FIELDS: Final[tuple[tuple[type[Register], tuple[Setting, ...]], ...]] = (
    (GCR_EXT, (GCR_EXT.VT_MODE(0), GCR_EXT.BUFFERS_CLEAR_FUNC(0))),
    (
        HLREG0,
        (
            *(HLREG0.LPBK(0), HLREG0.MDCSPD(1), HLREG0.CONTMDC(0), HLREG0.PREPEND(0)),
            *(HLREG0.RXLNGTHERREN(1), HLREG0.RXPADSTRIPEN(0)),
        ),
    ),
    (MACC, (MACC.FLU(0),)),
    (RDRXCTL, (RDRXCTL.PSP(0),)),
    (RSCDBU, (RSCDBU.RSCACKDIS(0),)),
    (DMATXCTL, (DMATXCTL.GDV(0), DMATXCTL.VT(_TPID))),
    # As FreeBSD read them from a chip (reviews.freebsd.org/D44258): FIN and PSH in the last segment only.
    (DTXTCPFLGL, (DTXTCPFLGL.FIRST(0xFF6), DTXTCPFLGL.MIDDLE(0xFF6))),
    (DTXTCPFLGH, (DTXTCPFLGH.LAST(0xF7F),)),
    (SECTXCTRL, (SECTXCTRL.SECTX_DIS(1), SECTXCTRL.TX_DIS(0), SECTXCTRL.STORE_FORWARD(0))),
    (SECRXCTRL, (SECRXCTRL.SECRX_DIS(1),)),
    (RTTDCS, (RTTDCS.TDPAC(0), RTTDCS.VMPAC(0), RTTDCS.TDRM(0))),
    (RTTPCS, (RTTPCS.TPPAC(0), RTTPCS.ARBDIS(0), RTTPCS.TPRM(0))),
    (RTRPCS, (RTRPCS.RRM(0), RTRPCS.RAC(0), RTRPCS.ARBDIS(0))),
)

# Name, where, value. DCB and its credits, virtualisation with its switch and mirrors, FCoE's redirection, the flow
# director and time stamps: functions that this driver does not use.
OFF: Final[tuple[tuple[str, OffsetRule, int], ...]] = (
    ("TCPTIMER", one(0x0004C), 0),
    ("EIAM", one(0x00890), 0),
    ("EIAM_EX", array(0x00AD0, 2), 0),
    ("EITRSEL", one(0x00894), 0),
    ("PFMBIMR", array(0x00720, 2), 0),
    ("EXVET", one(0x05078), _TPID << 16),
    ("FDIRCTRL", one(0x0EE00), 0),
    ("FCRECTL", one(0x0ED00), 0),
    ("VFRE", array(0x051E0, 2), 0),
    ("VFTE", array(0x08110, 2), 0),
    ("PFMRCTL", array(0x0F600, 4), 0),
    ("PFVFSPOOF", array(0x08200, 8), 0),
    ("PFDTXGSWC", one(0x08220), 0),
    ("PFVMVIR", array(0x08000, 64), 0),
    ("RTTDT2C", array(0x04910, 8), 0),
    ("RTTPT2C", array(0x0CD20, 8), 0),
    ("RTRPT4C", array(0x02140, 8), 0),
    ("RTTUP2TC", one(0x0C800), 0),
    ("TSYNCRXCTL", one(0x05188), 0),
    ("TSYNCTXCTL", one(0x08C00), 0),
    ("TSAUXC", one(0x08C20), 0),
)


def restore_defaults(regs: Registers) -> None:
    """Restore them, after the reset and before anything is set up; every queue is off then."""
    for control in (RXDCTL, TXDCTL):
        for queue in range(control.count):
            regs.write(control[queue], 0)
    regs.write(RXCTRL, 0)
    regs.write(CTRL_EXT, 0)
    regs.write(GPIE, 0)
    regs.write(EIAC, 0)
    for register, settings in _FIELDS:
        regs.update(register, *settings)
    for name, rule, value in OFF:
        for run in rule:
            for at in range(run.offset, run.offset + run.count * run.stride, run.stride):
                regs.write(Location(name, name, at, Mode.RW), value)
