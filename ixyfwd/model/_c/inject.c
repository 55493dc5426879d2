/* Misbehaviour on demand (model/inject.py): stalls, withheld write-backs, damaged frames, doorbells that are not heard.
 * Everything here is reached through one branch that is not taken while nothing is injected. */
#include "datapath.h"
#include "registers.h"
#include "tx.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

static bool chosen(const uint64_t *queues, unsigned n) { return queues[n >> 6] >> (n & 63) & 1; }
static bool any(const uint64_t *queues) { return queues[0] || queues[1]; }

dp_inject *dp_port_inject(port_t *p) { return &p->inject; }

/* Receive write-backs */

static uint32_t behind(const struct rx_queue *q, uint32_t head, uint32_t count)
{
    return head >= count ? head - count : head + q->entries - count;
}

/* Whether a receive queue's write-backs are to wait longer. */
static bool rx_waits(const struct port *p, unsigned n)
{
    const dp_inject *j = &p->inject;
    const struct rx_held *h = &p->rx_held[n];
    uint64_t age_ns = p->dp->now_ns - h->since_ns;
    if (chosen(j->stuck_rx, n))
        return true;
    if (chosen(j->delay_rx, n) && age_ns < j->delay_ns)
        return true;
    return chosen(j->reorder_rx, n) && age_ns < j->reorder_ns &&
           p->inject.written_back - h->written_back < j->reorder_frames;
}

static void rx_release(struct port *p, struct rx_queue *q)
{
    struct rx_held *h = &p->rx_held[q->number];
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
    struct rx_held *h = &p->rx_held[q->number];
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

/* xorshift64: repeatable for a seed. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static bool damages(dp_damage *d)
{
    if (!d->left)
        return false;
    if (d->chance)
        return (uint32_t)next_random(&d->random) < d->chance;
    return ++d->seen % d->every == 0;
}

static void damage(dp_damage *d, uint8_t *data, uint32_t length)
{
    data[d->offset < length ? d->offset : length - 1] ^= d->bits;
    d->count++;
    d->left--;
}

static void damage_received(struct port *p, struct rx_queue *q)
{
    dp_damage *d = &p->inject.damage_rx;
    uint32_t i = behind(q, q->head, q->pend);
    for (uint32_t k = 0; k < q->pend; k++, i = i + 1 == q->entries ? 0 : i + 1) {
        uint32_t bytes = (uint16_t)(q->done[k].q1 >> 32);
        /* A buffer across two mappings is passed over: the next frame is taken for it. */
        if ((q->done[k].q1 & RXD_EOP) && q->slots[i].host && q->slots[i].room >= bytes && damages(d))
            damage(d, q->slots[i].host, bytes);
    }
}

/* What is pending is about to be written back; true if it is not to be. */
bool inject_rx_flush(struct port *p, struct rx_queue *q)
{
    if (p->inject.damage_rx.on)
        damage_received(p, q);
    if (p->rx_held[q->number].count || any(p->inject.stuck_rx) || any(p->inject.delay_rx) || any(p->inject.reorder_rx))
        if (rx_hold(p, q))
            return true;
    p->inject.written_back += q->pend;
    return false;
}

/* Transmit write-backs */

static bool tx_waits(const struct port *p, unsigned n)
{
    const dp_inject *j = &p->inject;
    if (chosen(j->stuck_tx, n))
        return true;
    return chosen(j->delay_tx, n) && p->dp->now_ns - p->tx_held[n].since_ns < j->delay_ns;
}

/* Whether descriptor i's write-back is set aside. */
bool inject_tx_write_back(struct port *p, struct tx_queue *q, uint32_t i)
{
    struct tx_held *h = &p->tx_held[q->number];
    if (h->releasing)
        return false;
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

bool inject_tx_write_head(struct port *p, struct tx_queue *q)
{
    return p->tx_held[q->number].count && !p->tx_held[q->number].releasing;
}

static void tx_release(struct port *p, struct tx_queue *q)
{
    struct tx_held *h = &p->tx_held[q->number];
    h->releasing = true;
    for (uint32_t k = 0; k < h->count; k++)
        tx_write_back(p, q, h->index[k]);
    if (q->head_writeback)
        tx_write_head(p, q);
    h->count = 0;
    h->releasing = false;
}

/* Once a round: what has waited long enough. */
void inject_release_due(struct port *p)
{
    for (unsigned k = 0; k < p->rx_active_count; k++)
        if (p->rx_held[p->rx_active[k]].count && !rx_waits(p, p->rx_active[k]))
            rx_release(p, &p->rx[p->rx_active[k]]);
    for (unsigned k = 0; k < p->tx_active_count; k++)
        if (p->tx_held[p->tx_active[k]].count && !tx_waits(p, p->tx_active[k]))
            tx_release(p, &p->tx[p->tx_active[k]]);
}

/* A queue stops: what was withheld is never written. The buffers are the driver's again. */
void inject_stop_rx(struct port *p, struct rx_queue *q)
{
    struct rx_held *h = &p->rx_held[q->number];
    uint32_t i = behind(q, behind(q, q->head, q->pend), h->count);
    for (; h->count; h->count--, i = i + 1 == q->entries ? 0 : i + 1)
        *q->slots[i].owner = 0;
    free(h->done);
    *h = (struct rx_held){0};
    p->doorbell_rx[q->number].known = false;
}

void inject_stop_tx(struct port *p, struct tx_queue *q)
{
    free(p->tx_held[q->number].index);
    p->tx_held[q->number] = (struct tx_held){0};
    p->doorbell_tx[q->number].known = false;
}

/* Stalls and doorbells */

bool inject_stalls(const struct port *p, bool tx, unsigned n)
{
    return chosen(tx ? p->inject.stall_tx : p->inject.stall_rx, n);
}

/* The tail as the device hears of it: every `doorbell_every`-th change shows only when the next one comes. */
uint32_t inject_tail(struct port *p, bool tx, unsigned n, uint32_t tail)
{
    struct doorbell *b = tx ? &p->doorbell_tx[n] : &p->doorbell_rx[n];
    if (!chosen(tx ? p->inject.doorbell_tx : p->inject.doorbell_rx, n)) {
        b->known = false;
        return tail;
    }
    if (!b->known)
        *b = (struct doorbell){.written = tail, .heard = tail, .known = true};
    if (tail != b->written) {
        bool lost = ++b->rung % p->inject.doorbell_every == 0;
        b->heard = lost ? b->written : tail;
        b->written = tail;
        p->inject.doorbells_lost += lost;
    }
    return b->heard;
}

/* A burst for the wire, of which some frames are damaged; the driver's own buffers are not touched. */
void inject_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count)
{
    uint8_t copy[SCRATCH_BYTES];
    for (unsigned k = 0; k < count; k++) {
        struct frame frame = frames[k];
        if (damages(&p->inject.damage_tx)) {
            memcpy(copy, frame.data, frame.length);
            damage(&p->inject.damage_tx, copy, frame.length);
            frame.data = copy;
        }
        wire_take(p, queue, &frame, 1, frame.length);
    }
}

/* Python has changed `inject`. */
void dp_inject_changed(port_t *p)
{
    dp_inject *j = &p->inject;
    j->rx_stalls = any(j->stall_rx);
    j->tx_stalls = any(j->stall_tx);
    bool holds_rx = any(j->stuck_rx) || any(j->delay_rx) || any(j->reorder_rx);
    bool holds_tx = any(j->stuck_tx) || any(j->delay_tx);
    if (p->dp->now_ns < clock_ns())
        p->dp->now_ns = clock_ns();
    inject_release_due(p);
    j->rx_holds = holds_rx || j->damage_rx.on;
    j->tx_holds = holds_tx;
    j->holds = holds_rx || holds_tx;
    j->doorbells = any(j->doorbell_rx) || any(j->doorbell_tx);
}
