/* Transmit rings: single-buffer frames in bursts (7.2.3). */
#include "tx/tx.h"

/* A whole frame in one advanced data descriptor, no offload: what a forwarder sends. RS and length may vary. */
static const uint32_t PLAIN_D2 = TXD_DEXT | TXD_DTYP_DATA | TXD_EOP | TXD_IFCS;

/* A burst as decoded. */
struct burst {
    uint64_t bytes;
    uint32_t count, reports;
    bool mixed;               /* lengths differ */
    uint16_t report[TX_BURST]; /* descriptors that asked for write-back */
    struct frame frames[TX_BURST];
};

/* The second half of a plain frame's descriptor, RS not set; if no such frame is plain, something with RS. */
static uint64_t plain_q1(uint64_t length)
{
    return length - MIN_FRAME <= PLAIN_FRAME_MAX - MIN_FRAME ? PLAIN_D2 | length | length << 46 : TXD_RS;
}

/* Decode plain frames from the head on, until one is not plain. */
static inline void decode_plain(struct port *p, const struct tx_queue *q, uint32_t limit, struct burst *b)
{
    const struct desc *const ring = q->ring + q->head;
    struct dma_cursor c = {0, 0, NULL, NULL};
    uint64_t bytes = 0, length = *(const volatile uint64_t *)&ring->q1 & TXD_LENGTH, want = plain_q1(length);
    uint32_t k = 0, reports = 0;
    b->mixed = false;
    for (; k < limit; k++) {
        uint64_t address = ring[k].q0, q1 = *(const volatile uint64_t *)&ring[k].q1, plain = q1 & ~(uint64_t)TXD_RS;
        if (__builtin_expect(plain != want, 0)) {
            length = q1 & TXD_LENGTH;
            want = plain_q1(length);
            if (plain != want)
                break;
            b->mixed = true;
        }
        if (__builtin_expect(address - c.iova >= c.limit, 0) && !dma_aim(p, &c, address, PLAIN_FRAME_MAX, DMA_READ))
            break;
        uint64_t within = address - c.iova;
        if (__builtin_expect(c.owned[within >> OWNER_SHIFT], 0))
            break;
        __builtin_prefetch(c.host + within);
        b->frames[k] = (struct frame){c.host + within, (uint32_t)length};
        bytes += length;
        if (__builtin_expect((q1 & TXD_RS) != 0, 0))
            b->report[reports++] = (uint16_t)k;
    }
    b->count = k;
    b->reports = reports;
    b->bytes = bytes;
}

/* Sends a burst of plain frames; returns how many, 0 if the one at the head is not plain. */
static unsigned send_plain(struct port *p, struct tx_queue *q, uint32_t owned)
{
    struct burst b;
    uint32_t first = q->head, limit = q->entries - first < owned ? q->entries - first : owned;
    decode_plain(p, q, limit < TX_BURST ? limit : TX_BURST, &b);
    if (!b.count)
        return 0;
    wire_consume(p, q->number, b.frames, b.count, b.bytes);
    tx_count(p, q, b.frames, b.count, b.bytes, b.mixed);
    q->head = first + b.count == q->entries ? 0 : first + b.count;
    for (uint32_t k = 0; k < b.reports; k++)
        tx_write_back(p, q, first + b.report[k]);
    if (b.reports && q->head_writeback)
        tx_write_head(p, q);
    return b.count;
}

static bool tx_tail_ok(struct port *p, struct tx_queue *q, uint32_t tail)
{
    if (tail >= q->entries) {
        if (q->bad_tail != tail)
            fault(p, FAULT_TAIL_OUT_OF_RANGE, true, q->number, tail, q->base);
        q->bad_tail = tail;
        return false;
    }
    q->bad_tail = NO_TAIL;
    if (!p->bus_master) {
        if (q->refused_tail != tail)
            fault(p, FAULT_DMA_NO_BUS_MASTER, true, q->number, tail, q->base);
        q->refused_tail = tail;
        return false;
    }
    q->refused_tail = NO_TAIL;
    return true;
}

/* A pause that no XON ended ends with its time. */
static bool is_paused(struct port *p)
{
    if (!p->paused || !config_of(p)->heeds_pause)
        return false;
    p->paused = p->dp->now_ns < p->pause_ends_ns;
    return p->paused;
}

static bool sends(struct port *p) { return p->link && config_of(p)->te && !is_paused(p); }

/* Looks at the tails. */
void tx_hear_all(struct port *p)
{
    for (unsigned k = 0; k < tx_of(p)->active_count && sends(p); k++) {
        struct tx_queue *q = tx_active(p, k);
        uint32_t tail = p->tail_mapped ? *q->tail_register : q->tail;
        if (__builtin_expect(p->inject.tx_stalls, 0) && inject_stalls(p, true, q->number))
            continue;
        if (__builtin_expect(p->inject.doorbells, 0))
            tail = inject_tail(p, true, q->number, tail);
        q->heard = tail;
        if (q->ring)
            prefetch_ring(q->ring, q->entries, q->head, tail, false);
    }
}

static unsigned tx_poll(struct port *p, struct tx_queue *q)
{
    uint32_t tail = q->heard;
    if (__builtin_expect(p->inject.tx_stalls, 0) && inject_stalls(p, true, q->number))
        return 0;
    if (tail == q->head || !tx_tail_ok(p, q, tail))
        return 0;
    uint32_t owned = tail >= q->head ? tail - q->head : tail + q->entries - q->head;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__builtin_expect(dma_of(p)->polled, 0)) {
        const struct polled_run run = {q->ring, q->base, q->entries, q->head, owned, true};
        if (!polled_memory_known(p, &run))
            return 0;
    }
    q->begun = true;
    unsigned sent = 0;
    while (owned && !p->dp->capture_full && !is_paused(p)) {
        unsigned count = q->ring ? send_plain(p, q, owned) : 0;
        if (!count)
            count = tx_send_any(p, q, owned);
        if (!count)
            break; /* the rest of the frame is not there yet */
        owned -= count;
        sent += count;
    }
    return sent;
}

unsigned tx_poll_all(struct port *p)
{
    unsigned sent = 0;
    for (unsigned k = 0; k < tx_of(p)->active_count && sends(p); k++)
        sent += tx_poll(p, tx_active(p, k));
    return sent;
}

void tx_locate_rings(struct port *p)
{
    for (unsigned k = 0; k < tx_of(p)->active_count; k++) {
        struct tx_queue *q = tx_active(p, k);
        q->ring = (struct desc *)dma_host(p, q->base, sizeof(struct desc) * q->entries, DMA_READ | DMA_WRITE);
    }
}
