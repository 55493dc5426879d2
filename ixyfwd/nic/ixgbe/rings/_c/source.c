/* The packet generator: numbered, time-stamped frames into a batch, as many as are due and the tx ring has room for. */
#include "descriptor.h"
#include "traffic/format.h"

#include <string.h>
#include <time.h>

enum { PREFETCH_AHEAD = 8 };

#define PS_PER_NS UINT64_C(1000)

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint32_t room(const struct source *source)
{
    struct queue *queue = source->queue;
    const uint32_t mask = queue->mask, capacity = source->batch.head->capacity;
    uint32_t free = mask - ((queue->state->tail - queue->state->clean) & mask);
    if (free < capacity || free <= mask / 2)
        free += tx_clean(queue);
    free = at_most(at_most(free, capacity), queue->pool->count);
    return source->left < free ? (uint32_t)source->left : free;
}

/* The head of a frame into its buffer, where the filler is already; returns the index of its size. */
static uint32_t compose(struct source *source, uint8_t *to, uint32_t stamp)
{
    const uint32_t flow = source->flow;
    const uint32_t size = source->schedule_length == 1
                              ? source->schedule[0]
                              : source->schedule[schedule_step(flow, source->sequence, source->schedule_length)];
    const uint32_t numbers[2] = {source->sequence, stamp};
    memcpy(to, source->templates + (size_t)TEMPLATE_BYTES * ((size_t)flow * source->size_count + size), AT_SEQUENCE);
    memcpy(to + AT_SEQUENCE, numbers, sizeof numbers);
    if (++source->flow == source->flows) {
        source->flow = 0;
        source->sequence++;
    }
    return size;
}

static void give_up(struct source *source, uint64_t now_ps)
{
    if (!source->mean_ps)
        return;
    const uint64_t frames = give_up_late(&source->due_ps, now_ps, source->mean_ps, LAG_PS);
    if (frames)
        source->page[WORD_SHORTFALL] += frames;
}

uint32_t source_burst(struct source *source)
{
    struct batch_view *batch = &source->batch;
    struct pool *pool = source->queue->pool;
    if (!batch->head->capacity || source->page[WORD_COMMAND] || !source->page[WORD_GO])
        return 0;
    const uint64_t ns = now_ns();
    if (!source->begun_ns)
        source->begun_ns = ns;
    const uint64_t now_ps = (ns - source->begun_ns) * PS_PER_NS;
    const uint32_t limit = room(source);
    uint32_t n = 0;
    for (; n < limit && source->due_ps <= now_ps; n++) {
        const uint32_t id = pool->stack[pool->count - 1 - n];
        if (n + PREFETCH_AHEAD < limit)
            __builtin_prefetch(source->arena + source->offsets[pool->stack[pool->count - 1 - n - PREFETCH_AHEAD]], 1);
        const uint32_t size = compose(source, source->arena + source->offsets[id], (uint32_t)ns);
        batch->ids[n] = id;
        batch->lengths[n] = source->sizes[size];
        source->due_ps += source->frame_ps[size];
    }
    pool->count -= n;
    batch->head->count = n;
    give_up(source, now_ps);
    source->page[WORD_ASKED] += n;
    source->left -= n;
    if (!source->left)
        source->page[WORD_DONE] = 1;
    return n;
}
