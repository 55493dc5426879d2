"""The registers through which NVM, PHY, module and firmware are read, and some that only a report looks at.

Offsets and fields are those of 8.2.3; for the X550's host interface and I2C bus, of Linux's ixgbe.
"""

from ixyfwd.nic.ixgbe.register import Field, Mode, Register, array, one


class I2CCTL(Register, at=one(0x00028), section="8.2.3.1.5"):
    CLK_IN = Field(0)
    CLK_OUT = Field(1)
    DATA_IN = Field(2)
    DATA_OUT = Field(3)


class PCS1GANLP(Register, at=one(0x0421C), mode=Mode.RO, section="8.2.3.22.6"):
    SYM_PAUSE = Field(7)
    ASM_PAUSE = Field(8)
    REMOTE_FAULT = Field(13, 12)


class ANLP1(Register, at=one(0x042B0), mode=Mode.RO, section="8.2.3.22.24"):
    SYM_PAUSE = Field(10)
    ASM_PAUSE = Field(11)
    AN_STATE = Field(19, 16)


class LINKS2(Register, at=one(0x04324), mode=Mode.RO, section="8.2.3.22.21"):
    AN_SUPPORTED = Field(6)  # the partner negotiates


class FLEX_MNG(Register, at=array(0x15800, 448), section="8.2.3.25"):
    """The memory through which host and firmware exchange commands (X550)."""


class HICR(Register, at=one(0x15F00), mode=Mode.SC, section="8.2.3.25"):
    EN = Field(0)
    C = Field(1)
    SV = Field(2)


class FWSTS(Register, at=one(0x15F0C), section="8.2.3.25"):
    FWRI = Field(9)
