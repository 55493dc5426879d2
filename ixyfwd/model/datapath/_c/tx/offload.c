/* Transmit offloads: checksum insertion, segmentation, VLAN tags (7.2.4, 7.2.5). */
#include "tx/offload.h"

#include "base/checksum.h"

#include <string.h>

/* 7.2.3.2.4 data descriptor, dword 2 (MAC field) and dword 3 */
#define TXD_MACSEC (1u << 18)
#define TXD_TIMESTAMP (1u << 19)
#define TXD_CC (1u << 7)
#define TXD_IXSM (1u << 8)
#define TXD_TXSM (1u << 9)
#define TXD_IPSEC (1u << 10)
#define TXD_POPTS_RESERVED (7u << 11)
/* 7.2.3.2.3 context descriptor, dword 2 */
#define TXC_IPV4 (1u << 10)
#define TXC_FCOE (1u << 15)

enum { ETHERNET_BYTES = 14, IPV4_BYTES = 20, IPV6_BYTES = 40 };
enum { L4T_UDP, L4T_TCP, L4T_SCTP, L4T_RESERVED };
enum { TCP_FLAGS_AT = 12, TCP_FLAGS = 0xFFF }; /* reserved bits included, as in DTXTCPFLGL and DTXTCPFLGH */

static const uint8_t L4_HEADER_BYTES[] = {[L4T_UDP] = 8, [L4T_TCP] = 20, [L4T_SCTP] = 12};
static const uint8_t L4_CHECKSUM_AT[] = {[L4T_UDP] = 6, [L4T_TCP] = 16, [L4T_SCTP] = 8};

/* IXSM and TXSM of TSE are not a choice: every segment's checksums are new (7.2.3.2.4). */
static bool segmentable(const struct offload *o, uint32_t length, uint32_t paylen)
{
    if (!o->l4 || o->l4_type == L4T_SCTP || o->ip != o->ipv4 || o->ip_at < ETHERNET_BYTES || !o->mss)
        return false;
    if (o->l4_at - o->ip_at < (o->ipv4 ? IPV4_BYTES : IPV6_BYTES))
        return false;
    if (o->payload_at - o->l4_at < L4_HEADER_BYTES[o->l4_type] || o->payload_at > HEADERS_MAX)
        return false;
    uint32_t longest = o->mss < paylen ? o->mss : paylen;
    return paylen && length == o->payload_at + paylen && o->payload_at + longest <= FRAME_MAX;
}

static bool plausible(const struct offload *o, uint32_t length, uint32_t paylen)
{
    if (o->ip) {
        bool header = o->ip_at >= ETHERNET_BYTES && o->l4_at >= o->ip_at + IPV4_BYTES && o->l4_at <= length;
        if (!o->ipv4 || !header)
            return false;
    }
    if (o->l4) {
        if (o->l4_type == L4T_RESERVED || o->l4_at < ETHERNET_BYTES || o->l4_at + L4_HEADER_BYTES[o->l4_type] > length)
            return false;
    }
    return !o->segment || segmentable(o, length, paylen);
}

static enum offload_verdict read_advanced(const struct tx_queue *q, uint32_t d2, uint32_t d3, uint32_t length,
                                          struct offload *o)
{
    if (d3 & TXD_POPTS_RESERVED)
        return OFFLOAD_BAD;
    if (!(d2 & (TXD_VLE | TXD_TSE)) && !(d3 & (TXD_IXSM | TXD_TXSM | TXD_CC)))
        return OFFLOAD_GOOD;
    unsigned index = d3 >> 4 & 7;
    if (index >= CONTEXTS || !q->contexts[index].q1)
        return OFFLOAD_BAD;
    const struct desc *c = &q->contexts[index];
    uint32_t c0 = (uint32_t)c->q0, c2 = (uint32_t)c->q1, c3 = (uint32_t)(c->q1 >> 32);
    if (c2 & TXC_FCOE)
        return OFFLOAD_UNSUPPORTED;
    o->ip = d3 & TXD_IXSM;
    o->l4 = d3 & TXD_TXSM;
    o->segment = d2 & TXD_TSE;
    o->tag = d2 & TXD_VLE;
    o->ipv4 = c2 & TXC_IPV4;
    o->l4_type = c2 >> 11 & 3;
    o->mss = (uint16_t)(c3 >> 16);
    o->vlan = (uint16_t)(c0 >> 16);
    o->ip_at = c0 >> 9 & 127;
    o->l4_at = o->ip_at + (c0 & 511);
    o->payload_at = o->l4_at + (c3 >> 8 & 255);
    return plausible(o, length, d3 >> 14) ? OFFLOAD_GOOD : OFFLOAD_BAD;
}

/* 7.2.3.2.2 */
static enum offload_verdict read_legacy(uint32_t d2, uint32_t d3, uint32_t length, struct offload *o)
{
    o->tag = d2 & TXD_VLE;
    o->vlan = (uint16_t)(d3 >> 16);
    o->sum = d2 & TXD_LEGACY_IC;
    o->sum_at = d2 >> 16 & 255;
    o->sum_from = d3 >> 8 & 255;
    bool inside = o->sum_at + 2 <= length && o->sum_from < length;
    return o->sum && !inside ? OFFLOAD_BAD : OFFLOAD_GOOD;
}

/* What `first` asks for; `length` is the sum of the frame's buffers. If not all of it is to be had, *o is the rest. */
enum offload_verdict offload_read(const struct port *p, const struct tx_queue *q, const struct desc *first,
                                  uint32_t length, struct offload *o)
{
    uint32_t d2 = (uint32_t)first->q1, d3 = (uint32_t)(first->q1 >> 32);
    uint32_t dmatxctl = REGISTER(p, DMATXCTL), flags = REGISTER(p, DTXTCPFLGL);
    *o = (struct offload){.vlan_type = (uint16_t)(dmatxctl >> 16),
                          .first_flags = flags & TCP_FLAGS,
                          .middle_flags = flags >> 16 & TCP_FLAGS,
                          .last_flags = REGISTER(p, DTXTCPFLGH) & TCP_FLAGS};
    if (dmatxctl & DMATXCTL_GDV)
        o->outer_type = (uint16_t)(REGISTER(p, EXVET) >> 16);
    if (!(d2 & TXD_DEXT))
        return read_legacy(d2, d3, length, o);
    enum offload_verdict verdict = read_advanced(q, d2, d3, length, o);
    bool missing = (d2 & (TXD_MACSEC | TXD_TIMESTAMP)) || (d3 & TXD_IPSEC);
    return verdict == OFFLOAD_GOOD && missing ? OFFLOAD_UNSUPPORTED : verdict;
}

/* Whether the packet is of the IP version that the context says. */
bool offload_fits(const struct offload *o, const uint8_t *headers)
{
    return !(o->ip || o->segment) || headers[o->ip_at] >> 4 == (o->ipv4 ? 4 : 6);
}

/* The sum covers what software left in the field: zero for IPv4, the pseudo header for TCP and UDP (7.2.5). `more` is
 * added to it. */
static void insert_l4(const struct offload *o, uint8_t *data, uint32_t length, uint32_t more)
{
    uint8_t *header = data + o->l4_at, *field = header + L4_CHECKSUM_AT[o->l4_type];
    uint32_t bytes = length - o->l4_at;
    if (o->l4_type == L4T_SCTP) {
        uint32_t crc = crc32c_around(header, bytes, L4_CHECKSUM_AT[L4T_SCTP]);
        for (unsigned k = 0; k < 4; k++)
            field[k] = (uint8_t)(crc >> 8 * k);
        return;
    }
    uint16_t sum = (uint16_t)~checksum(header, bytes, more);
    put_be16(field, o->l4_type == L4T_UDP && sum == 0 ? 0xFFFF : sum); /* UDP: 0 means that there is none */
}

static void insert_ip(const struct offload *o, uint8_t *data)
{
    uint8_t *header = data + o->ip_at;
    put_be16(header + 10, (uint16_t)~checksum(header, o->l4_at - o->ip_at, 0));
}

void offload_frame(const struct offload *o, uint8_t *data, uint32_t length)
{
    if (o->ip)
        insert_ip(o, data);
    if (o->l4)
        insert_l4(o, data, length, 0);
    if (o->sum)
        put_be16(data + o->sum_at, (uint16_t)~checksum(data + o->sum_from, length - o->sum_from, 0));
}

static void patch_tcp(const struct offload *o, uint8_t *tcp, const struct segment *s)
{
    uint32_t sequence = ((uint32_t)be16(tcp + 4) << 16 | be16(tcp + 6)) + s->before;
    put_be16(tcp + 4, sequence >> 16);
    put_be16(tcp + 6, sequence);
    uint32_t kept = s->last ? o->last_flags : s->number ? o->middle_flags : o->first_flags;
    if (s->last && !s->number) /* alone it is the first and the last one */
        kept |= o->first_flags;
    put_be16(tcp + TCP_FLAGS_AT, be16(tcp + TCP_FLAGS_AT) & (kept | ~(uint32_t)TCP_FLAGS));
}

/* Makes the headers, copied from the packet's, those of one segment (7.2.4.7). The pseudo header sum came without the
 * length, which differs in the last one. */
void offload_segment(const struct offload *o, uint8_t *data, uint32_t length, const struct segment *s)
{
    uint8_t *ip = data + o->ip_at, *l4 = data + o->l4_at;
    if (o->ipv4) {
        put_be16(ip + 2, length - o->ip_at);
        put_be16(ip + 4, be16(ip + 4) + s->number);
        insert_ip(o, data);
    } else {
        put_be16(ip + 4, length - o->ip_at - IPV6_BYTES);
    }
    if (o->l4_type == L4T_TCP)
        patch_tcp(o, l4, s);
    else
        put_be16(l4 + 4, length - o->l4_at);
    insert_l4(o, data, length, length - o->l4_at);
}

/* The tag goes behind the addresses, and in double VLAN mode behind an outer tag: they move to `to`, TAG_BYTES before the
 * frame. */
void offload_tag(const struct offload *o, uint8_t *to)
{
    unsigned at = o->outer_type && be16(to + TAG_BYTES + 12) == o->outer_type ? 16 : 12;
    memmove(to, to + TAG_BYTES, at);
    put_be16(to + at, o->vlan_type);
    put_be16(to + at + 2, o->vlan);
}
