/* Verdicts between programs and after them: counted, dropped frames freed, the others queued for their ports.
 *
 * A frame's verdict is that of its first entry; where frames fill one buffer, each has one entry. */
#include "native.h"

#include "engine/entries.h"

static inline void copy_entry(const struct batch_view *to, uint32_t at, const struct batch_view *from, uint32_t i)
{
    to->ids[at] = from->ids[i];
    to->lengths[at] = from->lengths[i];
    to->hashes[at] = from->hashes[i];
    to->status[at] = from->status[i];
    to->verdicts[at] = from->verdicts[i];
}

/* No program has looked at these frames yet. */
uint32_t pass_all(struct settlement *settlement)
{
    const struct batch_view *batch = &settlement->batch;
    const uint32_t n = batch->head->count;
    for (uint32_t i = 0; i < n; i++)
        batch->verdicts[i] = 0;
    return n;
}

/* The word that counts a verdict, and whether its frame is freed. */
static inline uint32_t word_of(uint32_t verdict, uint32_t ports, uint32_t *freed)
{
    const uint32_t action = verdict >> VERDICT_ACTION_SHIFT, target = verdict & VERDICT_TARGET_MASK;
    *freed = 0;
    if (verdict == 0)
        return PROGRAM_PASSED;
    const uint32_t known = !(verdict & VERDICT_RESERVED_MASK);
    if (known && action == ACTION_OUT && target < ports)
        return PROGRAM_OUT;
    *freed = 1;
    return known && action == ACTION_DROP && target < PROGRAM_DROP_CAUSES ? PROGRAM_DROPS + target : PROGRAM_INVALID;
}

uint32_t settle(struct settlement *settlement)
{
    const struct batch_view *batch = &settlement->batch;
    struct pool *pool = settlement->pool;
    uint64_t *block = settlement->block;
    const uint32_t n = batch->head->count;
    uint32_t kept = 0, frames = 0;
    if (n == 0) /* or closed: the arena may be gone */
        return 0;
    for (uint32_t i = 0; i < n;) {
        const uint32_t end = i + frame_entries(batch, i, n);
        uint32_t freed;
        block[word_of(batch->verdicts[i], settlement->ports, &freed)]++;
        frames++;
        if (freed)
            for (; i < end; i++)
                pool->stack[pool->count++] = batch->ids[i];
        else if (kept == i)
            i = kept = end;
        else
            for (; i < end; i++)
                copy_entry(batch, kept++, batch, i);
    }
    block[PROGRAM_IN] += frames;
    batch->head->count = kept;
    return kept;
}

static inline uint32_t port_of(const struct dispatch *dispatch, uint32_t i)
{
    const uint32_t verdict = dispatch->batch.verdicts[i];
    return verdict >> VERDICT_ACTION_SHIFT == ACTION_OUT ? verdict & VERDICT_TARGET_MASK : dispatch->passed_to;
}

uint32_t dispatch(struct dispatch *dispatch)
{
    const struct batch_view *batch = &dispatch->batch;
    const uint32_t n = batch->head->count;
    if (n == 0)
        return 0;
    const uint32_t first = port_of(dispatch, 0);
    uint32_t alike = 0, taken = 0;
    while (alike < n && port_of(dispatch, alike) == first)
        alike += frame_entries(batch, alike, n);
    const struct outlet *outlets = dispatch->outlets;
    if (alike >= n && outlets[first].send)
        return outlets[first].send(outlets[first].whole);
    for (uint32_t port = 0; port < dispatch->ports; port++)
        outlets[port].part.head->count = 0;
    for (uint32_t i = 0; i < n;) {
        const uint32_t end = i + frame_entries(batch, i, n);
        const struct batch_view *part = &outlets[port_of(dispatch, i)].part;
        for (; i < end; i++)
            copy_entry(part, part->head->count++, batch, i);
    }
    for (uint32_t port = 0; port < dispatch->ports; port++)
        if (outlets[port].send && outlets[port].part.head->count)
            taken += outlets[port].send(outlets[port].part_work);
    batch->head->count = 0;
    return taken;
}
