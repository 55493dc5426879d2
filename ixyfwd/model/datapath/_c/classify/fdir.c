/* Flow director (7.1.2.7): signature filters, and perfect filters for IPv4. Not modelled: pools, IPv6 perfect filters and
 * the byte masks of FDIRIP6M. */
#include "classify/classify.h"
#include "classify/packet.h"

#include <stdlib.h>
#include <string.h>

#define FDIRCTRL_PERFECT (1u << 4)
#define FDIRCTRL_REPORT (1u << 5)
#define FDIRCTRL_REPORT_ALWAYS (1u << 7)
#define FDIRCMD_FILTER_VALID (1u << 2)
#define FDIRCMD_UPDATE (1u << 3)
#define FDIRCMD_CLEARHT (1u << 8)
#define FDIRCMD_DROP (1u << 9)
#define FDIRCMD_QUEUE_EN (1u << 15)
#define FDIRCMD_ACTION (FDIRCMD_DROP | FDIRCMD_QUEUE_EN | 0x7Fu << 16)
#define FDIRHASH_BUCKET_VALID (1u << 15)
#define HASH_BITS 0x7FFFu
#define RSS_TYPE_FDIR 15u
enum { CMD_ADD = 1, CMD_REMOVE, CMD_QUERY };
enum { MASK_VLAN_ID = 1, MASK_VLAN_PRIORITY = 2, MASK_L4 = 8, MASK_FLEX = 16, MASK_DESTINATION6 = 32 };
enum { FLOW_UDP = 1, FLOW_TCP, FLOW_SCTP, FLOW_L4 = 3, FLOW_IPV6 = 4 };

/* Keys */

static uint32_t wire32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t folded(const uint8_t *address, unsigned bytes)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < bytes; i += 4)
        sum ^= wire32(address + i);
    return sum;
}

/* The port masks hold a port's bit 15 in bit 0, and a 1 takes the bit out of the comparison. */
static uint16_t without(uint16_t port, uint32_t mask)
{
    for (unsigned bit = 0; bit < 16; bit++)
        if (mask >> (15 - bit) & 1)
            port &= (uint16_t)~(1u << bit);
    return port;
}

static void mask_key(struct port *p, struct fdir_key *k)
{
    uint32_t fdirm = REGISTER(p, FDIRM);
    uint32_t ports = REGISTER(p, (k->flow & FLOW_L4) == FLOW_TCP ? FDIRTCPM : FDIRUDPM);
    k->vlan &= fdirm & MASK_VLAN_ID ? 0xE000 : 0xEFFF;
    k->vlan &= fdirm & MASK_VLAN_PRIORITY ? 0x0FFF : 0xEFFF;
    if (fdirm & MASK_FLEX)
        k->flex = 0;
    if (fdirm & MASK_L4)
        k->flow &= FLOW_IPV6;
    k->source_port = without(k->source_port, ports);
    k->destination_port = without(k->destination_port, ports >> 16);
    if (!(k->flow & FLOW_IPV6)) {
        k->source &= ~REGISTER(p, FDIRSIP4M);
        k->destination &= ~REGISTER(p, FDIRDIP4M);
    } else if (fdirm & MASK_DESTINATION6) {
        k->destination = 0;
    }
}

static struct fdir_key packet_key(struct port *p, const uint8_t *data, uint32_t length, const struct packet *ip,
                                  uint16_t vlan)
{
    static const uint8_t flows[] = {[PROTOCOL_UDP] = FLOW_UDP, [PROTOCOL_TCP] = FLOW_TCP, [PROTOCOL_SCTP] = FLOW_SCTP};
    unsigned half = ip->address_bytes / 2, flex_at = 2 * (fdir_of(p)->ctrl >> 16 & 31);
    struct fdir_key k = {
        .source = folded(ip->addresses, half), .destination = folded(ip->addresses + half, half), .vlan = vlan};
    k.flow = (uint8_t)(flows[ip->l4_type] | (ip->version == 6 ? FLOW_IPV6 : 0));
    if (ip->l4_type == PROTOCOL_TCP || ip->l4_type == PROTOCOL_UDP) { /* of SCTP the 82599 takes no ports */
        k.source_port = (uint16_t)(ip->l4[0] << 8 | ip->l4[1]);
        k.destination_port = (uint16_t)(ip->l4[2] << 8 | ip->l4[3]);
    }
    if (flex_at + 2 <= length)
        k.flex = (uint16_t)(data[flex_at] | data[flex_at + 1] << 8);
    mask_key(p, &k);
    return k;
}

static struct fdir_key register_key(struct port *p, uint32_t command)
{
    uint32_t ports = REGISTER(p, FDIRPORT), vlan = REGISTER(p, FDIRVLAN);
    return (struct fdir_key){REGISTER(p, FDIRIPSA), REGISTER(p, FDIRIPDA),  (uint16_t)ports, (uint16_t)(ports >> 16),
                             (uint16_t)vlan,        (uint16_t)(vlan >> 16), command >> 5 & 7};
}

static bool same_key(const struct fdir_key *a, const struct fdir_key *b)
{
    return a->source == b->source && a->destination == b->destination && a->source_port == b->source_port &&
           a->destination_port == b->destination_port && a->vlan == b->vlan && a->flex == b->flex && a->flow == b->flow;
}

/* The hash of 42 bytes (VLAN, addresses, ports, flexible bytes, pool, flow type) with a 32-bit key, both repeated: bit i+1
 * of the key adds the 16 input bits from i on, the string starting with its own last 15. Keys being as periodic as
 * words, the input may be folded into one word first: `low` and `high` are its two rotations by 16. */
static uint32_t hash_key(const struct fdir_key *k, uint32_t key)
{
    uint32_t high = __builtin_bswap32(k->source ^ k->destination);
    high ^= ((uint32_t)k->source_port << 16 | k->destination_port) ^ (uint32_t)__builtin_bswap16(k->flex) << 16;
    uint32_t low = high >> 16 | high << 16, tail = (uint32_t)k->flow << 16 | k->vlan, hash = 0;
    high ^= tail ^ tail >> 16;
    for (unsigned bit = 0; bit < 16; bit++) {
        if (key >> bit & 1)
            hash ^= low >> bit;
        if (key >> (bit + 16) & 1)
            hash ^= high >> bit;
        if (bit == 0) /* the string starts behind the first bit of what is in front of it */
            low ^= tail ^ tail << 16;
    }
    return hash & HASH_BITS;
}

/* The table */

static void clear_table(struct fdir *f)
{
    f->used = f->unused = f->longest = 0;
    if (f->heads)
        memset(f->heads, 0, FDIR_BUCKETS * sizeof *f->heads);
}

void fdir_free(struct fdir *f)
{
    free(f->heads);
    free(f->filters);
}

void fdir_reset(struct port *p)
{
    fdir_of(p)->enabled = false;
    clear_table(fdir_of(p));
}

/* FDIRCTRL was written. PBALLOC 1 to 3: 8K, 16K, 32K signature filters, or a quarter of that perfect ones, less one. */
void dp_fdir_init(port_t *p)
{
    struct fdir *f = fdir_of(p);
    f->ctrl = REGISTER(p, FDIRCTRL);
    f->perfect = f->ctrl & FDIRCTRL_PERFECT;
    unsigned size = f->ctrl & 3, buckets = size ? (f->perfect ? 1024u : 4096u) << size : 0;
    if (size && !f->heads) {
        f->heads = malloc(FDIR_BUCKETS * sizeof *f->heads);
        f->filters = malloc(FDIR_FILTERS * sizeof *f->filters);
    }
    f->enabled = size && f->heads && f->filters;
    f->mask = buckets - 1;
    f->free = buckets ? buckets - 1 : 0;
    clear_table(f);
    REGISTER(p, FDIRFREE) = f->free;
    REGISTER(p, FDIRLEN) = 0;
    config_of(p)->generation++;
}

/* The link that leads to a filter: its bucket's head or the `next` of the one before; the end's holds 0. `place` counts
 * those in front. A perfect filter is known by its key or, to software, by its index. */
static uint32_t *find(struct fdir *f, const struct fdir_filter *wanted, bool by_key, unsigned *place)
{
    uint32_t *link = &f->heads[wanted->bucket & f->mask];
    for (*place = 0; *link; ++*place) {
        struct fdir_filter *at = &f->filters[*link - 1];
        if (by_key ? same_key(&at->key, &wanted->key) : at->index == wanted->index)
            break;
        link = &at->next;
    }
    return link;
}

static void count(struct port *p, unsigned offset, unsigned shift, uint32_t most)
{
    if ((REGISTER(p, offset) >> shift & most) != most)
        REGISTER(p, offset) += 1u << shift;
}

/* Software may write FDIRFREE, so it is only a copy. */
static void show_free(struct port *p, uint32_t free_filters)
{
    fdir_of(p)->free = free_filters;
    REGISTER(p, FDIRFREE) = (REGISTER(p, FDIRFREE) & ~0xFFFFu) | free_filters;
}

/* Returns whether the flow director's interrupt is due: no room, or fewer free than FDIRCTRL.FULL_THRESH, in sixteens. */
static bool add(struct port *p, const struct fdir_filter *new)
{
    struct fdir *f = fdir_of(p);
    unsigned place;
    uint32_t *link = find(f, new, f->perfect, &place);
    if (*link) {
        struct fdir_filter *old = &f->filters[*link - 1];
        if (new->command & FDIRCMD_UPDATE) {
            old->command = new->command;
            old->index = new->index;
        } else if ((old->command ^ new->command) & FDIRCMD_ACTION && !old->collided) {
            old->collided = true;
            count(p, FDIRFREE, 16, 0x7FFF);
        }
        return false;
    }
    if (!f->free) {
        count(p, FDIRFSTAT, 0, 0xFF);
        return true;
    }
    uint32_t slot = f->unused ? f->unused - 1 : f->used++;
    if (f->unused)
        f->unused = f->filters[slot].next;
    f->filters[slot] = *new;
    *link = slot + 1;
    count(p, FDIRUSTAT, 0, 0xFFFF);
    show_free(p, f->free - 1);
    if (place + 1 > f->longest) {
        f->longest = place + 1;
        REGISTER(p, FDIRLEN) = (uint32_t)new->bucket << 16 | (f->longest < 63 ? f->longest : 63);
    }
    return f->free + 1 == 16 * (f->ctrl >> 28);
}

static void take_away(struct port *p, const struct fdir_filter *wanted)
{
    struct fdir *f = fdir_of(p);
    unsigned place;
    uint32_t *link = find(f, wanted, false, &place), slot = *link;
    if (!slot) {
        count(p, FDIRFSTAT, 8, 0xFF);
        return;
    }
    *link = f->filters[slot - 1].next;
    f->filters[slot - 1].next = f->unused;
    f->unused = slot;
    count(p, FDIRUSTAT, 16, 0xFFFF);
    show_free(p, f->free + 1);
}

static void query(struct port *p, const struct fdir_filter *wanted)
{
    struct fdir *f = fdir_of(p);
    unsigned place;
    uint32_t found = *find(f, wanted, false, &place);
    bool bucket = f->heads[wanted->bucket & f->mask];
    REGISTER(p, FDIRHASH) = (REGISTER(p, FDIRHASH) & ~FDIRHASH_BUCKET_VALID) | (bucket ? FDIRHASH_BUCKET_VALID : 0);
    REGISTER(p, FDIRLEN) = (REGISTER(p, FDIRLEN) & ~0x3F00u) | (place & 63) << 8;
    REGISTER(p, FDIRCMD) = found ? (f->filters[found - 1].command & ~3u) | FDIRCMD_FILTER_VALID : 0;
}

/* FDIRCMD was written; its value is in the store, and so are the filter's other registers. True: interrupt. */
int dp_fdir_command(port_t *p)
{
    struct fdir *f = fdir_of(p);
    uint32_t command = REGISTER(p, FDIRCMD), hash = REGISTER(p, FDIRHASH);
    struct fdir_filter filter = {.key = register_key(p, command), .command = command};
    filter.bucket = hash & HASH_BITS;
    filter.index = (uint16_t)(f->perfect ? hash >> 16 : hash >> 16 & HASH_BITS);
    bool interrupt = false;
    REGISTER(p, FDIRCMD) = command & ~(3u | FDIRCMD_FILTER_VALID); /* done at once */
    if (command & FDIRCMD_CLEARHT)
        clear_table(f);
    if (!f->enabled)
        return false;
    if ((command & 3) == CMD_ADD)
        interrupt = add(p, &filter);
    else if ((command & 3) == CMD_REMOVE)
        take_away(p, &filter);
    else if ((command & 3) == CMD_QUERY)
        query(p, &filter);
    config_of(p)->generation++;
    return interrupt;
}

/* Packets */

static void report(const struct port *p, const struct fdir_filter *shown, struct rx_class *out)
{
    bool always = fdir_of(p)->ctrl & FDIRCTRL_REPORT_ALWAYS, found = out->fdir == FDIR_MATCH;
    if (!(fdir_of(p)->ctrl & FDIRCTRL_REPORT) || !(found || always) || !config_of(p)->pcsd)
        return;
    uint32_t identity = shown->index | (uint32_t)shown->bucket << 16;
    out->q0 = (uint64_t)identity << 32 | ((uint32_t)out->q0 & ~15u) | RSS_TYPE_FDIR;
}

static int match(struct port *p, struct fdir_filter *filter, unsigned place, struct rx_class *out)
{
    unsigned longest = fdir_of(p)->ctrl >> 24 & 15;
    bool drop = filter->command & FDIRCMD_DROP;
    out->status |= RXD_FLM | (place > longest ? RXD_FDIR_TOO_LONG : 0) | (filter->collided ? RXD_FDIR_COLLISION : 0);
    if (drop) /* goes to a queue that is not enabled, unless a driver wants to see what is dropped */
        return fdir_of(p)->ctrl >> 8 & 127;
    return filter->command & FDIRCMD_QUEUE_EN ? (int)(filter->command >> 16 & 127) : UNROUTED;
}

/* Looks a packet up and notes what the descriptor tells of it; returns the queue that its filter names, or UNROUTED. */
int fdir_look_up(struct port *p, const uint8_t *data, uint32_t length, const struct packet *ip, struct rx_class *out)
{
    struct fdir *f = fdir_of(p);
    if (!f->enabled || (!ip->l4_type && (ip->fragment || !(REGISTER(p, FDIRM) & MASK_L4))))
        return UNROUTED; /* a packet without L4 is a candidate only if L4 is masked */
    struct fdir_filter wanted = {.key = packet_key(p, data, length, ip, out->vlan)};
    wanted.bucket = (uint16_t)hash_key(&wanted.key, REGISTER(p, FDIRHKEY));
    wanted.index = (uint16_t)(f->perfect ? 0 : hash_key(&wanted.key, REGISTER(p, FDIRSKEY)));
    unsigned place;
    uint32_t found = f->perfect && ip->version == 6 ? 0 : *find(f, &wanted, f->perfect, &place);
    out->fdir = found ? FDIR_MATCH : FDIR_MISS;
    int queue = found ? match(p, &f->filters[found - 1], place, out) : UNROUTED;
    report(p, found ? &f->filters[found - 1] : &wanted, out);
    return queue;
}
