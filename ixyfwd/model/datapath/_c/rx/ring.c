/* Receive rings: descriptors in, and when they are written back (7.1.4 to 7.1.6). */
#include "rx/rx.h"

enum { LOOK_EVERY = 16, LOOK_PLENTY = 64, PAUSE_MIN_RING = 63, RS_INTERVAL = 32 };

/* One descriptor in every case that is not the usual one. */
static void fetch_odd(struct port *p, struct rx_queue *q, uint32_t i)
{
    struct rx_slot *slot = &q->slots[i];
    const struct desc *d = rx_desc(p, q, i);
    if (!d) {
        *slot = (struct rx_slot){.address = q->base + sizeof *d * i, .owner = &p->dp->unowned, .unread = 1};
        return;
    }
    uint64_t address = *(const volatile uint64_t *)&d->q0;
    const struct dma_map *map = dma_find(p, address);
    if (!map || !(map->access & DMA_WRITE)) {
        *slot = (struct rx_slot){.address = address, .owner = &p->dp->unowned};
        return;
    }
    uint64_t within = address - map->iova, left = map->size - within;
    uint8_t *host = map->host + within;
    uint8_t *owner = owner_of(map, address);
    if (*owner) {
        fault(p, FAULT_BUFFER_REUSED, false, q->number, i, address);
        owner = &p->dp->unowned;
    } else {
        *owner = 1;
    }
    *slot = (struct rx_slot){host, address, owner, left < q->buffer_bytes ? (uint32_t)left : q->buffer_bytes, 0};
}

/* A run of descriptors that does not wrap; fast where a buffer lies whole in a mapping and has no owner. */
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
    if (__builtin_expect(dma_of(p)->polled, 0)) {
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
    for (unsigned k = 0; k < rx_of(p)->active_count; k++) {
        struct rx_queue *q = rx_active(p, k);
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
    for (unsigned k = 0; k < rx_of(p)->active_count; k++)
        rx_take(p, rx_active(p, k));
}

/* Write back what is pending. */
void rx_flush(struct port *p, struct rx_queue *q)
{
    if (__builtin_expect(p->inject.rx_holds, 0) && rx_flush_injected(p, q))
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
    for (unsigned k = 0; k < rx_of(p)->flush_count; k++)
        rx_flush(p, &rx_of(p)->queues[rx_of(p)->flush[k]]);
    rx_of(p)->flush_count = 0;
}

/* Linux and DPDK change tag stripping and dropping of a running queue. */
static void load_queue_modes(struct port *p)
{
    for (unsigned i = 0; i < rx_of(p)->active_count; i++) {
        unsigned n = rx_of(p)->active[i];
        struct rx_queue *q = &rx_of(p)->queues[n];
        q->strip_vlan = REGISTER(p, rx_window(n) + RXDCTL) & RXDCTL_VME;
        q->drop = q->force_drop || REGISTER(p, rx_window(n) + SRRCTL) & SRRCTL_DROP_EN;
    }
}

/* Take changed registers over. */
void rx_configure(struct port *p)
{
    config_load(p);
    load_queue_modes(p);
}

uint32_t dp_rss_hash(port_t *p, const uint8_t *input, uint32_t length)
{
    if (config_of(p)->dirty)
        rx_configure(p);
    return toeplitz(config_of(p), input, length <= 36 ? length : 36);
}
