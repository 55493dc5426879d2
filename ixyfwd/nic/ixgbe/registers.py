"""The 82599's registers that this driver uses, by the sections of chapter 8 of the datasheet.

The table is the driver's own: the model has another one, so that a mistake in one of
them shows.
"""

from ixyfwd.nic.ixgbe.register import Field, Mode, Register, array, one, rx_queue, tx_queue

# 8.2.3.1 General control


class CTRL(Register, at=one(0x00000), mode=Mode.SC, section="8.2.3.1.1"):
    GIO_DIS = Field(2)  # PCIe master disable
    LNK_RST = Field(3)
    RST = Field(26)


class STATUS(Register, at=one(0x00008), mode=Mode.RO, section="8.2.3.1.2"):
    LAN_ID = Field(3, 2)
    LINK_UP = Field(7)
    GIO_MASTER_ENABLE = Field(19)


class CTRL_EXT(Register, at=one(0x00018), section="8.2.3.1.3"):
    NS_DIS = Field(16)
    EXTENDED_VLAN = Field(26)
    DRV_LOAD = Field(28)


class ESDP(Register, at=one(0x00020), section="8.2.3.1.4"):
    SDP2_DATA = Field(2)  # SFP+ cage occupied
    SDP3_DATA = Field(3)  # 1 = laser off
    SDP3_IODIR = Field(11)


# 8.2.3.2 EEPROM, 8.2.3.4 PCIe


class EEC(Register, at=one(0x10010), mode=Mode.RO, section="8.2.3.2.1"):
    EE_PRES = Field(8)
    AUTO_RD = Field(9)


class FWSM(Register, at=one(0x10148), mode=Mode.RO, section="8.2.3.4.10"):
    MODE = Field(3, 1)
    RECOVERY = Field(5)  # X550 (Linux: IXGBE_FWSM_FW_NVM_RECOVERY_MODE)
    EXT_ERR_IND = Field(24, 19)


class GCR_EXT(Register, at=one(0x11050), section="8.2.3.4.12"):
    VT_MODE = Field(1, 0)
    BUFFERS_CLEAR_FUNC = Field(30)


# 8.2.3.5 Interrupts


class EICR(Register, at=one(0x00800), mode=Mode.RC, section="8.2.3.5.1"):
    LSC = Field(20)


class EIMC(Register, at=one(0x00888), mode=Mode.W1C, section="8.2.3.5.4"):
    pass


class EIMC_EX(Register, at=array(0x00AB0, 2), mode=Mode.W1C, section="8.2.3.5.9"):
    pass


# 8.2.3.7 Receive filters


class FCTRL(Register, at=one(0x05080), section="8.2.3.7.1"):
    SBP = Field(1)
    MPE = Field(8)
    UPE = Field(9)
    BAM = Field(10)


class VLNCTRL(Register, at=one(0x05088), section="8.2.3.7.2"):
    VET = Field(15, 0)
    CFIEN = Field(29)
    VFE = Field(30)


class MCSTCTRL(Register, at=one(0x05090), section="8.2.3.7.3"):
    MO = Field(1, 0)
    MFE = Field(2)


class PSRTYPE(Register, at=array(0x0EA00, 64), section="8.2.3.7.4"):
    RQPL = Field(31, 29)


class RXCSUM(Register, at=one(0x05000), section="8.2.3.7.5"):
    IPPCSE = Field(12)
    PCSD = Field(13)  # 1 = the descriptor carries the RSS hash


class RFCTL(Register, at=one(0x05008), section="8.2.3.7.6"):
    RSC_DIS = Field(5)
    NFSW_DIS = Field(6)
    NFSR_DIS = Field(7)


class MTA(Register, at=array(0x05200, 128), section="8.2.3.7.7"):
    pass


class RAL(Register, at=array(0x0A200, 128, 8), section="8.2.3.7.8"):
    pass


class RAH(Register, at=array(0x0A204, 128, 8), section="8.2.3.7.9"):
    ADDRESS = Field(15, 0)
    AV = Field(31)


class MPSAR(Register, at=array(0x0A600, 256), section="8.2.3.7.10"):
    pass


class VFTA(Register, at=array(0x0A000, 128), section="8.2.3.7.11"):
    pass


class MRQC(Register, at=one(0x0EC80), section="8.2.3.7.12"):
    MRQE = Field(3, 0)
    TCP_IPV4 = Field(16)
    IPV4 = Field(17)
    IPV6 = Field(20)
    TCP_IPV6 = Field(21)
    UDP_IPV4 = Field(22)
    UDP_IPV6 = Field(23)


class RSSRK(Register, at=array(0x0EB80, 10), section="8.2.3.7.14"):
    pass


class RETA(Register, at=array(0x0EB00, 32), section="8.2.3.7.15"):
    """The redirection table: four entries of one byte each, whose bits 3:0 are the queue."""


class FTQF(Register, at=array(0x0E600, 128), section="8.2.3.7.19"):
    QUEUE_ENABLE = Field(31)


class SYNQF(Register, at=one(0x0EC30), section="8.2.3.7.20"):
    QUEUE_ENABLE = Field(0)


class ETQF(Register, at=array(0x05128, 8), section="8.2.3.7.21"):
    FILTER_ENABLE = Field(31)


class ETQS(Register, at=array(0x0EC00, 8), section="8.2.3.7.22"):
    QUEUE_EN = Field(31)


# 8.2.3.8 Receive DMA


class RDBAL(Register, at=rx_queue(0x00), section="8.2.3.8.1"):
    pass


class RDBAH(Register, at=rx_queue(0x04), section="8.2.3.8.2"):
    pass


class RDLEN(Register, at=rx_queue(0x08), section="8.2.3.8.3"):
    pass


class RDH(Register, at=rx_queue(0x10), section="8.2.3.8.4"):
    pass


class RDT(Register, at=rx_queue(0x18), section="8.2.3.8.5"):
    pass


class RXDCTL(Register, at=rx_queue(0x28), section="8.2.3.8.6"):
    ENABLE = Field(25)
    VME = Field(30)


class SRRCTL(Register, at=rx_queue(0x14), section="8.2.3.8.7"):
    BSIZEPACKET = Field(4, 0)  # KiB
    BSIZEHEADER = Field(13, 8)  # 64 bytes
    RDMTS = Field(24, 22)
    DESCTYPE = Field(27, 25)
    DROP_EN = Field(28)


class RDRXCTL(Register, at=one(0x02F00), section="8.2.3.8.8"):
    CRCSTRIP = Field(1)
    PSP = Field(2)
    DMAIDONE = Field(3)
    RSCFRSTSIZE = Field(21, 17)
    RSCACKC = Field(25)
    FCOE_WRFIX = Field(26)


class RXPBSIZE(Register, at=array(0x03C00, 8), section="8.2.3.8.9"):
    SIZE = Field(19, 10)  # KiB


class RXCTRL(Register, at=one(0x03000), section="8.2.3.8.10"):
    RXEN = Field(0)


class RSCCTL(Register, at=rx_queue(0x2C), section="8.2.3.8.13"):
    RSCEN = Field(0)


# 8.2.3.9 Transmit DMA


class DTXMXSZRQ(Register, at=one(0x08100), section="8.2.3.9.1"):
    MAX_BYTES_NUM_REQ = Field(11, 0)  # 256 bytes


class DMATXCTL(Register, at=one(0x04A80), section="8.2.3.9.2"):
    TE = Field(0)
    GDV = Field(3)
    VT = Field(31, 16)  # EtherType of the tags that the device inserts


class TDBAL(Register, at=tx_queue(0x00), section="8.2.3.9.5"):
    pass


class TDBAH(Register, at=tx_queue(0x04), section="8.2.3.9.6"):
    pass


class TDLEN(Register, at=tx_queue(0x08), section="8.2.3.9.7"):
    pass


class TDH(Register, at=tx_queue(0x10), section="8.2.3.9.8"):
    pass


class TDT(Register, at=tx_queue(0x18), section="8.2.3.9.9"):
    pass


class TXDCTL(Register, at=tx_queue(0x28), section="8.2.3.9.10"):
    PTHRESH = Field(6, 0)
    HTHRESH = Field(14, 8)
    WTHRESH = Field(22, 16)
    ENABLE = Field(25)


class TDWBAL(Register, at=tx_queue(0x38), section="8.2.3.9.11"):
    HEAD_WB_EN = Field(0)


class TDWBAH(Register, at=tx_queue(0x3C), section="8.2.3.9.12"):
    pass


class TXPBSIZE(Register, at=array(0x0CC00, 8), section="8.2.3.9.13"):
    SIZE = Field(19, 10)  # KiB


class MTQC(Register, at=one(0x08120), section="8.2.3.9.15"):
    RT_ENA = Field(0)
    VT_ENA = Field(1)
    NUM_TC_OR_Q = Field(3, 2)


class TXPBTHRESH(Register, at=array(0x04950, 8), section="8.2.3.9.16"):
    THRESH = Field(9, 0)  # KiB


# 8.2.3.10 DCB, 8.2.3.11 DCA, 8.2.3.12 security block


class RTRUP2TC(Register, at=one(0x03020), section="8.2.3.10.4"):
    pass


class RTTDCS(Register, at=one(0x04900), section="8.2.3.10.2"):
    TDPAC = Field(0)
    VMPAC = Field(1)
    TDRM = Field(4)
    ARBDIS = Field(6)


class RTTDQSEL(Register, at=one(0x04904), section="8.2.3.10.13"):
    TXDQ_IDX = Field(6, 0)


class RTTDT1C(Register, at=one(0x04908), section="8.2.3.10.14"):
    pass


class RTTBCNRC(Register, at=one(0x04984), section="8.2.3.10.16"):
    RS_ENA = Field(31)


class DCA_RXCTRL(Register, at=rx_queue(0x0C), section="8.2.3.11.1"):
    DESC_RO_EN = Field(9)
    MUST_BE_ZERO = Field(12)  # reserved, 1 after reset, and "must be set to 0"
    DATA_RO_EN = Field(13)
    HEADER_RO_EN = Field(15)


class DCA_TXCTRL(Register, at=tx_queue(0x0C), section="8.2.3.11.2"):
    DESC_RO_EN = Field(9)
    DESC_WB_RO_EN = Field(11)
    DATA_RO_EN = Field(13)


class SECRXCTRL(Register, at=one(0x08D00), section="8.2.3.12.5"):
    SECRX_DIS = Field(0)
    RX_DIS = Field(1)


class SECRXSTAT(Register, at=one(0x08D04), mode=Mode.RO, section="8.2.3.12.6"):
    SECRX_RDY = Field(0)


# 8.2.3.22 MAC


class HLREG0(Register, at=one(0x04240), section="8.2.3.22.8"):
    TXCRCEN = Field(0)
    RXCRCSTRP = Field(1)
    JUMBOEN = Field(2)
    TXPADEN = Field(10)
    LPBK = Field(15)
    MDCSPD = Field(16)
    CONTMDC = Field(17)
    PREPEND = Field(23, 20)
    RXLNGTHERREN = Field(27)
    RXPADSTRIPEN = Field(28)


class MAXFRS(Register, at=one(0x04268), section="8.2.3.22.13"):
    MFS = Field(31, 16)


class AUTOC(Register, at=one(0x042A0), mode=Mode.SC, section="8.2.3.22.19"):
    FLU = Field(0)
    AN_RESTART = Field(12)
    LMS = Field(15, 13)


class LINKS(Register, at=one(0x042A4), mode=Mode.RO, section="8.2.3.22.20"):
    SPEED = Field(29, 28)
    UP = Field(30)


class AUTOC2(Register, at=one(0x042A8), section="8.2.3.22.22"):
    PMA_PMD_10G_SERIAL = Field(17, 16)
    LINK_DISABLE = Field(30, 28)


class MMNGC(Register, at=one(0x042D0), mode=Mode.RO, section="8.2.3.22"):
    MNG_VETO = Field(0)  # a management controller uses the link: software must not change it


# 8.2.3.23 Statistics mapping (the counters themselves are in stats.py), 8.2.3.27 virtualisation


class RQSMR(Register, at=array(0x02300, 32), section="8.2.3.23.71"):
    """The statistics mapping of four receive queues: one byte each, whose bits 3:0 are the counter."""


class TQSM(Register, at=array(0x08600, 32), section="8.2.3.23.73"):
    """The statistics mapping of four transmit queues: as RQSMR."""


class PFVTCTL(Register, at=one(0x051B0), section="8.2.3.27.1"):
    VT_ENA = Field(0)


class PFVLVF(Register, at=array(0x0F100, 64), section="8.2.3.27.15"):
    pass


class PFVLVFB(Register, at=array(0x0F200, 128), section="8.2.3.27.16"):
    pass


class PFUTA(Register, at=array(0x0F400, 128), section="8.2.3.27.17"):
    pass
