/* Transmit write-backs that are withheld on demand. */
#include "tx/tx.h"

#include <stdlib.h>
#include <string.h>

static bool tx_waits(const struct port *p, unsigned n)
{
    const dp_inject *j = &p->inject;
    if (injected_at(j->stuck_tx, n))
        return true;
    return injected_at(j->delay_tx, n) && p->dp->now_ns - tx_of(p)->held[n].since_ns < j->delay_ns;
}

/* Whether descriptor i's write-back is set aside. */
bool tx_hold(struct port *p, struct tx_queue *q, uint32_t i)
{
    struct tx_held *h = &tx_of(p)->held[q->number];
    if (!h->count) {
        h->since_ns = p->dp->now_ns;
        if (!tx_waits(p, q->number))
            return false;
    }
    if (!h->index && !(h->index = calloc(q->entries, sizeof *h->index)))
        return false;
    if (h->count == q->entries) /* only a driver that does not wait for DD gets here: the oldest is lost to it */
        memmove(h->index, h->index + 1, --h->count * sizeof *h->index);
    h->index[h->count++] = i;
    p->inject.held++;
    return true;
}

/* Whether the head's write-back has to wait for those of descriptors. */
bool tx_holds_head(const struct port *p, const struct tx_queue *q) { return tx_of(p)->held[q->number].count; }

static void tx_release(struct port *p, struct tx_queue *q)
{
    struct tx_held *h = &tx_of(p)->held[q->number];
    for (uint32_t k = 0; k < h->count; k++)
        tx_report(p, q, h->index[k]);
    if (q->head_writeback)
        tx_report_head(p, q);
    h->count = 0;
}

/* Once a round: what has waited long enough. */
void tx_release_due(struct port *p)
{
    for (unsigned k = 0; k < tx_of(p)->active_count; k++) {
        unsigned n = tx_of(p)->active[k];
        if (tx_of(p)->held[n].count && !tx_waits(p, n))
            tx_release(p, &tx_of(p)->queues[n]);
    }
}

/* A queue stops: what was withheld is never written. */
void tx_held_stop(struct port *p, struct tx_queue *q)
{
    free(tx_of(p)->held[q->number].index);
    tx_of(p)->held[q->number] = (struct tx_held){0};
    p->doorbell_tx[q->number].known = false;
}
