/* The drop program: verdicts by length, and for every n-th of the frames whose length is no cause. */
#include "drop.h"

enum { CRC_BYTES = 4 };

static inline uint32_t is_every(struct drop *drop)
{
    if (!drop->every || ++drop->spared < drop->every)
        return 0;
    drop->spared = 0;
    return 1;
}

uint32_t drop_burst(struct drop *drop)
{
    const struct batch_view *batch = &drop->batch;
    const uint32_t n = batch->head->count;
    for (uint32_t i = 0; i < n;) {
        const uint32_t first = i;
        uint32_t length = CRC_BYTES;
        do
            length += batch->lengths[i];
        while (!(batch->status[i++] & BATCH_EOP) && i < n);
        uint32_t cause;
        if (length < drop->shorter_than)
            cause = DROP_SHORTER;
        else if (length > drop->longer_than)
            cause = DROP_LONGER;
        else if (is_every(drop))
            cause = DROP_EVERY;
        else
            continue;
        batch->verdicts[first] = (uint32_t)ACTION_DROP << VERDICT_ACTION_SHIFT | cause;
        *drop->bytes += length;
    }
    return n;
}
