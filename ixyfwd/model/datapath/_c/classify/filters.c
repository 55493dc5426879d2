/* Filters that choose a queue before RSS does: EtherType, TCP SYN and 5-tuple (7.1.2.3 to 7.1.2.5). */
#include "classify/classify.h"
#include "classify/packet.h"

#include <string.h>

#define ETQF_UP_ENABLE (1u << 19)
#define ETQF_ENABLE (1u << 31)
#define ETQS_QUEUE_ENABLE (1u << 31)
#define SYNQF_ENABLE 1u
#define SYNQF_PRIORITY (1u << 31) /* SYN before 5-tuple */
#define FTQF_ENABLE (1u << 31)
enum { SKIP_SOURCE = 1, SKIP_DESTINATION = 2, SKIP_SOURCE_PORT = 4, SKIP_DESTINATION_PORT = 8, SKIP_PROTOCOL = 16 };
enum { TCP_FLAGS_AT = 13, TCP_SYN = 0x02 };

static void load_tuple(struct port *p, unsigned n)
{
    struct filters *f = &config_of(p)->filters;
    uint32_t ftqf = REGISTER(p, FTQF + 4 * n), ports = REGISTER(p, SDPQF + 4 * n);
    if (!(ftqf & FTQF_ENABLE))
        return;
    struct tuple_filter new = {
        .source = REGISTER(p, SAQF + 4 * n),
        .destination = REGISTER(p, DAQF + 4 * n),
        .source_port = (uint16_t)ports,
        .destination_port = (uint16_t)(ports >> 16),
        .protocol = ftqf & 3,
        .priority = ftqf >> 2 & 7,
        .skip = ftqf >> 25 & 31,
        .queue = REGISTER(p, L34T_IMIR + 4 * n) >> 21 & 127,
    };
    unsigned at = f->tuple_count++;
    for (; at && f->tuples[at - 1].priority < new.priority; at--)
        f->tuples[at] = f->tuples[at - 1];
    f->tuples[at] = new;
}

void filters_load(struct port *p)
{
    struct filters *f = &config_of(p)->filters;
    f->ethertype_count = f->tuple_count = 0;
    for (unsigned n = 0; n < 8; n++) {
        uint32_t etqf = REGISTER(p, ETQF + 4 * n);
        if (etqf & ETQF_ENABLE)
            f->ethertypes[f->ethertype_count++] =
                (struct ethertype_filter){etqf, REGISTER(p, ETQS + 4 * n), (uint8_t)n};
    }
    for (unsigned n = 0; n < 128; n++)
        load_tuple(p, n);
    f->syn = REGISTER(p, SYNQF);
}

/* True if an EtherType filter knows the type; its frames are none of the other filters' business. */
bool filters_ethertype(const struct config *c, uint16_t type, struct rx_class *out)
{
    const struct filters *f = &c->filters;
    for (unsigned n = 0; n < f->ethertype_count; n++) {
        const struct ethertype_filter *e = &f->ethertypes[n];
        if ((uint16_t)e->etqf != type)
            continue;
        out->q0 = PTYPE_ETQF | (uint32_t)e->number << PTYPE_ETQF_SHIFT;
        bool up = !(e->etqf & ETQF_UP_ENABLE) || ((out->status & RXD_VP) && out->vlan >> 13 == (e->etqf >> 16 & 7));
        if (up && (e->etqs & ETQS_QUEUE_ENABLE))
            out->queue = e->etqs >> 16 & 127;
        return true;
    }
    return false;
}

static unsigned tuple_protocol(const struct packet *ip)
{
    switch (ip->protocol) {
    case PROTOCOL_TCP:
        return 0;
    case PROTOCOL_UDP:
        return 1;
    case PROTOCOL_SCTP:
        return 2;
    default:
        return 3;
    }
}

/* Registers hold addresses and ports as they are on the wire, first byte lowest. */
static uint32_t wire32(const uint8_t *at) { return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24; }
static uint16_t wire16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }

static bool tuple_matches(const struct tuple_filter *t, const struct packet *ip)
{
    if (!(t->skip & SKIP_SOURCE) && t->source != wire32(ip->addresses))
        return false;
    if (!(t->skip & SKIP_DESTINATION) && t->destination != wire32(ip->addresses + 4))
        return false;
    if (!(t->skip & SKIP_PROTOCOL) && t->protocol != tuple_protocol(ip))
        return false;
    if (!(t->skip & SKIP_SOURCE_PORT) && (!ip->l4_type || t->source_port != wire16(ip->l4)))
        return false;
    return (t->skip & SKIP_DESTINATION_PORT) || (ip->l4_type && t->destination_port == wire16(ip->l4 + 2));
}

static int tuple_queue(const struct filters *f, const struct packet *ip)
{
    for (unsigned n = 0; ip->version == 4 && n < f->tuple_count; n++)
        if (tuple_matches(&f->tuples[n], ip))
            return f->tuples[n].queue;
    return UNROUTED;
}

static int syn_queue(const struct filters *f, const struct packet *ip)
{
    bool syn = (f->syn & SYNQF_ENABLE) && ip->l4_type == PROTOCOL_TCP && (ip->l4[TCP_FLAGS_AT] & TCP_SYN);
    return syn ? (int)(f->syn >> 1 & 127) : UNROUTED;
}

/* The queue that the SYN and 5-tuple filters choose, or UNROUTED. */
int filters_queue(const struct config *c, const struct packet *ip)
{
    const struct filters *f = &c->filters;
    bool syn_first = f->syn & SYNQF_PRIORITY;
    int queue = syn_first ? syn_queue(f, ip) : tuple_queue(f, ip);
    if (queue != UNROUTED)
        return queue;
    return syn_first ? tuple_queue(f, ip) : syn_queue(f, ip);
}
