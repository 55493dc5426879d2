/* The generator wire: numbered, time-stamped frames, composed where the port's rx descriptors point. */
#include "generator.h"
#include "pace.h"
#include "registers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BURST = RX_BURST, PREFETCH_AHEAD = SLOT_MARGIN };

static uint8_t *template_of(const struct generator *g, uint32_t flow, uint32_t size)
{
    return g->templates + (size_t)TEMPLATE_BYTES * (flow * g->size_count + size);
}

/* Exactly `length` bytes, as the chip would write them. The first MIN_FRAME are two overlapping stores of 32 bytes,
 * because stores are what a frame costs most: sequence and stamp are the last 8 of them. */
static inline __attribute__((always_inline)) void compose(const uint8_t *pattern, uint8_t *to, const uint8_t *template,
                                                          uint32_t sequence, uint32_t stamp, uint32_t length)
{
    typedef uint64_t four __attribute__((vector_size(32)));
    four head, tail;
    memcpy(&head, template, sizeof head);
    memcpy(&tail, template + MIN_FRAME - sizeof tail, sizeof tail);
    tail[3] = sequence | (uint64_t)stamp << 32;
    memcpy(to, &head, sizeof head);
    memcpy(to + MIN_FRAME - sizeof tail, &tail, sizeof tail);
    if (__builtin_expect(length > MIN_FRAME, 0))
        memcpy(to + MIN_FRAME, pattern + MIN_FRAME, length - MIN_FRAME);
}

static void lane_classify(struct port *p, struct generator *g, uint32_t flow, uint32_t size)
{
    const struct config *c = &p->config;
    uint32_t length = g->sizes[size], index = flow * g->size_count + size;
    struct rx_class *class = &g->classes[index];
    compose(p->dp->pattern, g->slow, template_of(g, flow, size), 0, 0, length);
    classify(p, g->slow, length, class);
    struct rx_queue *q = &p->rx[class->queue];
    bool plain = class->verdict == RX_PASS && !(class->status & (RXD_VP | RXD_IPE | RXD_L4E)) && c->rxen &&
                 c->crc_strip && q->running && length <= q->buffer_bytes;
    g->lanes[index] = (struct lane){
        .queue = q,
        .q0 = class->q0,
        .q1 = class->status | RXD_DD | RXD_EOP | (uint64_t)length << 32,
        .plain_generation = plain ? c->generation : 0,
        .generation = c->generation,
    };
}

/* The general way in: whatever is special about frame, queue or buffer. False: no room, only at rate "max". */
static bool send_odd(struct port *p, struct generator *g, uint32_t flow, uint32_t size)
{
    uint32_t length = g->sizes[size], index = flow * g->size_count + size;
    if (g->lanes[index].generation != p->config.generation)
        lane_classify(p, g, flow, size);
    uint32_t sequence = g->flow[flow].sequence, stamp = (uint32_t)p->dp->now_ns;
    compose(p->dp->pattern, g->slow, template_of(g, flow, size), sequence, stamp, length);
    enum rx_wait wait = g->public.pace.max ? RX_WAIT_READY : RX_DROP;
    bool taken = rx_offer_classified(p, g->slow, length, &g->classes[index], wait) == RX_TAKEN;
    rx_flush_all(p); /* so that a burst of plain frames always finds RX_BURST places to finish */
    return taken;
}

/* Below the pause threshold in any queue (rate "max"). */
static bool any_room(const struct port *p)
{
    for (unsigned k = 0; k < p->rx_active_count; k++)
        if (p->rx[p->rx_active[k]].ready > p->rx[p->rx_active[k]].reserve)
            return true;
    return false;
}

/* A flow that cannot go on for want of descriptors, and is known to want nothing else. */
static inline bool blocked(const struct lane *lane, uint32_t generation)
{
    return lane->plain_generation == generation && lane->queue->ready <= lane->queue->reserve;
}

/* What a burst has in hand; `now_ps` and `stamp` are of one clock reading. */
struct burst {
    uint64_t now_ps, bytes;
    uint32_t generation, stamp, sent;
    uint32_t plain[NO_SIZE]; /* frames composed in place, by size */
};

/* Compose the frame where the next descriptor of its queue points. False if that needs the general way. */
static inline __attribute__((always_inline)) bool send_plain(struct port *p, const struct lane *lane,
                                                             const uint8_t *pattern, const uint8_t *template,
                                                             uint32_t length, uint32_t sequence, uint32_t generation,
                                                             uint32_t stamp, bool max)
{
    struct rx_queue *q = lane->queue;
    if (__builtin_expect(lane->plain_generation != generation, 0) ||
        __builtin_expect(q->ready <= (max ? q->reserve : 0), 0))
        return false;
    const struct rx_slot *slot = &q->slots[q->head];
    if (__builtin_expect(slot->room < length, 0))
        return false;
    __builtin_prefetch(slot[PREFETCH_AHEAD].host, 1);
    compose(pattern, slot->host, template, sequence, stamp, length);
    rx_finish(p, q, lane->q0, lane->q1);
    return true;
}

/* Send up to `limit` frames that are due; a flow whose queue has no room is passed over (rate "max" only). The two
 * flags are constants where this is inlined: the commonest load pays for neither schedule nor clock. */
static inline __attribute__((always_inline)) void send_burst(struct port *p, struct generator *g, uint32_t limit,
                                                             struct burst *b, bool one_size, bool max)
{
    dp_pace *pace = &g->public.pace;
    /* Locals: the compiler must assume that every store to a frame changes what g and b point to. */
    const struct lane *const lanes = g->lanes;
    const uint8_t *const templates = g->templates, *const pattern = p->dp->pattern;
    struct flow *const all_flows = g->flow;
    const uint32_t flows = g->flows, size_count = g->size_count, generation = b->generation, stamp = b->stamp;
    uint32_t misses = 0, give_up = flows < BURST ? flows : BURST, flow = g->next_flow, sent = 0, length = g->sizes[0];
    while (sent < limit && misses < give_up && (max || pace->due_ps <= b->now_ps)) {
        struct flow *f = &all_flows[flow];
        uint32_t size = one_size ? 0 : g->schedule[f->step], index = one_size ? flow : flow * size_count + size;
        if (!one_size)
            length = g->sizes[size];
        const uint8_t *template = templates + (size_t)TEMPLATE_BYTES * index;
        bool plain = send_plain(p, &lanes[index], pattern, template, length, f->sequence, generation, stamp, max);
        if (__builtin_expect(plain, 1) || (!(max && blocked(&lanes[index], generation)) && send_odd(p, g, flow, size))) {
            f->sequence++;
            if (!one_size && ++f->step == g->schedule_length)
                f->step = 0;
            if (!max)
                pace->due_ps += pace_frame_ps(pace, length);
            b->plain[size] += plain;
            if (!one_size)
                b->bytes += length;
            sent++;
            misses = 0;
        } else if (misses++ == 0 && !any_room(p)) {
            break;
        }
        if (++flow == flows)
            flow = 0;
    }
    g->next_flow = flow;
    b->sent = sent;
    if (one_size)
        b->bytes = (uint64_t)sent * length;
}

/* The two cases that differ in cost, for any CPU and for those with stores of 32 bytes. */
static void send_common(struct port *p, struct generator *g, uint32_t limit, struct burst *b)
{
    if (g->public.pace.max && g->schedule_length == 1)
        send_burst(p, g, limit, b, true, true);
    else
        send_burst(p, g, limit, b, false, g->public.pace.max);
}

#if defined(__x86_64__)
static __attribute__((target("avx2"))) void send_avx2(struct port *p, struct generator *g, uint32_t limit, struct burst *b)
{
    if (g->public.pace.max && g->schedule_length == 1)
        send_burst(p, g, limit, b, true, true);
    else
        send_burst(p, g, limit, b, false, g->public.pace.max);
}

static void send_best(struct port *p, struct generator *g, uint32_t limit, struct burst *b)
{
    if (__builtin_cpu_supports("avx2"))
        send_avx2(p, g, limit, b);
    else
        send_common(p, g, limit, b);
}
#else
static void send_best(struct port *p, struct generator *g, uint32_t limit, struct burst *b)
{
    send_common(p, g, limit, b);
}
#endif

static void count_burst(struct port *p, struct generator *g, const struct burst *b)
{
    for (uint32_t size = 0; size < g->size_count; size++)
        if (b->plain[size])
            rx_count_mac(p, g->sizes[size], b->plain[size], RX_PASS, UNICAST);
    g->public.sent += b->sent;
    g->public.sent_bytes += b->bytes + (uint64_t)b->sent * CRC_BYTES;
    if (g->left != UINT64_MAX)
        g->left -= b->sent;
}

unsigned generator_feed(struct port *p, struct generator *g)
{
    dp_pace *pace = &g->public.pace;
    uint64_t now_ps = clock_ps(p->dp);
    if (!g->left || !pace_group_due(pace, now_ps, g->min_frame_ps))
        return 0;
    pace->shortfall += pace_give_up(pace, now_ps, g->mean_frame_ps);
    uint32_t limit = g->left < BURST ? (uint32_t)g->left : BURST;
    struct burst b;
    memset(&b, 0, offsetof(struct burst, plain) + g->size_count * sizeof b.plain[0]);
    b.now_ps = now_ps;
    b.stamp = (uint32_t)p->dp->now_ns;
    b.generation = p->bus_master ? p->config.generation : UINT32_MAX; /* no DMA: nothing goes the plain way */
    send_best(p, g, limit, &b);
    count_burst(p, g, &b);
    rx_flush_all(p);
    return b.sent;
}

bool generator_done(const struct generator *g) { return g->left == 0; }
dp_generator *dp_port_generator(port_t *p) { return p->generator ? &p->generator->public : NULL; }

void generator_free(struct generator *g)
{
    if (!g)
        return;
    free(g->schedule);
    free(g->templates);
    free(g->flow);
    free(g->lanes);
    free(g->classes);
    free(g);
}

static void *copy_of(const void *data, size_t bytes)
{
    void *copy = malloc(bytes);
    return copy ? memcpy(copy, data, bytes) : NULL;
}

/* Sizes, the schedule's mean and minimum, and every flow's place in the schedule: spread, so that the shares hold
 * over any stretch of frames. */
static void generator_schedule(struct generator *g, const uint16_t *sizes)
{
    const dp_pace *pace = &g->public.pace;
    uint64_t total_ps = 0;
    g->min_frame_ps = UINT64_MAX;
    memset(g->size_of_length, NO_SIZE, sizeof g->size_of_length);
    for (uint32_t i = 0; i < g->size_count; i++) {
        g->sizes[i] = sizes[i];
        g->size_of_length[sizes[i]] = (uint8_t)i;
    }
    for (uint32_t i = 0; i < g->schedule_length; i++) {
        uint64_t frame_ps = pace_frame_ps(pace, g->sizes[g->schedule[i]]);
        total_ps += frame_ps;
        if (frame_ps < g->min_frame_ps)
            g->min_frame_ps = frame_ps;
    }
    g->mean_frame_ps = total_ps / g->schedule_length ? total_ps / g->schedule_length : 1;
    for (uint32_t i = 0; i < g->flows; i++)
        g->flow[i].step = (uint32_t)((uint64_t)i * g->schedule_length / g->flows);
}

int dp_plug_generator(port_t *p, uint32_t flows, uint32_t size_count, const uint16_t *sizes, uint32_t schedule_length,
                      const uint8_t *schedule, const uint8_t *templates, uint64_t count, int verify_frame,
                      const dp_pace *pace)
{
    struct generator *g = calloc(1, sizeof *g);
    struct sink *s = sink_new(p->dp, verify_frame);
    size_t lanes = (size_t)flows * size_count;
    if (g) {
        g->schedule = copy_of(schedule, schedule_length);
        g->templates = aligned_alloc(TEMPLATE_BYTES, lanes * TEMPLATE_BYTES);
        g->flow = calloc(flows, sizeof *g->flow);
        g->lanes = aligned_alloc(64, (lanes * sizeof *g->lanes + 63) / 64 * 64);
        g->classes = calloc(lanes, sizeof *g->classes);
    }
    if (!g || !s || !g->schedule || !g->templates || !g->flow || !g->lanes || !g->classes) {
        generator_free(g);
        sink_free(s);
        return -ENOMEM;
    }
    memcpy(g->templates, templates, lanes * TEMPLATE_BYTES);
    memset(g->lanes, 0, lanes * sizeof *g->lanes); /* generation 0: to be classified */
    g->public.pace = *pace;
    g->flows = flows;
    g->size_count = size_count;
    g->schedule_length = schedule_length;
    g->left = count;
    g->number = (uint8_t)p->index;
    generator_schedule(g, sizes);
    p->generator = g;
    p->sink = s;
    p->wire = WIRE_GENERATOR;
    return 0;
}
