/* Frames over several buffers: an entry of the batch is a segment, and the last one of a frame has EOP in its status.
 * Whole frames only, both ways. Plain loops: the cost of a jumbo frame is that of its bytes. */
#include "descriptor.h"

#include "engine/entries.h"

static uint32_t count_done(const struct queue *queue, uint32_t next, uint32_t limit)
{
    uint32_t n = 0;
    while (n < limit && is_done(&queue->descriptors[(next + n) & queue->mask], RX_DD))
        n++;
    return n;
}

/* Of `n` finished descriptors those up to the last EOP; all of them if they are part of a frame that no burst can hold,
 * which is dropped piece by piece. */
static uint32_t whole_frames(const struct queue *queue, uint32_t next, uint32_t n, uint32_t limit)
{
    for (uint32_t i = n; i; i--)
        if (queue->descriptors[(next + i - 1) & queue->mask].q1 & RX_EOP)
            return i;
    return n == limit ? n : 0;
}

/* Copy `n` finished descriptors into the batch and count them. */
static void take(struct queue *queue, uint32_t next, uint32_t n)
{
    const struct batch_view batch = queue->batch;
    uint64_t frames = 0, bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = (next + i) & queue->mask;
        const struct descriptor *done = &queue->descriptors[slot];
        batch.ids[i] = queue->ids[slot];
        batch.lengths[i] = (uint32_t)(done->q1 >> 32) & 0xffff;
        batch.hashes[i] = (uint32_t)(done->q0 >> 32);
        batch.status[i] = (uint32_t)done->q1;
        frames += (batch.status[i] & RX_EOP) != 0;
        bytes += batch.lengths[i];
    }
    /* Together, and before the descriptors are overwritten: what a worker that dies here had in its hands is counted
	 * from EOPs behind `next` and from these words. */
    queue->state->next = (next + n) & queue->mask;
    queue->counters[PORT_RX_PACKETS] += frames;
    queue->counters[PORT_RX_BYTES] += bytes;
}

static void refill(struct queue *queue, uint32_t next, uint32_t n)
{
    struct pool *pool = queue->pool;
    const uint32_t *fresh = &pool->stack[pool->count - n];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = (next + i) & queue->mask;
        queue->ids[slot] = fresh[i];
        put_descriptor(&queue->descriptors[slot], queue->addresses[fresh[i]], 0);
    }
    pool->count -= n;
    queue->state->tail = (next + n - 1) & queue->mask;
    ring_doorbell(queue, queue->state->tail);
}

static void free_entries(struct queue *queue, uint32_t from, uint32_t to)
{
    struct pool *pool = queue->pool;
    copy_ids(&pool->stack[pool->count], &queue->batch.ids[from], to - from);
    pool->count += to - from;
}

static void move_entry(const struct batch_view *batch, uint32_t to, uint32_t from)
{
    batch->ids[to] = batch->ids[from];
    batch->lengths[to] = batch->lengths[from];
    batch->hashes[to] = batch->hashes[from];
    batch->status[to] = batch->status[from];
}

/* Free what arrived with an error, and what began in an earlier burst that could not hold it; returns what is left. */
static uint32_t drop_errors(struct queue *queue, uint32_t n)
{
    const struct batch_view batch = queue->batch;
    uint32_t kept = 0, first = 0, dropping = queue->state->spanning;
    for (uint32_t i = 0; i < n; i++) {
        if (!(batch.status[i] & RX_EOP))
            continue;
        if (dropping || (batch.status[i] & RX_RXE)) {
            free_entries(queue, first, i + 1);
            queue->counters[PORT_RX_ERRORS]++;
        } else {
            for (uint32_t from = first; from <= i; from++)
                move_entry(&batch, kept++, from);
        }
        dropping = 0;
        first = i + 1;
    }
    free_entries(queue, first, n);
    queue->state->spanning = dropping || first < n;
    return kept;
}

uint32_t rx_burst_segmented(struct queue *queue)
{
    const uint32_t limit = at_most(queue->batch.head->capacity, queue->mask);
    if (limit == 0) /* closed: the arena may be gone */
        return 0;
    const uint32_t next = queue->state->next;
    uint32_t n = count_done(queue, next, limit);
    if (n > queue->pool->count) {
        n = queue->pool->count;
        queue->counters[PORT_RX_NO_BUFFER]++;
    }
    n = whole_frames(queue, next, n, limit);
    queue->batch.head->count = 0;
    if (n == 0)
        return 0;
    take(queue, next, n);
    refill(queue, next, n);
    return queue->batch.head->count = drop_errors(queue, n);
}

/* RS is in the frame that has an interval's last slot, at its EOP: the first DD from that slot on, if any. */
uint32_t tx_clean_segmented(struct queue *queue)
{
    struct ring_state *state = queue->state;
    struct pool *pool = queue->pool;
    const uint32_t clean = state->clean, pending = (state->tail - clean) & queue->mask;
    uint32_t freed = 0;
    for (;;) {
        uint32_t at = freed + RS_INTERVAL - 1 - (clean + freed) % RS_INTERVAL;
        const uint32_t stop = at_most(at + RS_INTERVAL, pending);
        while (at < stop && !is_done(&queue->descriptors[(clean + at) & queue->mask], TX_DD))
            at++;
        if (at >= stop)
            break;
        while (freed <= at)
            pool->stack[pool->count++] = queue->ids[(clean + freed++) & queue->mask];
    }
    state->clean = (clean + freed) & queue->mask;
    return freed;
}

/* One frame of `n` entries from `first` on into the slots from `tail` on (datasheet 7.2.3.2.4: PAYLEN is looked at in
 * the first descriptor, RS is permitted only beside EOP). Returns its bytes. */
static uint64_t post(struct queue *queue, uint32_t tail, uint32_t first, uint32_t n)
{
    const struct batch_view batch = queue->batch;
    uint64_t bytes = 0, end = TX_EOP;
    for (uint32_t i = 0; i < n; i++)
        bytes += batch.lengths[first + i];
    if (tail % RS_INTERVAL + n >= RS_INTERVAL) /* it has an interval's last slot */
        end |= TX_RS;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = (tail + i) & queue->mask, id = batch.ids[first + i];
        uint64_t q1 = (TX_COMMAND & ~TX_EOP) | batch.lengths[first + i];
        if (i == 0)
            q1 |= bytes << TX_PAYLEN_SHIFT;
        if (i == n - 1)
            q1 |= end;
        queue->ids[slot] = id;
        put_descriptor(&queue->descriptors[slot], queue->addresses[id], q1);
    }
    return bytes;
}

/* The frames that found no room. */
static void give_back(struct queue *queue, uint32_t from, uint32_t n)
{
    free_entries(queue, from, n);
    for (; from < n; from += frame_entries(&queue->batch, from, n))
        queue->counters[PORT_TX_FULL]++;
}

uint32_t tx_burst_segmented(struct queue *queue)
{
    struct batch *batch = queue->batch.head;
    struct ring_state *state = queue->state;
    const uint32_t n = batch->count;
    if (n == 0)
        return 0;
    uint32_t room = queue->mask - ((state->tail - state->clean) & queue->mask);
    if (room < n || room <= queue->mask / 2)
        room += tx_clean_segmented(queue);
    uint64_t frames = 0, bytes = 0;
    uint32_t taken = 0;
    while (taken < n) {
        uint32_t entries = frame_entries(&queue->batch, taken, n);
        if (taken + entries > room)
            break;
        bytes += post(queue, (state->tail + taken) & queue->mask, taken, entries);
        taken += entries;
        frames++;
    }
    if (taken) {
        state->tail = (state->tail + taken) & queue->mask;
        ring_doorbell(queue, state->tail);
        queue->counters[PORT_TX_PACKETS] += frames;
        queue->counters[PORT_TX_BYTES] += bytes;
    }
    if (taken < n)
        give_back(queue, taken, n);
    batch->count = 0;
    return taken;
}
