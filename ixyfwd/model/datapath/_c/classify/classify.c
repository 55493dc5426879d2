/* What the receive path makes of a frame: filters (7.1.1), packet type, checksums (7.1.11), RSS (7.1.2.8). */
#include "classify/classify.h"
#include "base/checksum.h"
#include "classify/packet.h"

#include <string.h>

enum { PAUSE_OPCODE = 1 };
enum rss_type { RSS_NONE, RSS_TCP4, RSS_IP4, RSS_TCP6, RSS_IP6 = 5, RSS_UDP4 = 7, RSS_UDP6 = 8 };

static uint32_t packet_type(const struct packet *ip)
{
    uint32_t type = ip->version == 4 ? PTYPE_IPV4 : PTYPE_IPV6;
    if (ip->options)
        type |= ip->version == 4 ? PTYPE_IPV4_OPTIONS : PTYPE_IPV6_EXTENSION;
    if (ip->l4_type == PROTOCOL_TCP)
        type |= PTYPE_TCP;
    else if (ip->l4_type == PROTOCOL_UDP)
        type |= PTYPE_UDP;
    else if (ip->l4_type == PROTOCOL_SCTP)
        type |= PTYPE_SCTP;
    return type;
}

/* The CRC32c is stored low byte first (RFC 9260). */
static bool sctp_right(const struct packet *ip)
{
    const uint8_t *at = ip->l4 + 8;
    uint32_t found = at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
    return found == crc32c_around(ip->l4, ip->l4_bytes, 8);
}

static uint32_t l4_status(const struct packet *ip)
{
    unsigned bytes = ip->l4_bytes;
    if (!ip->l4_type || ip->l4_unchecked)
        return 0;
    if (ip->l4_type == PROTOCOL_SCTP)
        return RXD_L4CS | (sctp_right(ip) ? 0 : RXD_L4E);
    bool udp = ip->l4_type == PROTOCOL_UDP;
    if (udp) {
        if (be16(ip->l4 + 6) == 0) /* no checksum: nothing checked, nothing wrong */
            return 0;
        unsigned own = be16(ip->l4 + 4);
        if (own < 8 || own > bytes)
            return RXD_L4CS | RXD_UDPCS | RXD_L4E;
        bytes = own;
    }
    uint64_t pseudo = checksum(ip->addresses, ip->address_bytes, (uint64_t)ip->l4_type + bytes);
    uint32_t status = RXD_L4CS | (udp ? RXD_UDPCS : 0);
    return status | (checksum(ip->l4, bytes, pseudo) == 0xFFFF ? 0 : RXD_L4E);
}

static enum rss_type rss_type(uint32_t mrqc, const struct packet *ip)
{
    bool v4 = ip->version == 4;
    if (ip->l4_type == PROTOCOL_TCP && (mrqc & (v4 ? MRQC_TCP_IPV4 : MRQC_TCP_IPV6)))
        return v4 ? RSS_TCP4 : RSS_TCP6;
    if (ip->l4_type == PROTOCOL_UDP && (mrqc & (v4 ? MRQC_UDP_IPV4 : MRQC_UDP_IPV6)))
        return v4 ? RSS_UDP4 : RSS_UDP6;
    if (mrqc & (v4 ? MRQC_IPV4 : MRQC_IPV6))
        return v4 ? RSS_IP4 : RSS_IP6;
    return RSS_NONE;
}

static uint32_t rss(struct config *c, const struct packet *ip, enum rss_type *type)
{
    *type = (c->mrqc & 15) == 1 ? rss_type(c->mrqc, ip) : RSS_NONE;
    if (*type == RSS_NONE)
        return 0;
    uint8_t input[36];
    unsigned length = ip->address_bytes;
    memcpy(input, ip->addresses, length);
    if (*type != RSS_IP4 && *type != RSS_IP6) {
        memcpy(input + length, ip->l4, 4);
        length += 4;
    }
    return toeplitz(c, input, length);
}

/* Dword 1 when RXCSUM.PCSD is 0: IP identification, and the unfinished sum over the payload of a fragment. */
static uint32_t fragment_dword(const struct config *c, const struct packet *ip)
{
    if (ip->version != 4)
        return 0;
    uint32_t dword = be16(ip->header + 4);
    if (c->fragment_checksum && ip->fragment)
        dword |= (uint32_t)checksum(ip->l4, ip->l4_bytes, 0) << 16;
    return dword;
}

static void classify_ip(struct port *p, const uint8_t *data, uint32_t length, const struct packet *ip,
                        struct rx_class *out)
{
    struct config *c = config_of(p);
    enum rss_type type;
    uint32_t hash = rss(c, ip, &type);
    uint32_t dword = c->pcsd ? hash : fragment_dword(c, ip);
    out->q0 = packet_type(ip) | type | (uint64_t)dword << 32;
    int queue = filters_queue(c, ip), directed = fdir_look_up(p, data, length, ip, out);
    if (queue == UNROUTED)
        queue = directed;
    if (queue == UNROUTED)
        queue = type != RSS_NONE ? c->reta[hash & (config_of(p)->reta_entries - 1)] : 0;
    out->queue = (uint16_t)queue;
    if (ip->version == 4) {
        out->status |= RXD_IPCS;
        if (checksum(ip->header, (size_t)(ip->l4 - ip->header), 0) != 0xFFFF)
            out->status |= RXD_IPE;
    }
    out->status |= l4_status(ip);
}

static bool exact_match(const struct config *c, uint64_t destination)
{
    for (unsigned i = 0; i < c->address_count; i++)
        if (c->addresses[i] == destination)
            return true;
    return false;
}

/* MTA or PFUTA. MCSTCTRL.MO selects which 12 bits of the address index the table (8.2.3.7.3). */
static bool table_match(struct port *p, unsigned table, const uint8_t *data)
{
    static const uint8_t down[4] = {4, 3, 2, 0}, up[4] = {4, 5, 6, 8};
    unsigned mo = config_of(p)->mcstctrl & 3;
    unsigned vector = ((unsigned)data[4] >> down[mo] | (unsigned)data[5] << up[mo]) & 0xFFF;
    return REGISTER(p, table + 4 * (vector >> 5)) >> (vector & 31) & 1;
}

/* 7.1.1.1 to 7.1.1.3; sets PIF for a frame that only an inexact table let in. */
static bool address_passes(struct port *p, const uint8_t *data, struct rx_class *out)
{
    const struct config *c = config_of(p);
    uint64_t destination = 0;
    memcpy(&destination, data, 6);
    if (out->cast == BROADCAST)
        return c->fctrl & FCTRL_BAM;
    if (exact_match(c, destination))
        return true;
    unsigned table = out->cast == UNICAST ? PFUTA : MTA;
    if ((c->mcstctrl & MCSTCTRL_MFE) && table_match(p, table, data)) {
        out->status |= RXD_PIF;
        return true;
    }
    return c->fctrl & (out->cast == UNICAST ? FCTRL_UPE : FCTRL_MPE);
}

static enum cast cast_of(const uint8_t *data)
{
    static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
    if (!(data[0] & 1))
        return UNICAST;
    return memcmp(data, broadcast, 6) == 0 ? BROADCAST : MULTICAST;
}

static bool is_tag(const struct config *c, uint16_t type)
{
    return type == c->vet || type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ || (c->outer_vet && type == c->outer_vet);
}

/* 3.7.7.1: a MAC control frame is one to the reserved address or the station address; those that pause have opcode 1.
 * Other opcodes are for the host only with PMCF. Without RFCE all of them are frames like any other. */
static void classify_control(struct port *p, const uint8_t *data, struct rx_class *out)
{
    static const uint8_t reserved[6] = {0x01, 0x80, 0xC2, 0x00, 0x00, 0x01};
    uint64_t station = REGISTER(p, RAL0) | (uint64_t)(REGISTER(p, RAL0 + 4) & 0xFFFF) << 32;
    if (memcmp(data, reserved, 6) != 0 && memcmp(data, &station, 6) != 0)
        return;
    out->unheeded = out->verdict;
    if (be16(data + 14) == PAUSE_OPCODE)
        out->verdict = RX_PAUSE;
    else if (!config_of(p)->passes_control)
        out->verdict = RX_CONTROL;
}

/* `length` without CRC, at least MIN_FRAME. */
void classify(struct port *p, const uint8_t *data, uint32_t length, struct rx_class *out)
{
    const struct config *c = config_of(p);
    *out = (struct rx_class){.verdict = RX_PASS, .cast = (uint8_t)cast_of(data)};
    uint16_t type = be16(data + 12);
    unsigned tags = is_tag(c, type) ? 1 + is_tag(c, be16(data + 16)) : 0, at = 14;
    if (length + CRC_BYTES > c->max_frame + 4 * tags) {
        out->verdict = RX_OVERSIZE;
        return;
    }
    if (!address_passes(p, data, out))
        out->verdict = RX_FILTERED;
    if (c->outer_vet && type == c->outer_vet) { /* left alone: only the inner tag is filtered and stripped */
        out->status |= RXD_VEXT;
        type = be16(data + 16);
        at = 18;
    }
    if (type == c->vet) {
        out->tag_at = (uint8_t)(at - 2);
        out->vlan = be16(data + at);
        out->status |= RXD_VP;
        unsigned vid = out->vlan & 0xFFF;
        if (c->vlan_filter && !(REGISTER(p, VFTA + 4 * (vid >> 5)) >> (vid & 31) & 1))
            out->verdict = RX_FILTERED;
        type = be16(data + at + 2);
        at += 4;
    }
    struct packet ip;
    if (out->verdict == RX_PASS && !filters_ethertype(c, type, out) && packet_parse(type, data + at, length - at, &ip))
        classify_ip(p, data, length, &ip, out);
    else if (c->heeds_pause && at == 14 && type == ETHERTYPE_MAC_CONTROL)
        classify_control(p, data, out);
}
