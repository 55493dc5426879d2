/* A fuzz input as what a driver does to two ports: each step is a byte that names it and the bytes it takes. */
#include "base/registers.h"
#include "world.h"

#include <string.h>

enum { MAX_STEPS = 256 };

struct input {
    const uint8_t *at, *end;
};

struct driver {
    struct world *world;
    struct input in;
    uint8_t tx_next[2][RINGS], rx_next[2][RINGS], buffer;
};

static uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned k = 0; k < bytes && in->at < in->end; k++)
        value |= (uint64_t)*in->at++ << 8 * k;
    return value;
}

/* Mostly a buffer, sometimes an edge of a mapping, sometimes anything. */
static uint64_t take_address(struct input *in)
{
    static const uint64_t edges[] = {
        IOVA, IOVA + OPEN_BYTES / 2, IOVA + OPEN_BYTES, IOVA + 4096, IOVA + 3 * 4096, 0, 2 * IOVA, 0ull - 4096,
    };
    unsigned how = (unsigned)take(in, 1);
    if (how < 128)
        return IOVA + BUFFERS_AT + how % BUFFERS * BUFFER_STRIDE;
    if (how < 192)
        return edges[how & 7] + (uint64_t)(int64_t)(int16_t)take(in, 2);
    return how < 248 ? IOVA + take(in, 3) % OPEN_BYTES : take(in, 8);
}

static void put_desc(struct world *w, uint32_t at, uint64_t q0, uint64_t q1)
{
    memcpy(w->open + at, &q0, 8);
    memcpy(w->open + at + 8, &q1, 8);
}

static uint32_t window(int rx, unsigned ring)
{
    return rx ? rx_window(QUEUE_NUMBERS[ring]) : tx_window(QUEUE_NUMBERS[ring]);
}

static void put_tail(struct driver *d, unsigned port, int rx, unsigned ring, uint32_t value)
{
    set_register(d->world, port, window(rx, ring) + RDT, value);
    dp_tail_written(d->world->ports[port], rx, QUEUE_NUMBERS[ring]);
}

static void start_ring(struct driver *d, unsigned port, int rx, unsigned ring, uint64_t base, uint32_t bytes,
                       uint32_t srrctl)
{
    struct world *w = d->world;
    uint32_t at = window(rx, ring);
    set_register(w, port, at + RDBAL, (uint32_t)base);
    set_register(w, port, at + RDBAH, (uint32_t)(base >> 32));
    set_register(w, port, at + RDLEN, bytes);
    set_register(w, port, at + RDH, 0);
    set_register(w, port, at + RDT, 0);
    if (rx) {
        set_register(w, port, at + SRRCTL, srrctl);
        dp_start_rx(w->ports[port], QUEUE_NUMBERS[ring]);
        d->rx_next[port][ring] = 0;
    } else {
        dp_start_tx(w->ports[port], QUEUE_NUMBERS[ring]);
        d->tx_next[port][ring] = 0;
    }
}

static void post_buffers(struct driver *d, unsigned port, unsigned ring, unsigned count)
{
    uint8_t *next = &d->rx_next[port][ring];
    for (; count; count--) {
        uint64_t address = IOVA + BUFFERS_AT + d->buffer % BUFFERS * BUFFER_STRIDE;
        d->buffer++;
        put_desc(d->world, ring_at(port, 1, ring) + 16 * *next, address, 0);
        *next = (*next + 1) % RING_ENTRIES;
    }
    put_tail(d, port, 1, ring, *next);
}

/* A packet of the kind that `kind` says, so that classification and offloads have something to find. */
static void put_packet(struct input *in, uint8_t *to)
{
    unsigned kind = (unsigned)take(in, 1), at = 12;
    static const uint8_t protocols[] = {6, 17, 132, 1, 44, 0, 60, 51};
    for (unsigned k = 0; k < 12; k++)
        to[k] = (uint8_t)(kind & 1 ? 0xFF : k);
    if (kind & 2) {
        memcpy(to + at, "\x81\x00\x00\x05", 4);
        at += 4;
    }
    uint8_t protocol = protocols[kind >> 3 & 7];
    if (kind & 4) {
        memcpy(to + at, "\x86\xDD\x60\0\0\0\0\x28", 8);
        to[at + 8] = protocol;
        memset(to + at + 9, 0x20, 33);
        at += 42;
    } else {
        memcpy(to + at, "\x08\x00\x45\0\0\x54\0\1\0\0\x40", 11);
        to[at + 11] = protocol;
        memcpy(to + at + 12, "\0\0\x0A\0\0\1\x0A\0\0\2", 10);
        at += 22;
    }
    memset(to + at, 0x11, 60);
    for (unsigned left = kind >> 6; left; left--) {
        unsigned where = (unsigned)take(in, 1);
        to[where] = (uint8_t)take(in, 1);
    }
}

static void put_context(struct driver *d, unsigned port, unsigned ring)
{
    uint64_t lengths = take(&d->in, 4), type = take(&d->in, 2), more = take(&d->in, 4);
    uint8_t *next = &d->tx_next[port][ring];
    uint64_t q1 = TXD_DEXT | TXD_DTYP_CONTEXT | (type & 0x3FFFF) << 9 | more << 32;
    if (!(lengths & 1u << 31)) { /* Ethernet, a plain IP header, TCP or UDP */
        lengths = 14u << 9 | (type & 1 ? 40 : 20) | (lengths & 0xFFFF0000);
        uint64_t l4 = type >> 1 & 3, payload_at = l4 == 1 ? 20 : 8;
        q1 = TXD_DEXT | TXD_DTYP_CONTEXT | (type & 1 ? 0 : 1u << 10) | l4 << 11 | payload_at << 40 |
             (more >> 16 & 0xFFFF) << 48;
    }
    put_desc(d->world, ring_at(port, 0, ring) + 16 * *next, lengths, q1);
    *next = (*next + 1) % RING_ENTRIES;
}

static void put_frame(struct driver *d, unsigned port, unsigned ring)
{
    unsigned flags = (unsigned)take(&d->in, 1), cuts = flags & 3;
    uint32_t length = (uint32_t)take(&d->in, 2) % (flags & 4 ? 16384 : 1600), paylen = length;
    uint64_t d2 = TXD_IFCS | (flags & 8 ? 0 : TXD_DEXT | TXD_DTYP_DATA) | (flags & 16 ? TXD_TSE : 0) |
                  (flags & 32 ? TXD_VLE : 0) | (flags & 64 ? TXD_RS : 0);
    uint64_t popts = flags & 128 ? take(&d->in, 1) : 0;
    if (flags & 16) { /* headers as put_packet makes them, so that the lengths add up */
        unsigned kind = d->in.at < d->in.end ? *d->in.at : 0;
        paylen = length - (14 + (kind & 4 ? 40 : 20) + (kind >> 3 & 7 ? 8 : 20));
        popts ^= kind & 4 ? 2 : 3;
    }
    put_packet(&d->in, d->world->open + BUFFERS_AT + d->buffer % BUFFERS * BUFFER_STRIDE);
    for (unsigned k = 0; k <= cuts; k++) {
        uint32_t piece = k == cuts ? length : length / 2;
        uint8_t *next = &d->tx_next[port][ring];
        uint64_t address = k ? take_address(&d->in) : IOVA + BUFFERS_AT + d->buffer % BUFFERS * BUFFER_STRIDE;
        uint64_t q1 = d2 | piece | (k == cuts ? TXD_EOP : 0) | (uint64_t)(popts << 8 | (uint64_t)paylen << 14) << 32;
        put_desc(d->world, ring_at(port, 0, ring) + 16 * *next, address, q1);
        *next = (*next + 1) % RING_ENTRIES;
        length -= piece;
    }
    d->buffer++;
    put_tail(d, port, 0, ring, d->tx_next[port][ring]);
}

static void put_register(struct driver *d, unsigned port)
{
    static const uint32_t offsets[] = {
        RQSMR,    RDRXCTL, RXCTRL, HLREG0, MAXFRS,    DMATXCTL, RXCSUM, FCTRL, VLNCTRL,
        MCSTCTRL, MTA,     TQSM,   VFTA,   RAL0,      RAL0 + 4, RETA,   RSSRK, RSSRK + 36,
        MRQC,     0x1028,  0x1014, 0x6038, RXPBSIZE0, FCRTL0,   FCRTH0, FCCFG, MFLCN,
    };
    unsigned which = (unsigned)take(&d->in, 1);
    uint32_t value = (uint32_t)take(&d->in, 4);
    uint32_t offset = which < 200   ? offsets[which % (sizeof offsets / sizeof *offsets)]
                      : which < 240 ? (uint32_t)take(&d->in, 2) * 4 % (64 * 1024)
                                    : FDIRCTRL + (uint32_t)take(&d->in, 1) * 4 % 128;
    set_register(d->world, port, offset, value);
    if (offset == FDIRCTRL)
        dp_fdir_init(d->world->ports[port]);
    if (offset == FDIRCMD)
        dp_fdir_command(d->world->ports[port]);
    dp_reconfigure(d->world->ports[port]);
}

static void switch_something(struct driver *d, port_t *p)
{
    unsigned what = (unsigned)take(&d->in, 1), on = what >> 7;
    switch (what % 6) {
    case 0:
        dp_set_bus_master(p, (int)on);
        break;
    case 1:
        dp_set_link(p, (int)on);
        break;
    case 2:
        dp_set_tail_mapped(p, (int)on);
        break;
    case 3:
        dp_feed(p, (int)on);
        break;
    case 4:
        dp_port_causes(p)->wanted = (uint8_t)on;
        dp_port_causes(p)->urgent_rx[0] = on ? UINT64_MAX : 0;
        break;
    default:
        dp_reset(p);
        break;
    }
}

static void put_bytes(struct driver *d)
{
    uint32_t at = (uint32_t)take(&d->in, 3) % (OPEN_BYTES - 256), count = (uint32_t)take(&d->in, 1);
    for (uint32_t k = 0; k < count && d->in.at < d->in.end; k++)
        d->world->open[at + k] = *d->in.at++;
}

static void write_head(struct driver *d, unsigned port, int rx, unsigned ring)
{
    set_register(d->world, port, window(rx, ring) + RDH, (uint32_t)take(&d->in, 1));
    dp_head_written(d->world->ports[port], rx, QUEUE_NUMBERS[ring]);
}

static void start_odd(struct driver *d, unsigned port, int rx, unsigned ring)
{
    uint64_t base = take_address(&d->in);
    uint32_t bytes = (uint32_t)take(&d->in, 2) * 16, srrctl = (uint32_t)take(&d->in, 1);
    set_register(d->world, port, window(rx, ring) + TDWBAL, (uint32_t)take_address(&d->in) | (srrctl >> 7));
    set_register(d->world, port, window(rx, ring) + TDWBAH, IOVA >> 32);
    start_ring(d, port, rx, ring, base, bytes, (srrctl & 31) | (srrctl & 0x60) << 20);
}

static void usual_start(struct driver *d, unsigned port, int rx, unsigned ring)
{
    uint32_t kilobytes = 1 + (uint32_t)take(&d->in, 1) % 4;
    set_register(d->world, port, window(rx, ring) + TDWBAL, 0);
    start_ring(d, port, rx, ring, IOVA + ring_at(port, rx, ring), RING_BYTES, 1u << 25 | kilobytes);
    if (rx)
        post_buffers(d, port, ring, RING_ENTRIES - 1);
}

static void step(struct driver *d)
{
    struct world *w = d->world;
    unsigned code = (unsigned)take(&d->in, 1), where = (unsigned)take(&d->in, 1);
    unsigned port = where & 1, ring = where >> 2 & 3, entry = where >> 3 & 31;
    int rx = where >> 1 & 1;
    uint64_t address;
    switch (code % 18) {
    case 0:
    case 1: /* a descriptor of any kind, ring after ring */
        address = take_address(&d->in);
        put_desc(w, ring_at(port, rx, code >> 5 & 3) + 16 * entry, address, rx ? 0 : take(&d->in, 8));
        break;
    case 2:
        put_context(d, port, ring);
        break;
    case 3:
    case 4:
        put_frame(d, port, ring);
        break;
    case 5:
        put_tail(d, port, rx, ring, (uint32_t)take(&d->in, where & 128 ? 4 : 1));
        break;
    case 6:
        usual_start(d, port, rx, ring);
        break;
    case 7:
        start_odd(d, port, rx, ring);
        break;
    case 8:
        (rx ? dp_stop_rx : dp_stop_tx)(w->ports[port], QUEUE_NUMBERS[ring]);
        break;
    case 9:
        world_map(w, w->ports[port], where >> 2);
        break;
    case 10:
    case 11:
        put_register(d, port);
        break;
    case 12:
        switch_something(d, w->ports[port]);
        break;
    case 13:
        put_bytes(d);
        break;
    case 14:
        write_head(d, port, rx, ring);
        break;
    case 15:
        post_buffers(d, port, ring, 1 + (where >> 4));
        break;
    case 16:
        address = take_address(&d->in) & ~4095ull;
        if (where & 64)
            dp_unmap(w->ports[port], address, 4096);
        else
            dp_map(w->ports[port], address, 4096, w->fd, GUARD_BYTES + (where >> 2) * 4096u, 1, rx);
        break;
    default:
        if (where & 128)
            world_cut(w, (uint32_t)take(&d->in, 1) * 4096 % OPEN_BYTES);
        world_run(w);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct driver d = {.world = &world, .in = {data, data + size}};
    unsigned mode = (unsigned)take(&d.in, 1);
    world_begin(&world, mode % WIRE_CHOICES);
    for (unsigned port = 0; port < 2 && (mode & 8); port++)
        set_register(&world, port, MRQC, 0xF30001); /* RSS over everything that can be hashed */
    for (unsigned port = 0; port < 2; port++)
        for (unsigned ring = 0; ring < RINGS && (mode & 4); ring++) {
            usual_start(&d, port, 0, ring);
            usual_start(&d, port, 1, ring);
        }
    for (unsigned k = 0; k < MAX_STEPS && d.in.at < d.in.end; k++)
        step(&d);
    world_run(&world);
    world_run(&world);
    world_end(&world);
    return 0;
}
