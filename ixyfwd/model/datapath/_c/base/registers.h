/* The registers that the data path reads from the store, by datasheet name. Offsets in bytes, canonical addresses only:
 * the writer of the store mirrors aliases. */
#ifndef IXYFWD_REGISTERS_H
#define IXYFWD_REGISTERS_H

/* 8.2.3.8, 8.2.3.9: queue windows, relative to rx_window(n) and tx_window(n) */
enum {
    RDBAL = 0x00,
    RDBAH = 0x04,
    RDLEN = 0x08,
    RDH = 0x10,
    SRRCTL = 0x14,
    RDT = 0x18,
    RXDCTL = 0x28,
    TDWBAL = 0x38,
    TDWBAH = 0x3C,
};

enum {
    CTRL_EXT = 0x00018,
    RQSMR = 0x02300,
    RDRXCTL = 0x02F00,
    RXCTRL = 0x03000,
    FCRTL0 = 0x03220,
    FCRTH0 = 0x03260,
    RXPBSIZE0 = 0x03C00,
    FCCFG = 0x03D00,
    HLREG0 = 0x04240,
    MAXFRS = 0x04268,
    MFLCN = 0x04294,
    DMATXCTL = 0x04A80,
    DTXTCPFLGL = 0x04A88,
    DTXTCPFLGH = 0x04A8C,
    RXCSUM = 0x05000,
    EXVET = 0x05078,
    FCTRL = 0x05080,
    VLNCTRL = 0x05088,
    MCSTCTRL = 0x05090,
    ETQF = 0x05128,
    MTA = 0x05200,
    TQSM = 0x08600,
    VFTA = 0x0A000,
    RAL0 = 0x0A200,
    SAQF = 0x0E000,
    DAQF = 0x0E200,
    SDPQF = 0x0E400,
    FTQF = 0x0E600,
    L34T_IMIR = 0x0E800,
    RETA = 0x0EB00,
    RETA_ENTRIES = 128,
    ERETA = 0x0EE80, /* entries 128 to 511 (X550) */
    RSSRK = 0x0EB80,
    ETQS = 0x0EC00,
    SYNQF = 0x0EC30,
    MRQC = 0x0EC80,
    FDIRCTRL = 0x0EE00,
    FDIRIPSA = 0x0EE18,
    FDIRIPDA = 0x0EE1C,
    FDIRPORT = 0x0EE20,
    FDIRVLAN = 0x0EE24,
    FDIRHASH = 0x0EE28,
    FDIRCMD = 0x0EE2C,
    FDIRFREE = 0x0EE38,
    FDIRDIP4M = 0x0EE3C,
    FDIRSIP4M = 0x0EE40,
    FDIRTCPM = 0x0EE44,
    FDIRUDPM = 0x0EE48,
    FDIRLEN = 0x0EE4C,
    FDIRUSTAT = 0x0EE50,
    FDIRFSTAT = 0x0EE54,
    FDIRHKEY = 0x0EE68,
    FDIRSKEY = 0x0EE6C,
    FDIRM = 0x0EE70,
    PFUTA = 0x0F400,
};

#define RXPBSIZE_BYTES 0xFFC00u /* the field counts KB from bit 10 on */
#define FCRT_BYTES 0x7FFE0u
#define FCRT_ENABLE (1u << 31) /* FCRTH.FCEN, FCRTL.XONE */
#define FCCFG_TFCE (3u << 3)
#define FCCFG_TFCE_LINK (1u << 3)
#define MFLCN_PMCF (1u << 0)
#define MFLCN_DPF (1u << 1)
#define MFLCN_RFCE (1u << 3)
#define SRRCTL_BSIZEPACKET 0x1Fu
#define SRRCTL_DESCTYPE (7u << 25)
#define SRRCTL_DROP_EN (1u << 28)
#define RXDCTL_VME (1u << 30)
#define TDWBAL_ENABLE 1u
#define RDRXCTL_CRCSTRIP (1u << 1)
#define RXCTRL_RXEN 1u
#define HLREG0_RXCRCSTRP (1u << 1)
#define HLREG0_JUMBOEN (1u << 2)
#define HLREG0_TXPADEN (1u << 10)
#define HLREG0_LPBK (1u << 15)
#define DMATXCTL_TE 1u
#define DMATXCTL_GDV (1u << 3)
#define CTRL_EXT_EXTENDED_VLAN (1u << 26)
#define RXCSUM_IPPCSE (1u << 12)
#define RXCSUM_PCSD (1u << 13)
#define FCTRL_MPE (1u << 8)
#define FCTRL_UPE (1u << 9)
#define FCTRL_BAM (1u << 10)
#define VLNCTRL_VFE (1u << 30)
#define MCSTCTRL_MFE (1u << 2)
#define RAH_AV (1u << 31)
#define MRQC_TCP_IPV4 (1u << 16)
#define MRQC_IPV4 (1u << 17)
#define MRQC_IPV6 (1u << 20)
#define MRQC_TCP_IPV6 (1u << 21)
#define MRQC_UDP_IPV4 (1u << 22)
#define MRQC_UDP_IPV6 (1u << 23)

/* 7.1.6.2 extended status and errors of a received frame */
#define RXD_DD (1u << 0)
#define RXD_EOP (1u << 1)
#define RXD_FLM (1u << 2)
#define RXD_VP (1u << 3)
#define RXD_UDPCS (1u << 4)
#define RXD_L4CS (1u << 5)
#define RXD_IPCS (1u << 6)
#define RXD_PIF (1u << 7)
#define RXD_VEXT (1u << 9)
#define RXD_FDIR_TOO_LONG (1u << 20)
#define RXD_FDIR_COLLISION (1u << 22)
#define RXD_RXE (1u << 29)
#define RXD_L4E (1u << 30)
#define RXD_IPE (1u << 31)

/* packet type bits in dword 0 of the write-back */
#define PTYPE_IPV4 (1u << 4)
#define PTYPE_IPV4_OPTIONS (1u << 5)
#define PTYPE_IPV6 (1u << 6)
#define PTYPE_IPV6_EXTENSION (1u << 7)
#define PTYPE_TCP (1u << 8)
#define PTYPE_UDP (1u << 9)
#define PTYPE_SCTP (1u << 10)
#define PTYPE_ETQF (1u << 15) /* bits 6:4 are then the number of the filter */
#define PTYPE_ETQF_SHIFT 4

/* 7.2.3.2 transmit descriptors, dword 2 and 3 */
#define TXD_LENGTH 0xFFFFu
#define TXD_DTYP (15u << 20)
#define TXD_DTYP_CONTEXT (2u << 20)
#define TXD_DTYP_DATA (3u << 20)
#define TXD_EOP (1u << 24)
#define TXD_IFCS (1u << 25)
#define TXD_LEGACY_IC (1u << 26)
#define TXD_RS (1u << 27)
#define TXD_DEXT (1u << 29)
#define TXD_VLE (1u << 30)
#define TXD_TSE (1u << 31)
#define TXD_POPTS (0x3Fu << 8)
#define TXD_DD 1u

static inline unsigned rx_window(unsigned n) { return n < 64 ? 0x01000 + 0x40 * n : 0x0D000 + 0x40 * (n - 64); }
static inline unsigned tx_window(unsigned n) { return 0x06000 + 0x40 * n; }

#define REGISTER(p, offset) ((p)->store[(offset) / 4])

#endif
