/* Receive write-backs that are withheld, and frames that are damaged, on demand. */
#include "rx/rx.h"

#include <stdlib.h>

static uint32_t behind(const struct rx_queue *q, uint32_t head, uint32_t count)
{
    return head >= count ? head - count : head + q->entries - count;
}

/* Whether a receive queue's write-backs are to wait longer. */
static bool rx_waits(const struct port *p, unsigned n)
{
    const dp_inject *j = &p->inject;
    const struct rx_held *h = &rx_of(p)->held[n];
    uint64_t age_ns = p->dp->now_ns - h->since_ns;
    if (injected_at(j->stuck_rx, n))
        return true;
    if (injected_at(j->delay_rx, n) && age_ns < j->delay_ns)
        return true;
    return injected_at(j->reorder_rx, n) && age_ns < j->reorder_ns &&
           p->inject.written_back - h->written_back < j->reorder_frames;
}

static void rx_release(struct port *p, struct rx_queue *q)
{
    struct rx_held *h = &rx_of(p)->held[q->number];
    uint32_t count = h->count, i = behind(q, behind(q, q->head, q->pend), count);
    uint32_t straight = q->entries - i < count ? q->entries - i : count;
    h->count = 0;
    write_back_run(p, q, i, h->done + i, straight);
    if (straight < count)
        write_back_run(p, q, 0, h->done, count - straight);
    if (p->causes.wanted)
        note_cause(p, p->causes.rx, p->causes.urgent_rx, q->number);
}

/* Set the pending descriptors aside, data and head being where they are. */
static bool rx_hold(struct port *p, struct rx_queue *q)
{
    struct rx_held *h = &rx_of(p)->held[q->number];
    if (!h->count) {
        h->since_ns = p->dp->now_ns;
        h->written_back = p->inject.written_back;
        if (!rx_waits(p, q->number))
            return false;
    }
    if (h->count + q->pend >= q->entries) { /* only a driver that reposts what it has not got back gets here */
        rx_release(p, q);
        return false;
    }
    if (!h->done && !(h->done = calloc(q->entries, sizeof *h->done)))
        return false;
    uint32_t i = behind(q, q->head, q->pend);
    for (uint32_t k = 0; k < q->pend; k++, i = i + 1 == q->entries ? 0 : i + 1)
        h->done[i] = q->done[k];
    h->count += q->pend;
    p->inject.held += q->pend;
    rx_count_pending(p, q);
    return true;
}

static void damage_received(struct port *p, struct rx_queue *q)
{
    dp_damage *d = &p->inject.damage_rx;
    uint32_t i = behind(q, q->head, q->pend);
    for (uint32_t k = 0; k < q->pend; k++, i = i + 1 == q->entries ? 0 : i + 1) {
        uint32_t bytes = (uint16_t)(q->done[k].q1 >> 32);
        /* A buffer across two mappings is passed over: the next frame is taken for it. */
        if ((q->done[k].q1 & RXD_EOP) && q->slots[i].host && q->slots[i].room >= bytes && inject_damages(d))
            inject_damage(d, q->slots[i].host, bytes);
    }
}

/* What is pending is about to be written back; true if it is not to be. */
bool rx_flush_injected(struct port *p, struct rx_queue *q)
{
    if (p->inject.damage_rx.on)
        damage_received(p, q);
    if (rx_of(p)->held[q->number].count || inject_withholds_rx(&p->inject))
        if (rx_hold(p, q))
            return true;
    p->inject.written_back += q->pend;
    return false;
}

/* Once a round: what has waited long enough. */
void rx_release_due(struct port *p)
{
    for (unsigned k = 0; k < rx_of(p)->active_count; k++) {
        unsigned n = rx_of(p)->active[k];
        if (rx_of(p)->held[n].count && !rx_waits(p, n))
            rx_release(p, &rx_of(p)->queues[n]);
    }
}

/* A queue stops: what was withheld is never written. The buffers are the driver's again. */
void rx_held_stop(struct port *p, struct rx_queue *q)
{
    struct rx_held *h = &rx_of(p)->held[q->number];
    uint32_t i = behind(q, behind(q, q->head, q->pend), h->count);
    for (; h->count; h->count--, i = i + 1 == q->entries ? 0 : i + 1)
        *q->slots[i].owner = 0;
    free(h->done);
    *h = (struct rx_held){0};
    p->doorbell_rx[q->number].known = false;
}
