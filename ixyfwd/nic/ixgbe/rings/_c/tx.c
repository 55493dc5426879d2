/* Transmit: reclaim whole RS intervals when room gets short, write the descriptors, ring once. */
#include "descriptor.h"

/* The device finishes in order and writes back only where RS is set: one look answers for 32 descriptors. */
uint32_t tx_clean(struct queue *queue)
{
    struct ring_state *state = queue->state;
    struct pool *pool = queue->pool;
    uint32_t clean = state->clean, pending = (state->tail - clean) & queue->mask, freed = 0;
    while (pending - freed >= RS_INTERVAL) {
        /* Rings are multiples of the interval, so none goes around the end. */
        if (!is_done(&queue->descriptors[clean + RS_INTERVAL - 1], TX_DD))
            break;
        copy_ids(&pool->stack[pool->count], &queue->ids[clean], RS_INTERVAL);
        pool->count += RS_INTERVAL;
        freed += RS_INTERVAL;
        clean = (clean + RS_INTERVAL) & queue->mask;
    }
    state->clean = clean;
    return freed;
}

/* Write `n` descriptors from slot `from` on (not around the end); returns the bytes. */
static uint64_t post(const struct queue *queue, uint32_t from, uint32_t n, uint32_t at)
{
    struct descriptor *slot = &queue->descriptors[from];
    const uint64_t *addresses = queue->addresses;
    const uint32_t *ids = &queue->batch.ids[at], *lengths = &queue->batch.lengths[at];
    uint64_t bytes = 0;
    copy_ids(&queue->ids[from], ids, n);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t length = lengths[i];
        put_descriptor(&slot[i], addresses[ids[i]], TX_COMMAND | length | length << TX_PAYLEN_SHIFT);
        bytes += length;
    }
    for (uint32_t i = RS_INTERVAL - 1 - from % RS_INTERVAL; i < n; i += RS_INTERVAL)
        slot[i].q1 |= TX_RS;
    return bytes;
}

static void send(struct queue *queue, uint32_t n)
{
    const uint32_t tail = queue->state->tail, to_end = at_most(n, queue->mask + 1 - tail);
    uint64_t bytes = post(queue, tail, to_end, 0);
    if (to_end < n)
        bytes += post(queue, 0, n - to_end, to_end);
    queue->state->tail = (tail + n) & queue->mask;
    ring_doorbell(queue, queue->state->tail);
    queue->counters[PORT_TX_PACKETS] += n;
    queue->counters[PORT_TX_BYTES] += bytes;
}

static void give_back(struct queue *queue, uint32_t from, uint32_t to)
{
    struct pool *pool = queue->pool;
    copy_ids(&pool->stack[pool->count], &queue->batch.ids[from], to - from);
    pool->count += to - from;
    queue->counters[PORT_TX_FULL] += to - from;
}

/* Room for the frames of the batch. Looking only when the ring is half full finds intervals that were finished long ago:
 * no fight for their lines. */
static inline uint32_t room_for(struct queue *queue, uint32_t n)
{
    const uint32_t room = queue->mask - ((queue->state->tail - queue->state->clean) & queue->mask);
    return room < n || room <= queue->mask / 2 ? room + tx_clean(queue) : room;
}

/* A burst of one, as at low load. */
static uint32_t send_single(struct queue *queue)
{
    queue->batch.head->count = 0;
    if (room_for(queue, 1) == 0) {
        give_back(queue, 0, 1);
        return 0;
    }
    const uint32_t tail = queue->state->tail, id = queue->batch.ids[0];
    const uint64_t length = queue->batch.lengths[0];
    const uint64_t command = tail % RS_INTERVAL == RS_INTERVAL - 1 ? TX_COMMAND | TX_RS : TX_COMMAND;
    put_descriptor(&queue->descriptors[tail], queue->addresses[id], command | length | length << TX_PAYLEN_SHIFT);
    queue->ids[tail] = id;
    queue->state->tail = (tail + 1) & queue->mask;
    ring_doorbell(queue, queue->state->tail);
    queue->counters[PORT_TX_PACKETS]++;
    queue->counters[PORT_TX_BYTES] += length;
    return 1;
}

uint32_t tx_burst(struct queue *queue)
{
    struct batch *batch = queue->batch.head;
    const uint32_t n = batch->count;
    if (n <= 1)
        return n ? send_single(queue) : 0;
    const uint32_t taken = at_most(n, room_for(queue, n));
    if (taken)
        send(queue, taken);
    if (taken < n)
        give_back(queue, taken, n);
    batch->count = 0;
    return taken;
}
