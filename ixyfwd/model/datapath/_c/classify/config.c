/* From the register store to the form that the frame path wants, and the RSS hash. */
#include "classify/classify.h"

#include <string.h>

enum { STANDARD_FRAME_BYTES = 1518 };

static void load_addresses(struct port *p)
{
    struct config *c = config_of(p);
    c->address_count = 0;
    for (unsigned i = 0; i < QUEUES; i++) {
        uint32_t low = REGISTER(p, RAL0 + 8 * i), high = REGISTER(p, RAL0 + 8 * i + 4);
        if (high & RAH_AV)
            c->addresses[c->address_count++] = low | (uint64_t)(high & 0xFFFF) << 32;
    }
}

static void load_rss(struct port *p)
{
    struct config *c = config_of(p);
    uint32_t key[10];
    for (unsigned i = 0; i < 10; i++)
        key[i] = REGISTER(p, RSSRK + 4 * i);
    if (memcmp(key, c->key, sizeof key) != 0)
        c->key_known = false;
    memcpy(c->key, key, sizeof key);
    c->mrqc = REGISTER(p, MRQC);
    unsigned bits = config_of(p)->reta_entries > RETA_ENTRIES ? 63 : 15; /* of an entry */
    for (unsigned i = 0; i < config_of(p)->reta_entries; i++) {
        unsigned at = i < RETA_ENTRIES ? RETA + i : ERETA + i - RETA_ENTRIES;
        c->reta[i] = REGISTER(p, at & ~3u) >> (8 * (i & 3)) & bits;
    }
}

static void load_counter_maps(struct port *p)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        config_of(p)->rx_counter[i] = REGISTER(p, RQSMR + (i & ~3u)) >> (8 * (i & 3)) & 15;
        config_of(p)->tx_counter[i] = REGISTER(p, TQSM + (i & ~3u)) >> (8 * (i & 3)) & 15;
    }
}

/* Only the first packet buffer is used: traffic classes (DCB) are not modelled. */
static void load_packet_buffer(struct port *p)
{
    struct config *c = config_of(p);
    uint32_t high = REGISTER(p, FCRTH0), low = REGISTER(p, FCRTL0);
    bool pauses = (REGISTER(p, FCCFG) & FCCFG_TFCE) == FCCFG_TFCE_LINK && high & FCRT_ENABLE;
    c->buffer_bytes = REGISTER(p, RXPBSIZE0) & RXPBSIZE_BYTES;
    if (c->buffer_bytes > 512 << 10)
        c->buffer_bytes = 512 << 10;
    c->pause_above = pauses ? high & FCRT_BYTES : 0;
    c->resume_below = low & FCRT_BYTES;
    c->sends_xon = low & FCRT_ENABLE;
    uint32_t mflcn = REGISTER(p, MFLCN);
    c->heeds_pause = mflcn & MFLCN_RFCE;
    c->discards_pause = mflcn & MFLCN_DPF;
    c->passes_control = mflcn & MFLCN_PMCF;
}

void config_load(struct port *p)
{
    struct config *c = config_of(p);
    uint32_t hlreg0 = REGISTER(p, HLREG0), vlnctrl = REGISTER(p, VLNCTRL), rxcsum = REGISTER(p, RXCSUM);
    c->generation++;
    c->fctrl = REGISTER(p, FCTRL);
    c->mcstctrl = REGISTER(p, MCSTCTRL);
    c->vet = (uint16_t)vlnctrl;
    c->outer_vet = REGISTER(p, CTRL_EXT) & CTRL_EXT_EXTENDED_VLAN ? (uint16_t)(REGISTER(p, EXVET) >> 16) : 0;
    c->vlan_filter = vlnctrl & VLNCTRL_VFE;
    c->pcsd = rxcsum & RXCSUM_PCSD;
    c->fragment_checksum = rxcsum & RXCSUM_IPPCSE;
    c->rxen = REGISTER(p, RXCTRL) & RXCTRL_RXEN;
    c->te = REGISTER(p, DMATXCTL) & DMATXCTL_TE;
    c->crc_strip = (hlreg0 & HLREG0_RXCRCSTRP) && (REGISTER(p, RDRXCTL) & RDRXCTL_CRCSTRIP);
    c->tx_pad = hlreg0 & HLREG0_TXPADEN;
    c->loopback = hlreg0 & HLREG0_LPBK;
    c->max_frame = hlreg0 & HLREG0_JUMBOEN ? REGISTER(p, MAXFRS) >> 16 : STANDARD_FRAME_BYTES;
    load_packet_buffer(p);
    load_addresses(p);
    load_rss(p);
    filters_load(p);
    load_counter_maps(p);
    config_of(p)->dirty = false;
}

/* 32 bits of the key from bit `at` on; bits behind its end are 0. */
static uint32_t key_window(const struct config *c, unsigned at)
{
    const uint8_t *key = (const uint8_t *)c->key;
    uint64_t bits = 0;
    for (unsigned i = 0; i < 5; i++)
        bits = bits << 8 | (at / 8 + i < sizeof c->key ? key[at / 8 + i] : 0);
    return (uint32_t)(bits >> (8 - at % 8));
}

/* One table of 256 entries for each input byte, so that a hash is a handful of loads (7.1.2.8.1). */
static void toeplitz_tables(struct config *c)
{
    for (unsigned byte = 0; byte < 36; byte++) {
        uint32_t *table = c->toeplitz[byte];
        table[0] = 0;
        for (unsigned bit = 0; bit < 8; bit++) {
            uint32_t window = key_window(c, 8 * byte + 7 - bit);
            for (unsigned low = 0; low < 1u << bit; low++)
                table[(1u << bit) + low] = window ^ table[low];
        }
    }
    c->key_known = true;
}

uint32_t toeplitz(struct config *c, const uint8_t *input, unsigned length)
{
    if (!c->key_known)
        toeplitz_tables(c);
    uint32_t hash = 0;
    for (unsigned i = 0; i < length; i++)
        hash ^= c->toeplitz[i][input[i]];
    return hash;
}

void dp_set_reta_entries(port_t *p, uint32_t entries) { config_of(p)->reta_entries = entries; }
void dp_reconfigure(port_t *p) { config_of(p)->dirty = true; }
