/* The generator wire: numbered, time-stamped frames, composed where the port's rx descriptors point. */
#include "wires/generator.h"
#include "base/simd.h"
#include "wire/pace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BURST = RX_BURST, LONG_BURST = 64, PREFETCH_AHEAD = SLOT_MARGIN, GROUPED_LANES = 65536 };
enum { GROUP_OF_MAX = 64, GROUP_ROUNDS = 16 };

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

/* What the port makes of a flow's frames, with the present configuration. */
static void lane_classify(struct port *p, struct generator *g, struct lane *lane, uint32_t size)
{
    const struct config *c = config_of(p);
    uint32_t length = g->sizes[size];
    struct rx_class *class = &g->classes[lane->flow * g->size_count + size];
    compose(p->dp->pattern, g->slow, template_of(g, lane->flow, size), 0, 0, length);
    classify(p, g->slow, length, class);
    const struct rx_queue *q = &rx_of(p)->queues[class->queue];
    bool plain = class->verdict == RX_PASS && !(class->status & (RXD_VP | RXD_IPE | RXD_L4E)) && c->rxen &&
                 class->fdir == FDIR_NOT_ASKED && c->crc_strip && q->running && length <= q->buffer_bytes;
    lane->queue = class->queue;
    lane->q0 = class->q0;
    lane->q1 = class->status | RXD_DD | RXD_EOP | (uint64_t)length << 32;
    lane->plain_generation = plain ? c->generation : 0;
    lane->run = plain;
    lane->generation = c->generation;
}

/* Lanes of the first size, from the last to the first. */
static void count_runs(struct generator *g)
{
    const struct lane *next = NULL;
    for (uint32_t row = g->flows; row-- > 0;) {
        struct lane *lane = &g->lanes[(size_t)row * g->size_count];
        bool goes_on = next && next->queue == lane->queue && next->run < UINT16_MAX;
        lane->run = lane->plain_generation == g->order_generation ? 1 : 0;
        if (lane->run && goes_on)
            lane->run += next->run;
        next = lane;
    }
}

/* Bring flows of one queue together, as a burst on a link fills one ring after the other: the descriptors of a line are
 * then written back together. Within a queue, and between bursts, every flow has its turn. */
static void group_by_queue(struct port *p, struct generator *g)
{
    uint32_t start[QUEUES + 1] = {0};
    g->order_generation = config_of(p)->generation;
    if ((uint64_t)g->flows * g->size_count > GROUPED_LANES)
        return;
    for (uint32_t flow = 0; flow < g->flows; flow++) {
        struct lane probe = {.flow = flow};
        lane_classify(p, g, &probe, 0);
        start[probe.queue + 1]++;
    }
    for (unsigned n = 0; n < QUEUES; n++)
        start[n + 1] += start[n];
    for (uint32_t flow = 0; flow < g->flows; flow++) {
        struct lane *row = &g->lanes[(size_t)start[g->classes[flow * g->size_count].queue]++ * g->size_count];
        for (uint32_t size = 0; size < g->size_count; size++) {
            row[size] = (struct lane){.flow = flow};
            lane_classify(p, g, &row[size], size);
        }
    }
    count_runs(g);
}

/* The general way in, for special frames, queues and buffers. False: no room, only for a wire that waits. */
static bool send_odd(struct port *p, struct generator *g, struct lane *lane, uint32_t size)
{
    uint32_t length = g->sizes[size], flow = lane->flow;
    if (lane->generation != config_of(p)->generation)
        lane_classify(p, g, lane, size);
    uint32_t sequence = g->flow[flow].sequence, stamp = (uint32_t)p->dp->now_ns;
    compose(p->dp->pattern, g->slow, template_of(g, flow, size), sequence, stamp, length);
    enum rx_wait wait = g->public.pace.waits ? RX_WAIT_READY : RX_DROP;
    const struct rx_class *class = &g->classes[flow * g->size_count + size];
    bool taken = rx_offer_classified(p, g->slow, length, class, wait) == RX_TAKEN;
    rx_flush_all(p); /* so that a burst of plain frames always finds RX_BURST places to finish */
    return taken;
}

/* Rate "max": whether to wait until some queue has room for a group of frames, as a paced wire does for its clock. A
 * driver that gives back little at a time gets what there is room for after some rounds. */
static bool waits_for_group(const struct port *p, struct generator *g)
{
    for (unsigned k = 0; k < rx_of(p)->active_count; k++) {
        const struct rx_queue *q = rx_active(p, k);
        uint32_t most = q->most > q->reserve ? q->most - q->reserve : 0;
        uint32_t group = most / 2 < GROUP_OF_MAX ? most / 2 : GROUP_OF_MAX;
        if (q->ready >= q->reserve + group) {
            g->rounds_waited = 0;
            return false;
        }
    }
    if (++g->rounds_waited < GROUP_ROUNDS)
        return true;
    g->rounds_waited = 0;
    return false;
}

/* Above the pause threshold in any queue. */
static bool any_room(const struct port *p)
{
    for (unsigned k = 0; k < rx_of(p)->active_count; k++)
        if (rx_active(p, k)->ready > rx_active(p, k)->reserve)
            return true;
    return false;
}

/* A flow that cannot go on for want of descriptors, and is known to want nothing else. */
static inline bool blocked(const struct port *p, const struct lane *lane, uint32_t generation)
{
    const struct rx_queue *q = &rx_of(p)->queues[lane->queue];
    return lane->plain_generation == generation && q->ready <= q->reserve;
}

/* What a burst has in hand; `now_ps` and `stamp` are of one clock reading. */
struct burst {
    uint64_t now_ps, bytes;
    uint32_t generation, stamp, sent;
    uint32_t plain[NO_SIZE]; /* frames composed in place, by size */
};

/* One frame of any size, composed where its queue's next descriptor points. */
static bool send_in_place(struct port *p, struct generator *g, const struct lane *lane, uint32_t size,
                          const struct burst *b)
{
    struct rx_queue *q = &rx_of(p)->queues[lane->queue];
    if (lane->plain_generation != b->generation || q->ready <= (g->public.pace.waits ? q->reserve : 0))
        return false;
    const struct rx_slot *slot = &q->slots[q->head];
    uint32_t length = g->sizes[size], sequence = g->flow[lane->flow].sequence;
    if (slot->room < length)
        return false;
    prefetch_write(slot[PREFETCH_AHEAD].host);
    compose(p->dp->pattern, slot->host, template_of(g, lane->flow, size), sequence, b->stamp, length);
    q->done[q->pend] = (struct desc){lane->q0, lane->q1};
    rx_finish(p, q, 1, 1, length);
    return true;
}

/* Frames of consecutive lanes, all of one size, into one queue, composed where its next descriptors point. Returns how
 * many: until a lane's queue is another, or something is needed that only the general way does. */
static inline __attribute__((always_inline)) uint32_t send_run(struct port *p, struct generator *g, uint32_t limit,
                                                               const struct burst *b)
{
    const struct lane *const lane = &g->lanes[g->next];
    const uint8_t *const templates = g->templates, *const pattern = p->dp->pattern;
    struct flow *const all_flows = g->flow;
    const uint32_t stamp = b->stamp, length = g->sizes[0];
    if (lane->plain_generation != b->generation || config_of(p)->generation != b->generation)
        return 0;
    struct rx_queue *const q = &rx_of(p)->queues[lane->queue];
    uint32_t reserve = g->public.pace.waits ? q->reserve : 0, room = q->ready > reserve ? q->ready - reserve : 0;
    uint32_t slots = q->entries - q->head, count = 0;
    limit = limit < room ? limit : room;
    limit = limit < lane->run ? limit : lane->run;
    limit = limit < slots ? limit : slots;
    const struct rx_slot *const slot = &q->slots[q->head];
    struct desc *const done = &q->done[q->pend];
    for (; count < limit && slot[count].room >= length; count++) {
        prefetch_write(slot[count + PREFETCH_AHEAD].host);
        const uint8_t *template = templates + (size_t)TEMPLATE_BYTES * lane[count].flow;
        compose(pattern, slot[count].host, template, all_flows[lane[count].flow].sequence++, stamp, length);
        done[count] = (struct desc){lane[count].q0, lane[count].q1};
    }
    rx_finish(p, q, count, count, count * length);
    g->next = g->next + count == g->flows ? 0 : g->next + count;
    return count;
}

static uint32_t send_run_any(struct port *p, struct generator *g, uint32_t limit, const struct burst *b)
{
    return send_run(p, g, limit, b);
}

/* For CPUs with stores of 32 bytes. */
FOR_AVX2 static uint32_t send_run_avx2(struct port *p, struct generator *g, uint32_t limit, const struct burst *b)
{
    return send_run(p, g, limit, b);
}

/* One frame of the next flow, in every case that send_run does not do. False: its queue has no room. */
static bool send_next(struct port *p, struct generator *g, struct burst *b)
{
    struct lane *row = &g->lanes[(size_t)g->next * g->size_count];
    struct flow *f = &g->flow[row->flow];
    uint32_t size = g->schedule[f->step];
    g->next = g->next + 1 == g->flows ? 0 : g->next + 1;
    if (send_in_place(p, g, &row[size], size, b))
        b->plain[size]++;
    else if ((g->public.pace.waits && blocked(p, &row[size], b->generation)) || !send_odd(p, g, &row[size], size))
        return false;
    if (__builtin_expect(rx_of(p)->fifo.count, 0))
        b->generation = UINT32_MAX;
    f->sequence++;
    f->step = f->step + 1 == g->schedule_length ? 0 : f->step + 1;
    g->public.pace.due_ps += pace_frame_ps(&g->public.pace, g->sizes[size]);
    b->bytes += g->sizes[size];
    b->sent++;
    return true;
}

/* Frames of one size that are due, at most `limit`. */
static uint32_t due_frames(const struct generator *g, uint32_t limit, const struct burst *b)
{
    const dp_pace *pace = &g->public.pace;
    if (pace->max)
        return limit;
    uint64_t due = frames_due(pace->due_ps, b->now_ps, g->min_frame_ps);
    return due < limit ? (uint32_t)due : limit;
}

/* As many frames as go the fast way at once; 0 if the next one does not. */
static uint32_t send_fast(struct port *p, struct generator *g, uint32_t limit, struct burst *b)
{
    if (g->schedule_length != 1)
        return 0;
    limit = due_frames(g, limit, b);
    uint32_t sent = HAVE_AVX2 ? send_run_avx2(p, g, limit, b) : send_run_any(p, g, limit, b);
    b->plain[0] += sent;
    b->sent += sent;
    b->bytes += (uint64_t)sent * g->sizes[0];
    g->public.pace.due_ps += sent * pace_frame_ps(&g->public.pace, g->sizes[0]);
    return sent;
}

/* Send up to `limit` frames that are due; a wire that waits passes over a flow whose queue has no room. */
static void send_burst(struct port *p, struct generator *g, uint32_t limit, struct burst *b)
{
    uint32_t misses = 0, give_up = g->flows < BURST ? g->flows : BURST;
    while (b->sent < limit && misses < give_up && pace_due(&g->public.pace, b->now_ps)) {
        uint32_t turn = g->next;
        if (send_fast(p, g, limit - b->sent, b) || send_next(p, g, b)) {
            misses = 0;
        } else if (misses++ == 0 && !any_room(p)) {
            g->next = turn; /* no other flow can go on either */
            return;
        }
    }
}

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

static unsigned generator_feed(struct port *p)
{
    struct generator *g = p->wire_state;
    dp_pace *pace = &g->public.pace;
    uint64_t now_ps = clock_ps(p->dp);
    if (__builtin_expect(pace->starts, 0)) { /* what Python does between "start" and here is no shortfall */
        pace->due_ps = pace->due_ps < now_ps ? now_ps : pace->due_ps;
        pace->starts = 0;
    }
    if (!g->left || !pace_group_due(pace, now_ps, g->min_frame_ps))
        return 0;
    if (pace->max && waits_for_group(p, g))
        return 0;
    pace->shortfall += pace_give_up(pace, now_ps, g->mean_frame_ps);
    if (g->order_generation != config_of(p)->generation)
        group_by_queue(p, g);
    uint32_t limit = g->left < g->burst ? (uint32_t)g->left : g->burst;
    struct burst b;
    memset(&b, 0, offsetof(struct burst, plain) + g->size_count * sizeof b.plain[0]);
    b.now_ps = now_ps;
    b.stamp = (uint32_t)p->dp->now_ns;
    /* No DMA, a stall, or frames that wait in the packet buffer: nothing goes the plain way. */
    bool plain = p->bus_master && !p->inject.rx_stalls && !rx_of(p)->fifo.count;
    b.generation = plain ? config_of(p)->generation : UINT32_MAX;
    send_burst(p, g, limit, &b);
    count_burst(p, g, &b);
    if (pace->waits && b.sent < limit)
        pace->shortfall += pace_resume(pace, now_ps, g->mean_frame_ps);
    rx_flush_all(p);
    return b.sent;
}

static bool generator_done(const struct port *p) { return ((struct generator *)p->wire_state)->left == 0; }
static dp_pace *generator_pace(struct port *p) { return &((struct generator *)p->wire_state)->public.pace; }
dp_generator *dp_port_generator(port_t *p) { return &((struct generator *)p->wire_state)->public; }

static void free_parts(struct generator *g)
{
    if (!g)
        return;
    sink_free(g->sink);
    free(g->schedule);
    free(g->templates);
    free(g->flow);
    free(g->lanes);
    free(g->classes);
    free(g);
}

static void generator_free(struct port *p) { free_parts(p->wire_state); }

static const struct wire_operations generator_wire = {
    .feed = generator_feed,
    .consume = sink_consume,
    .done = generator_done,
    .pace = generator_pace,
    .free = generator_free,
};

static void *copy_of(const void *data, size_t bytes)
{
    void *copy = malloc(bytes);
    return copy ? memcpy(copy, data, bytes) : NULL;
}

/* Sizes, the schedule's mean and minimum, and every flow's place in the schedule. */
static void generator_schedule(struct generator *g, const uint16_t *sizes)
{
    const dp_pace *pace = &g->public.pace;
    uint64_t total_ps = 0;
    g->min_frame_ps = UINT64_MAX;
    g->burst = BURST;
    memset(g->size_of_length, NO_SIZE, sizeof g->size_of_length);
    for (uint32_t i = 0; i < g->size_count; i++) {
        g->sizes[i] = sizes[i];
        if (sizes[i] > MIN_FRAME) /* longer frames in longer bursts would not stay in the cache until they come back */
            g->burst = LONG_BURST;
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
        g->flow[i].step = spread_step(i, g->flows, g->schedule_length);
}

int dp_plug_generator(port_t *p, uint32_t flows, uint32_t size_count, const uint16_t *sizes, uint32_t schedule_length,
                      const uint8_t *schedule, const uint8_t *templates, uint64_t count, int verify_frame,
                      const dp_pace *pace)
{
    struct generator *g = calloc(1, sizeof *g);
    size_t lanes = (size_t)flows * size_count;
    if (g) {
        g->sink = sink_new(p->dp, verify_frame);
        g->schedule = copy_of(schedule, schedule_length);
        g->templates = aligned_alloc(TEMPLATE_BYTES, lanes * TEMPLATE_BYTES);
        g->flow = calloc(flows, sizeof *g->flow);
        g->lanes = aligned_alloc(64, (lanes * sizeof *g->lanes + 63) / 64 * 64);
        g->classes = calloc(lanes, sizeof *g->classes);
    }
    if (!g || !g->sink || !g->schedule || !g->templates || !g->flow || !g->lanes || !g->classes) {
        free_parts(g);
        return -ENOMEM;
    }
    memcpy(g->templates, templates, lanes * TEMPLATE_BYTES);
    for (size_t i = 0; i < lanes; i++)
        g->lanes[i] = (struct lane){.flow = (uint32_t)(i / size_count)}; /* generation 0: to be classified */
    g->public.pace = *pace;
    g->flows = flows;
    g->size_count = size_count;
    g->schedule_length = schedule_length;
    g->left = count;
    g->number = (uint8_t)p->index;
    generator_schedule(g, sizes);
    wire_plug(p, &generator_wire, g);
    return 0;
}
