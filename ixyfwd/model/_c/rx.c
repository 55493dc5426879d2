/* Receive rings: descriptors in, write-backs out (7.1.4 to 7.1.6). */
#include "datapath.h"
#include "registers.h"
#include "simd.h"

#include <string.h>

enum { LOOK_EVERY = 16, LOOK_PLENTY = 64, PAUSE_MIN_RING = 63, RS_INTERVAL = 32 };

/* The i-th descriptor when the ring is not in one mapping; NULL if it cannot be reached. */
static struct desc *ring_desc(struct port *p, const struct rx_queue *q, uint32_t i)
{
    if (__builtin_expect(q->ring != NULL, 1))
        return &q->ring[i];
    return (struct desc *)dma_host(p, q->base + sizeof(struct desc) * i, sizeof(struct desc), DMA_READ | DMA_WRITE);
}

/* One descriptor in every case that is not the usual one. */
static void fetch_odd(struct port *p, struct rx_queue *q, uint32_t i)
{
    struct rx_slot *slot = &q->slots[i];
    const struct desc *d = ring_desc(p, q, i);
    if (!d) {
        *slot = (struct rx_slot){.address = q->base + sizeof *d * i, .owner = &p->dp->nobody, .unread = 1};
        return;
    }
    uint64_t address = *(const volatile uint64_t *)&d->q0;
    const struct dma_map *map = dma_find(p, address);
    if (!map || !(map->access & DMA_WRITE)) {
        *slot = (struct rx_slot){.address = address, .owner = &p->dp->nobody};
        return;
    }
    uint64_t within = address - map->iova, left = map->size - within;
    uint8_t *host = map->host + within;
    uint8_t *owner = owner_of(map, address);
    if (*owner) {
        fault(p, FAULT_BUFFER_REUSED, false, q->number, i, address);
        owner = &p->dp->nobody;
    } else {
        *owner = 1;
    }
    *slot = (struct rx_slot){host, address, owner, left < q->buffer_bytes ? (uint32_t)left : q->buffer_bytes, 0};
}

/* A run of descriptors that does not wrap; fast where a buffer lies whole in a mapping and is nobody's. */
static void fetch_run(struct port *p, struct rx_queue *q, uint32_t i, uint32_t count)
{
    struct dma_cursor c = {0, 0, NULL, NULL};
    struct rx_slot *const slots = q->slots; /* locals: the compiler must assume that stores change what q points to */
    const struct desc *const ring = q->ring;
    uint32_t room = q->buffer_bytes, end = i + count;
    for (; i < end; i++) {
        if (__builtin_expect(!ring, 0)) {
            fetch_odd(p, q, i);
            continue;
        }
        uint64_t address = *(const volatile uint64_t *)&ring[i].q0;
        if (__builtin_expect(address - c.iova >= c.limit, 0) && !dma_aim(p, &c, address, room, DMA_WRITE)) {
            fetch_odd(p, q, i);
            continue;
        }
        uint64_t within = address - c.iova;
        uint8_t *owner = &c.owned[within >> OWNER_SHIFT];
        if (__builtin_expect(*owner, 0)) {
            fetch_odd(p, q, i);
            continue;
        }
        *owner = 1;
        slots[i] = (struct rx_slot){c.host + within, address, owner, room, 0};
    }
}

/* Whether the tail is a place to which the ring may be given; each bad value is recorded once. */
static bool rx_tail_ok(struct port *p, struct rx_queue *q, uint32_t tail, uint32_t owned)
{
    if (tail >= q->entries || owned < q->ready) { /* outside, or back into what was given already */
        if (q->bad_tail != tail)
            fault(p, FAULT_TAIL_OUT_OF_RANGE, false, q->number, tail, q->base);
        q->bad_tail = tail;
        return false;
    }
    q->bad_tail = NO_TAIL;
    if (!p->bus_master) {
        if (q->refused_tail != tail)
            fault(p, FAULT_DMA_NO_BUS_MASTER, false, q->number, tail, q->base);
        q->refused_tail = tail;
        return false;
    }
    q->refused_tail = NO_TAIL;
    return true;
}

/* A wire that can wait holds back like a link partner that honours pause frames, while about half a ring is with the
 * driver: what a forwarder has then always fits its transmit ring of the same size, less the 32 descriptors of one
 * RS interval: a half in hand when that ring is looked at, and a half that it finds before the next look. */
static void pause_threshold(struct rx_queue *q, uint32_t ready)
{
    q->most = ready;
    q->reserve = ready >= PAUSE_MIN_RING ? ready - (ready - RS_INTERVAL + 1) / 2 : 0;
}

static uint32_t first_unfetched(const struct rx_queue *q)
{
    uint32_t i = q->head + q->ready;
    return i >= q->entries ? i - q->entries : i;
}

/* Look at the tail. */
static void rx_hear(struct port *p, struct rx_queue *q)
{
    uint32_t tail = p->tail_mapped ? *q->tail_register : q->tail;
    if (__builtin_expect(p->inject.doorbells, 0))
        tail = inject_tail(p, false, q->number, tail);
    q->heard = tail;
}

/* Take over the descriptors between what was fetched and the tail as heard. */
static void rx_take(struct port *p, struct rx_queue *q)
{
    uint32_t tail = q->heard, i = first_unfetched(q);
    if (tail == i)
        return;
    uint32_t owned = tail >= q->head ? tail - q->head : tail + q->entries - q->head;
    if (!rx_tail_ok(p, q, tail, owned))
        return;
    if (__builtin_expect(p->polled, 0)) {
        const struct polled_run run = {q->ring, q->base, q->entries, i, owned - q->ready, false};
        if (!polled_memory_known(p, &run))
            return;
    }
    if (q->pend) /* a wrong tail may reach slots that are not written back yet */
        rx_flush_all(p);
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* descriptors were written before the tail */
    q->begun = true;
    uint32_t count = owned - q->ready, straight = q->entries - i < count ? q->entries - i : count;
    fetch_run(p, q, i, straight);
    fetch_run(p, q, 0, count - straight);
    q->ready = owned;
    if (owned > q->most)
        pause_threshold(q, owned);
}

void rx_fetch(struct port *p, struct rx_queue *q)
{
    rx_hear(p, q);
    rx_take(p, q);
}

/* Looks at the tails; less often at a queue with half a ring, and a burst before any pause, in hand: every look takes
 * the doorbell's cache line away from the driver that writes it. */
void rx_hear_all(struct port *p)
{
    for (unsigned k = 0; k < p->rx_active_count; k++) {
        struct rx_queue *q = &p->rx[p->rx_active[k]];
        bool plenty = q->ready > q->reserve + LOOK_PLENTY && q->ready >= q->entries / 2;
        if (plenty && ++q->looks_skipped < LOOK_EVERY)
            continue;
        q->looks_skipped = 0;
        rx_hear(p, q);
        if (q->ring)
            prefetch_ring(q->ring, q->entries, first_unfetched(q), q->heard, true);
    }
}

void rx_take_all(struct port *p)
{
    for (unsigned k = 0; k < p->rx_active_count; k++)
        rx_take(p, &p->rx[p->rx_active[k]]);
}

/* Legacy write-back (7.1.5): address untouched, the rest in the second half. */
static uint64_t legacy_q1(uint64_t q1)
{
    uint64_t status = q1 & 0xFF, errors = (q1 >> 29 & 1) | (q1 >> 30 & 3) << 6;
    return (q1 >> 32 & 0xFFFF) | status << 32 | errors << 40 | (q1 >> 48) << 48;
}

/* One descriptor in every case that is not the usual one. */
static void write_back_odd(struct port *p, struct rx_queue *q, uint32_t i, const struct desc *done)
{
    struct rx_slot *slot = &q->slots[i];
    struct desc *d = ring_desc(p, q, i);
    *slot->owner = 0;
    if (!d) {
        fault(p, FAULT_DMA_UNMAPPED, false, q->number, i, q->base + sizeof *d * i);
        return;
    }
    if (d->q0 != slot->address)
        fault(p, FAULT_DESCRIPTOR_REWRITTEN, false, q->number, i, d->q0);
    if (q->legacy) {
        __atomic_store_n(&d->q1, legacy_q1(done->q1), __ATOMIC_RELEASE);
        return;
    }
    d->q0 = done->q0;
    __atomic_store_n(&d->q1, done->q1, __ATOMIC_RELEASE);
}

/* The usual descriptors from `d` on; returns how many. `whole`: an aligned store of 16 bytes is not torn, as on every
 * CPU that has AVX. Elsewhere the half with DD and length comes last: drivers look at either. */
static inline __attribute__((always_inline)) uint32_t write_back_usual(struct desc *d, const struct rx_slot *slot,
                                                                       const struct desc *done, uint32_t count,
                                                                       bool whole)
{
    typedef uint64_t two __attribute__((vector_size(16), may_alias));
    uint32_t k = 0;
    for (; k < count; k++) {
        if (__builtin_expect(d[k].q0 != slot[k].address, 0))
            break;
        *slot[k].owner = 0;
        if (whole) {
            two both;
            memcpy(&both, &done[k], sizeof both);
            *(volatile two *)&d[k] = both;
        } else {
            d[k].q0 = done[k].q0;
            __atomic_store_n(&d[k].q1, done[k].q1, __ATOMIC_RELEASE);
        }
    }
    return k;
}

static uint32_t write_back_halves(struct desc *d, const struct rx_slot *slot, const struct desc *done, uint32_t count)
{
    return write_back_usual(d, slot, done, count, false);
}

FOR_AVX2 static uint32_t write_back_whole(struct desc *d, const struct rx_slot *slot, const struct desc *done,
                                          uint32_t count)
{
    return write_back_usual(d, slot, done, count, true);
}

/* Write back a run of pending descriptors that does not wrap, in order: neighbours share lines, so a line changes hands
 * once. */
void write_back_run(struct port *p, struct rx_queue *q, uint32_t i, const struct desc *done, uint32_t count)
{
    __atomic_thread_fence(__ATOMIC_RELEASE); /* payloads first */
    for (uint32_t k = 0; k < count; k++) {
        if (q->ring && !q->legacy)
            k += (HAVE_AVX2 ? write_back_whole : write_back_halves)(q->ring + i + k, q->slots + i + k, done + k, count - k);
        if (k < count)
            write_back_odd(p, q, i + k, &done[k]);
    }
}

/* What is pending counts as delivered. */
void rx_count_pending(struct port *p, struct rx_queue *q)
{
    unsigned counter = p->config.rx_counter[q->number];
    p->stats.qprc[counter] += q->pend_frames;
    p->stats.qbrc[counter] += q->pend_bytes;
    p->stats.rxdgpc += q->pend_frames;
    p->stats.rxdgbc += q->pend_bytes;
    q->pend = q->pend_frames = q->pend_bytes = 0;
}

/* Write back what is pending. */
void rx_flush(struct port *p, struct rx_queue *q)
{
    if (__builtin_expect(p->inject.rx_holds, 0) && inject_rx_flush(p, q))
        return;
    uint32_t count = q->pend, i = q->head >= count ? q->head - count : q->head + q->entries - count;
    uint32_t straight = q->entries - i < count ? q->entries - i : count;
    write_back_run(p, q, i, q->done, straight);
    if (straight < count)
        write_back_run(p, q, 0, q->done + straight, count - straight);
    rx_count_pending(p, q);
    if (__builtin_expect(p->causes.wanted, 0))
        note_cause(p, p->causes.rx, p->causes.urgent_rx, q->number);
}

void rx_flush_all(struct port *p)
{
    for (unsigned k = 0; k < p->flush_count; k++)
        rx_flush(p, &p->rx[p->flush[k]]);
    p->flush_count = 0;
}

/* A mapping goes away under posted buffers: they are unmapped from now on, and nobody's. */
void rx_forget_map(struct port *p, const struct dma_map *map)
{
    for (unsigned k = 0; k < p->rx_active_count; k++) {
        struct rx_queue *q = &p->rx[p->rx_active[k]];
        for (uint32_t i = 0; i < q->entries; i++) {
            struct rx_slot *slot = &q->slots[i];
            if (!slot->host || (uint64_t)(slot->host - map->host) >= map->size)
                continue;
            uint32_t distance = i >= q->head ? i - q->head : i + q->entries - q->head;
            bool withheld = q->entries - distance <= p->rx_held[q->number].count;
            if (distance < q->ready || withheld)
                *slot->owner = 0;
            *slot = (struct rx_slot){.address = slot->address, .owner = &p->dp->nobody};
        }
    }
}

void rx_locate_rings(struct port *p)
{
    for (unsigned k = 0; k < p->rx_active_count; k++) {
        struct rx_queue *q = &p->rx[p->rx_active[k]];
        q->ring = (struct desc *)dma_host(p, q->base, sizeof(struct desc) * q->entries, DMA_READ | DMA_WRITE);
    }
}
