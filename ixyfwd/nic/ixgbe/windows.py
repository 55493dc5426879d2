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


class MSCA(Register, at=one(0x0425C), mode=Mode.SC, section="8.2.3.22.11"):
    REGISTER = Field(15, 0)
    DEVICE = Field(20, 16)
    PHY = Field(25, 21)
    OPERATION = Field(27, 26)
    COMMAND = Field(30)


class MSRWD(Register, at=one(0x04260), section="8.2.3.22.12"):
    WRITE_DATA = Field(15, 0)
    READ_DATA = Field(31, 16)


class ANLP1(Register, at=one(0x042B0), mode=Mode.RO, section="8.2.3.22.24"):
    SYM_PAUSE = Field(10)
    ASM_PAUSE = Field(11)
    AN_STATE = Field(19, 16)


class MMNGC(Register, at=one(0x042D0), mode=Mode.RO, section="8.2.3.22"):
    MNG_VETO = Field(0)  # a management controller uses the link: software must not change it


class LINKS2(Register, at=one(0x04324), mode=Mode.RO, section="8.2.3.22.21"):
    AN_SUPPORTED = Field(6)  # the partner negotiates


class EERD(Register, at=one(0x10014), mode=Mode.SC, section="8.2.3.2.2"):
    START = Field(0)
    DONE = Field(1)
    ADDRESS = Field(15, 2)
    DATA = Field(31, 16)


class FLEX_MNG(Register, at=array(0x15800, 448), section="8.2.3.25"):
    """The memory through which host and firmware exchange commands (X550)."""


class HICR(Register, at=one(0x15F00), mode=Mode.SC, section="8.2.3.25"):
    EN = Field(0)
    C = Field(1)
    SV = Field(2)


class FWSTS(Register, at=one(0x15F0C), section="8.2.3.25"):
    FWRI = Field(9)
