/* Receive: count what is finished, copy it into the batch, refill the same slots, ring once. */
#include "descriptor.h"

struct tally {
    uint64_t bytes;
    uint32_t all; /* status bits that every descriptor has */
    uint32_t any; /* status bits that some descriptor has */
};

/* Descriptors finish in order and arrive in whole cache lines: one look at the last of a line answers for all. */
static uint32_t count_done(const struct queue *queue, uint32_t next, uint32_t limit)
{
    const struct descriptor *ring = queue->descriptors;
    const uint32_t mask = queue->mask;
    if (!is_done(&ring[next], RX_DD))
        return 0;
    uint32_t n = 1;
    while (n < limit) {
        uint32_t rest_of_line = DESCRIPTORS_PER_LINE - ((next + n) & (DESCRIPTORS_PER_LINE - 1));
        uint32_t to = at_most(n + rest_of_line, limit);
        if (!is_done(&ring[(next + to - 1) & mask], RX_DD))
            break;
        n = to;
    }
    while (n < limit && is_done(&ring[(next + n) & mask], RX_DD))
        n++;
    return n;
}

static void take_one(const struct descriptor *done, const struct batch_view *batch, uint32_t i, struct tally *tally)
{
    uint32_t status = (uint32_t)done->q1;
    uint32_t length = (uint32_t)(done->q1 >> 32) & 0xffff;
    batch->lengths[i] = length;
    batch->hashes[i] = (uint32_t)(done->q0 >> 32);
    batch->status[i] = status;
    tally->bytes += length;
    tally->all &= status;
    tally->any |= status;
}

#ifdef __SSE2__
static uint32_t fold(__m128i v, int is_and)
{
    uint32_t w[4];
    _mm_storeu_si128((__m128i *)w, v);
    return is_and ? (w[0] & w[1] & w[2] & w[3]) : (w[0] | w[1] | w[2] | w[3]);
}

/* Four descriptors at a time: a 4 x 4 transposition. Returns how many it took, a multiple of four. */
static uint32_t take_fours(const struct descriptor *done, uint32_t n, const struct batch_view *batch, uint32_t at,
                           struct tally *tally)
{
    const __m128i length_mask = _mm_set1_epi32(0xffff);
    __m128i all = _mm_set1_epi32(-1), any = _mm_setzero_si128(), bytes = _mm_setzero_si128();
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const __m128i *line = (const __m128i *)&done[i];
        __m128i a = _mm_load_si128(line), b = _mm_load_si128(line + 1);
        __m128i c = _mm_load_si128(line + 2), d = _mm_load_si128(line + 3);
        __m128i ab_high = _mm_unpackhi_epi32(a, b), cd_high = _mm_unpackhi_epi32(c, d);
        __m128i hashes = _mm_unpackhi_epi64(_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
        __m128i status = _mm_unpacklo_epi64(ab_high, cd_high);
        __m128i lengths = _mm_and_si128(_mm_unpackhi_epi64(ab_high, cd_high), length_mask);
        _mm_storeu_si128((__m128i *)&batch->lengths[at + i], lengths);
        _mm_storeu_si128((__m128i *)&batch->hashes[at + i], hashes);
        _mm_storeu_si128((__m128i *)&batch->status[at + i], status);
        all = _mm_and_si128(all, status);
        any = _mm_or_si128(any, status);
        bytes = _mm_add_epi32(bytes, lengths); /* 4096 lengths of 16 bits cannot overflow */
    }
    uint32_t sums[4];
    _mm_storeu_si128((__m128i *)sums, bytes);
    tally->bytes += (uint64_t)sums[0] + sums[1] + sums[2] + sums[3];
    tally->all &= fold(all, 1);
    tally->any |= fold(any, 0);
    return i;
}
#endif

/* Copy `n` finished descriptors from slot `from` on (not around the end) into the batch from entry `at` on. */
static void take(const struct queue *queue, uint32_t from, uint32_t n, uint32_t at, struct tally *tally)
{
    const struct descriptor *done = &queue->descriptors[from];
    const struct batch_view batch = queue->batch;
    uint32_t i = 0;
    copy_ids(&batch.ids[at], &queue->ids[from], n);
#ifdef __SSE2__
    if (n >= 4)
        i = take_fours(done, n, &batch, at, tally);
#endif
    for (; i < n; i++)
        take_one(&done[i], &batch, at + i, tally);
}

/* Give `n` slots from `from` on (not around the end) the buffers `fresh`. */
static void refill(const struct queue *queue, uint32_t from, uint32_t n, const uint32_t *fresh)
{
    struct descriptor *slot = &queue->descriptors[from];
    const uint64_t *addresses = queue->addresses;
    copy_ids(&queue->ids[from], fresh, n);
    for (uint32_t i = 0; i < n; i++)
        put_descriptor(&slot[i], addresses[fresh[i]], 0);
}

/* Close the gaps that unwanted descriptors leave in the batch and free their buffers; returns what is left. A frame
 * that spans several descriptors is one error, counted at its EOP. `frames` becomes the number of EOPs. */
static uint32_t drop_errors(struct queue *queue, uint32_t n, uint32_t *frames)
{
    const struct batch_view *batch = &queue->batch;
    struct pool *pool = queue->pool;
    uint32_t spanning = queue->state->spanning, kept = 0, ended = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t status = batch->status[i], eop = (status & RX_EOP) != 0;
        ended += eop;
        if (!eop || spanning || (status & RX_RXE)) {
            pool->stack[pool->count++] = batch->ids[i];
        } else {
            batch->ids[kept] = batch->ids[i];
            batch->lengths[kept] = batch->lengths[i];
            batch->hashes[kept] = batch->hashes[i];
            batch->status[kept] = status;
            kept++;
        }
        spanning = !eop;
    }
    queue->state->spanning = spanning;
    *frames = ended;
    return kept;
}

/* `n` frames are in the batch and their slots have buffers again: drop errors, count. Returns what is left. */
static inline uint32_t account(struct queue *queue, uint32_t n, const struct tally *tally)
{
    uint32_t kept = n, frames = n;
    if (!(tally->all & RX_EOP) || (tally->any & RX_RXE) || queue->state->spanning)
        kept = drop_errors(queue, n, &frames);
    queue->batch.head->count = kept;
    queue->counters[PORT_RX_PACKETS] += frames;
    queue->counters[PORT_RX_BYTES] += tally->bytes;
    queue->counters[PORT_RX_ERRORS] += frames - kept;
    return kept;
}

/* A burst of one, as at low load: what a burst prepares for many frames costs more than the frame. */
static uint32_t take_single(struct queue *queue, uint32_t slot)
{
    struct descriptor *done = &queue->descriptors[slot];
    struct pool *pool = queue->pool;
    struct tally tally = {.all = ~0u};
    take_one(done, &queue->batch, 0, &tally);
    queue->batch.ids[0] = queue->ids[slot];
    const uint32_t fresh = pool->stack[--pool->count];
    queue->ids[slot] = fresh;
    put_descriptor(done, queue->addresses[fresh], 0);
    queue->state->next = (slot + 1) & queue->mask;
    queue->state->tail = slot;
    ring_doorbell(queue, slot);
    return account(queue, 1, &tally);
}

uint32_t rx_burst(struct queue *queue)
{
    const uint32_t limit = at_most(queue->batch.head->capacity, queue->mask);
    if (limit == 0) /* closed: the arena may be gone */
        return 0;
    struct ring_state *state = queue->state;
    struct pool *pool = queue->pool;
    const uint32_t next = state->next;
    uint32_t n = count_done(queue, next, limit);
    if (n > pool->count) {
        n = pool->count;
        queue->counters[PORT_RX_NO_BUFFER]++;
    }
    if (n <= 1) {
        queue->batch.head->count = 0;
        return n ? take_single(queue, next) : 0;
    }

    struct tally tally = {.all = ~0u};
    const uint32_t to_end = at_most(n, queue->mask + 1 - next);
    const uint32_t *fresh = &pool->stack[pool->count - n];
    take(queue, next, to_end, 0, &tally);
    refill(queue, next, to_end, fresh);
    if (to_end < n) {
        take(queue, 0, n - to_end, to_end, &tally);
        refill(queue, 0, n - to_end, fresh + to_end);
    }
    pool->count -= n;
    state->next = (next + n) & queue->mask;
    state->tail = (next + n - 1) & queue->mask;
    ring_doorbell(queue, state->tail);
    return account(queue, n, &tally);
}
