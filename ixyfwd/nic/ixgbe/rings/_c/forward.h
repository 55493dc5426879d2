/* The fused loop: what rx_burst, a program and tx_burst do, without a batch between them and without a return to
 * Python between bursts. Frames that are not plain (an error flag, several descriptors) and bursts that find no room
 * go through those three, so that there is one place that drops and counts.
 *
 * A source file includes this once, with FORWARD the name of the function to define. Where frames are treated,
 * TREAT(frame, length) does it to one frame and TREAT_BURST(frames) to those of a batch; else TREATS is 0.
 */
#include "descriptor.h"

#include <time.h>

/* Bursts are short: what the vectoriser puts before and after its loops would cost more than it saves. */
#pragma GCC optimize("no-tree-vectorize")

#define RX_PLAIN_MASK (RX_DD | RX_EOP | RX_RXE)
#define RX_PLAIN (RX_DD | RX_EOP)

static inline uint64_t q1_of(const struct descriptor *descriptor)
{
    return __atomic_load_n(&descriptor->q1, __ATOMIC_RELAXED);
}

/* How many descriptors from slot `next` on, not around the end, are finished and plain; at most `limit`. They finish in
 * order and arrive in whole cache lines: the last of a line is looked at first and answers for its DD. */
static inline uint32_t count_plain(const struct queue *queue, uint32_t next, uint32_t limit)
{
    const struct descriptor *ring = &queue->descriptors[next];
    uint32_t n = 0, to_line = (0 - next) & (DESCRIPTORS_PER_LINE - 1);
    for (; n < at_most(to_line, limit); n++)
        if ((__atomic_load_n(&ring[n].q1, __ATOMIC_ACQUIRE) & RX_PLAIN_MASK) != RX_PLAIN)
            return n;
    for (; n + DESCRIPTORS_PER_LINE <= limit; n += DESCRIPTORS_PER_LINE) {
        uint64_t last = __atomic_load_n(&ring[n + 3].q1, __ATOMIC_ACQUIRE);
        if (!(last & RX_DD))
            break;
        uint64_t a = q1_of(&ring[n]), b = q1_of(&ring[n + 1]), c = q1_of(&ring[n + 2]);
        if ((a & b & c & last & RX_EOP) == 0 || ((a | b | c | last) & RX_RXE))
            break;
    }
    for (; n < limit; n++)
        if ((__atomic_load_n(&ring[n].q1, __ATOMIC_ACQUIRE) & RX_PLAIN_MASK) != RX_PLAIN)
            break;
    return n;
}

static inline uint64_t tx_command(uint64_t length)
{
    return TX_COMMAND + length * (1 + (UINT64_C(1) << TX_PAYLEN_SHIFT));
}

/* Turn `n` finished rx descriptors from slot `from` on into tx descriptors from slot `to` on, and give the rx slots the
 * buffers `fresh`. Neither stretch goes around the end of its ring. Returns the bytes. */
static inline uint64_t move(const struct direction *direction, uint32_t from, uint32_t to, uint32_t n,
                            const uint32_t *restrict fresh)
{
    struct descriptor *restrict rx = &direction->rx->descriptors[from], *restrict tx = &direction->tx->descriptors[to];
    uint32_t *restrict rx_ids = &direction->rx->ids[from], *restrict tx_ids = &direction->tx->ids[to];
    const uint64_t *restrict addresses = direction->rx->addresses;
    const uint64_t *restrict offsets = TREATS ? direction->frames->offsets : NULL;
    uint8_t *restrict arena = TREATS ? direction->frames->arena : NULL;
    uint64_t bytes = 0;
    copy_ids(tx_ids, rx_ids, n);
    copy_ids(rx_ids, fresh, n);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t id = tx_ids[i], new = fresh[i];
        const uint64_t length = (rx[i].q1 >> 32) & 0xffff;
        if (TREATS)
            TREAT(arena + offsets[id], length);
        tx[i].q0 = addresses[id];
        tx[i].q1 = tx_command(length);
        put_descriptor(&rx[i], addresses[new], 0);
        bytes += length;
    }
    for (uint32_t i = RS_INTERVAL - 1 - to % RS_INTERVAL; i < n; i += RS_INTERVAL)
        tx[i].q1 |= TX_RS;
    return bytes;
}

static inline void count(uint64_t *rx, uint64_t *tx, uint32_t n, uint64_t bytes)
{
    rx[PORT_RX_PACKETS] += n;
    rx[PORT_RX_BYTES] += bytes;
    tx[PORT_TX_PACKETS] += n;
    tx[PORT_TX_BYTES] += bytes;
}

/* A burst by way of the batch; returns 1, or 0 if no frame was left of it. */
static __attribute__((noinline, cold)) uint32_t forward_by_batch(const struct direction *direction)
{
    if (rx_burst(direction->rx) == 0)
        return 0;
    if (TREATS)
        TREAT_BURST(direction->frames);
    tx_burst(direction->tx);
    return 1;
}

/* Bursts of one frame, the usual ones at low load: up to `most` in a row, each with its two doorbells, with everything
 * in registers that would have to be loaded for each of them again. Returns how many there were. */
static inline uint32_t forward_singles(const struct direction *direction, uint32_t most)
{
    struct queue *const rx = direction->rx, *const tx = direction->tx;
    struct ring_state *const from = rx->state, *const to = tx->state;
    struct descriptor *const rx_ring = rx->descriptors, *const tx_ring = tx->descriptors;
    uint32_t *const rx_ids = rx->ids, *const tx_ids = tx->ids, *const stack = rx->pool->stack;
    const uint64_t *const addresses = tx->addresses, *const offsets = TREATS ? direction->frames->offsets : NULL;
    uint8_t *const arena = TREATS ? direction->frames->arena : NULL;
    volatile uint32_t *const rdt = rx->doorbell, *const tdt = tx->doorbell;
    uint32_t *const pool_count = &rx->pool->count;
    const uint32_t mask = rx->mask, tx_mask = tx->mask;
    uint32_t next = from->next, tail = to->tail, free = *pool_count, n = 0;
    uint64_t bytes = 0;
    while (n < most) {
        const uint64_t q1 = __atomic_load_n(&rx_ring[next].q1, __ATOMIC_ACQUIRE);
        const uint32_t following = (next + 1) & mask, after = (tail + 1) & tx_mask;
        if ((q1 & RX_PLAIN_MASK) != RX_PLAIN || (direction->limit > 1 && is_done(&rx_ring[following], RX_DD)))
            break;
        const uint32_t id = rx_ids[next], new = stack[--free];
        const uint64_t length = (q1 >> 32) & 0xffff;
        if (TREATS)
            TREAT(arena + offsets[id], length);
        tx_ring[tail].q0 = addresses[id];
        tx_ring[tail].q1 = tx_command(length) | (after % RS_INTERVAL ? 0 : TX_RS);
        put_descriptor(&rx_ring[next], addresses[new], 0);
        tx_ids[tail] = id;
        rx_ids[next] = new;
        *pool_count = free;
        from->tail = next;
        from->next = following;
        to->tail = after;
        __atomic_thread_fence(__ATOMIC_RELEASE); /* as ring_doorbell */
        *rdt = next;
        *tdt = after;
        next = following;
        tail = after;
        bytes += length;
        n++;
    }
    count(rx->counters, tx->counters, n, bytes);
    return n;
}

/* A burst of `n` plain frames; the caller has made sure of them, of room and of buffers. */
static __attribute__((noinline)) void forward_many(const struct direction *direction, uint32_t n)
{
    struct queue *const rx = direction->rx, *const tx = direction->tx;
    struct pool *const pool = rx->pool;
    const uint32_t next = rx->state->next, tail = tx->state->tail;
    const uint32_t *fresh = &pool->stack[pool->count - n];
    uint64_t bytes = 0;
    for (uint32_t done = 0; done < n;) {
        uint32_t from = (next + done) & rx->mask, to = (tail + done) & tx->mask;
        uint32_t stretch = at_most(n - done, at_most(rx->mask + 1 - from, tx->mask + 1 - to));
        bytes += move(direction, from, to, stretch, fresh + done);
        done += stretch;
    }
    pool->count -= n;
    rx->state->next = (next + n) & rx->mask;
    rx->state->tail = (next + n - 1) & rx->mask;
    tx->state->tail = (tail + n) & tx->mask;
    ring_doorbell(rx, rx->state->tail);
    ring_doorbell(tx, tx->state->tail);
    count(rx->counters, tx->counters, n, bytes);
}

/* One burst of a direction, or some if they are of a frame each; returns how many. */
static inline uint32_t forward_bursts(const struct direction *direction)
{
    struct queue *const rx = direction->rx, *const tx = direction->tx;
    const uint32_t next = rx->state->next, tail = tx->state->tail, limit = direction->limit;
    const uint64_t first = __atomic_load_n(&rx->descriptors[next].q1, __ATOMIC_ACQUIRE);
    if (!(first & RX_DD))
        return 0;
    if ((first & RX_PLAIN_MASK) != RX_PLAIN || rx->state->spanning)
        return forward_by_batch(direction);
    uint32_t room = tx->mask - ((tail - tx->state->clean) & tx->mask);
    /* From half full on, a look per interval sent is enough. */
    if (room < limit || (room <= tx->mask / 2 && tail % RS_INTERVAL < (limit > SINGLES ? limit : SINGLES)))
        room += tx_clean(tx);
    if (room < limit || rx->pool->count < limit)
        return forward_by_batch(direction);
    if (limit == 1 || !is_done(&rx->descriptors[(next + 1) & rx->mask], RX_DD))
        return forward_singles(direction, at_most(SINGLES, at_most(room, rx->pool->count)));
    const uint32_t to_end = rx->mask + 1 - next;
    uint32_t n = count_plain(rx, next, at_most(limit, to_end));
    if (n == to_end && n < limit)
        n += count_plain(rx, 0, limit - n);
    forward_many(direction, n);
    return 1;
}

static uint64_t clock_ns(const struct forwarder *forwarder)
{
    struct timespec now;
    clock_gettime(forwarder->clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A gap of more than pause_ns between two readings of the clock. It is a pause if `bursts`, what was done in it, explain
 * less than half of it, by what a burst has cost so far, and leave more than pause_ns: as `Pauses` in worker/pauses.py. */
static __attribute__((noinline, cold)) void judge_gap(struct forwarder *forwarder, uint64_t gap_ns, uint32_t bursts)
{
    uint64_t *const page = forwarder->page;
    uint64_t work_ns = 0;
    if (page[WORD_BURSTS] == 0) /* nothing to lose yet, and nothing to judge by */
        return;
    if (bursts) {
        const uint64_t busy_ns = page[WORD_BUSY_NS]; /* before this call; a pause in this call may be longer */
        const uint64_t paused_ns = forwarder->paused_busy_ns < busy_ns ? forwarder->paused_busy_ns : busy_ns;
        work_ns = bursts * ((busy_ns - paused_ns) / page[WORD_BURSTS]);
    }
    const int64_t pause_ns = (int64_t)(gap_ns - work_ns);
    if (pause_ns <= forwarder->pause_ns || pause_ns <= (int64_t)work_ns)
        return;
    page[WORD_PAUSES]++;
    page[WORD_PAUSED_NS] += (uint64_t)pause_ns;
    if ((uint64_t)pause_ns > page[WORD_LONGEST_PAUSE_NS])
        page[WORD_LONGEST_PAUSE_NS] = (uint64_t)pause_ns;
    if (bursts)
        forwarder->paused_busy_ns += (uint64_t)pause_ns;
}

/* The clock is read in empty rounds only, where there is time for it: a busy spell lasts from the last empty round before
 * it (or the start of the call) to the first one after it. LOOKED_NS is the last reading, for the gap between calls. */
static inline __attribute__((always_inline)) uint32_t forward_rounds(struct forwarder *forwarder)
{
    const struct direction *const directions = forwarder->directions, *const end = directions + forwarder->count;
    const uint32_t limit = forwarder->limit, patience = forwarder->patience;
    uint32_t bursts = 0, empty = 0, rounds = 0, silent = 0, idle_bursts = 0;
    uint64_t since = clock_ns(forwarder), busy_ns = 0;
    const int64_t away_ns = (int64_t)(since - forwarder->page[WORD_LOOKED_NS]);
    if (away_ns > forwarder->pause_ns)
        judge_gap(forwarder, (uint64_t)away_ns, 0);
    do { /* limit and patience are at least 1 */
        const uint32_t before = bursts;
        for (const struct direction *direction = directions; direction < end; direction++)
            bursts += forward_bursts(direction);
        rounds++;
        if (bursts != before) {
            silent = 0;
            continue;
        }
        const uint64_t now = clock_ns(forwarder), gap_ns = now - since;
        if ((int64_t)gap_ns > forwarder->pause_ns)
            judge_gap(forwarder, gap_ns, bursts - idle_bursts);
        if (bursts != idle_bursts)
            busy_ns += gap_ns;
        idle_bursts = bursts;
        since = now;
        empty++;
        silent++;
    } while (bursts + empty < limit && silent < patience);
    if (bursts != idle_bursts) {
        const uint64_t now = clock_ns(forwarder), gap_ns = now - since;
        if ((int64_t)gap_ns > forwarder->pause_ns)
            judge_gap(forwarder, gap_ns, bursts - idle_bursts);
        busy_ns += gap_ns;
        since = now;
    }
    uint64_t *const page = forwarder->page;
    page[WORD_LOOKED_NS] = since;
    page[WORD_POLLS] += rounds;
    page[WORD_EMPTY_POLLS] += empty;
    page[WORD_BURSTS] += bursts;
    page[WORD_BUSY_NS] += busy_ns;
    return bursts << 16 | silent;
}

uint32_t FORWARD(struct forwarder *forwarder)
{
    if (forwarder->directions->rx->batch.head->capacity == 0) /* closed: the arena may be gone */
        return 0;
    return forward_rounds(forwarder);
}
