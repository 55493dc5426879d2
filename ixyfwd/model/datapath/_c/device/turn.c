/* A null driver for benchmark and tests: turns the model by hand in the same thread. What it receives at one port of a
 * pair it sends at the other; the buffer of the tx slot goes into the rx slot in exchange. */
#include "device/device.h"

#include <stdlib.h>

/* for Python */
/* For tests and the benchmark: a driver that swaps every received buffer into the other port's tx ring. */
typedef struct dp_turner dp_turner_t;
dp_turner_t *dp_turner_new(dp_t *dp, uint8_t *memory, uint64_t iova, uint32_t ring_size, uint32_t queues);
void dp_turner_free(dp_turner_t *t);
uint64_t dp_turner_run(dp_turner_t *t, uint64_t frames, uint32_t batch); /* returns nanoseconds */
uint64_t dp_turner_frames(dp_turner_t *t);   /* forwarded so far */
uint64_t dp_turner_model_ns(dp_turner_t *t); /* time spent in the model for them, two clock readings a round included */
/* end */

enum { RS_EVERY = 32, LINES_APART = 33 /* an even distance would crowd frames into few cache sets */ };

struct turn_ring {
    struct desc *ring;
    uint64_t *buffers; /* device address in each slot */
    volatile uint32_t *tail;
    uint32_t next, free; /* tx: slots that may be filled */
};

struct dp_turner {
    dp_t *dp;
    uint32_t size, queues;
    struct turn_ring *rx, *tx; /* [port * queues + queue] */
    uint64_t frames, model_ns;
};

static void turn_ring_init(struct turn_ring *r, uint8_t **at, uint64_t *iova, uint64_t *buffer, uint32_t size,
                           struct port *p, unsigned window)
{
    *r = (struct turn_ring){.ring = (struct desc *)*at, .tail = &REGISTER(p, window + RDT), .free = size - 1};
    r->buffers = calloc(size, sizeof *r->buffers);
    REGISTER(p, window + RDBAL) = (uint32_t)*iova;
    REGISTER(p, window + RDBAH) = (uint32_t)(*iova >> 32);
    REGISTER(p, window + RDLEN) = size * (uint32_t)sizeof(struct desc);
    REGISTER(p, window + RDH) = REGISTER(p, window + RDT) = 0;
    for (uint32_t i = 0; i < size; i++) {
        r->buffers[i] = *buffer;
        *buffer += 64 * LINES_APART;
        r->ring[i] = (struct desc){r->buffers[i], 0};
    }
    *at += size * sizeof(struct desc);
    *iova += size * sizeof(struct desc);
}

/* `memory` is mapped at `iova` for both ports: 4 * queues rings of `ring_size`, then a buffer for every slot. */
dp_turner_t *dp_turner_new(dp_t *dp, uint8_t *memory, uint64_t iova, uint32_t ring_size, uint32_t queues)
{
    dp_turner_t *t = calloc(1, sizeof *t);
    t->dp = dp;
    t->size = ring_size;
    t->queues = queues;
    t->rx = calloc(2 * queues, sizeof *t->rx);
    t->tx = calloc(2 * queues, sizeof *t->tx);
    uint64_t buffer = iova + 4ull * queues * ring_size * sizeof(struct desc);
    buffer = (buffer + 4095) & ~4095ull;
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t n = 0; n < queues; n++) {
            struct port *p = dp->ports[i];
            dp_set_tail_mapped(p, 1);
            turn_ring_init(&t->rx[i * queues + n], &memory, &iova, &buffer, ring_size, p, rx_window(n));
            turn_ring_init(&t->tx[i * queues + n], &memory, &iova, &buffer, ring_size, p, tx_window(n));
            REGISTER(p, rx_window(n) + SRRCTL) = 2 | 1u << 25;
            dp_start_rx(p, n);
            dp_start_tx(p, n);
            REGISTER(p, rx_window(n) + RDT) = ring_size - 1;
        }
    return t;
}

void dp_turner_free(dp_turner_t *t)
{
    for (uint32_t k = 0; k < 2 * t->queues; k++) {
        free(t->rx[k].buffers);
        free(t->tx[k].buffers);
    }
    free(t->rx);
    free(t->tx);
    free(t);
}

/* Give back whole intervals whose last descriptor is done. */
static void turn_clean(const dp_turner_t *t, struct turn_ring *tx)
{
    for (;;) {
        uint32_t used = t->size - 1 - tx->free;
        uint32_t first = tx->next >= used ? tx->next - used : tx->next + t->size - used;
        if (used < RS_EVERY || !(tx->ring[first + RS_EVERY - 1].q1 >> 32 & TXD_DD))
            return;
        tx->free += RS_EVERY;
    }
}

static uint32_t turn_burst(const dp_turner_t *t, struct turn_ring *rx, struct turn_ring *tx, uint32_t batch)
{
    uint32_t count = 0, last = 0;
    if (tx->free < batch)
        turn_clean(t, tx);
    for (; count < batch && tx->free; count++) {
        struct desc *in = &rx->ring[rx->next], *out = &tx->ring[tx->next];
        uint64_t q1 = __atomic_load_n(&in->q1, __ATOMIC_ACQUIRE);
        if (!(q1 & RXD_DD))
            break;
        uint64_t length = q1 >> 32 & 0xFFFF, buffer = rx->buffers[rx->next];
        uint64_t rs = tx->next % RS_EVERY == RS_EVERY - 1 ? TXD_RS : 0;
        rx->buffers[rx->next] = tx->buffers[tx->next];
        tx->buffers[tx->next] = buffer;
        *out = (struct desc){buffer, length | TXD_DEXT | TXD_DTYP_DATA | TXD_EOP | TXD_IFCS | rs | length << 46};
        *in = (struct desc){rx->buffers[rx->next], 0};
        tx->free--;
        last = rx->next;
        rx->next = rx->next + 1 == t->size ? 0 : rx->next + 1;
        tx->next = tx->next + 1 == t->size ? 0 : tx->next + 1;
    }
    if (count) {
        *rx->tail = last;
        *tx->tail = tx->next;
    }
    return count;
}

/* Forwards at least `frames` frames (or gives up after a million empty rounds); returns nanoseconds. */
uint64_t dp_turner_run(dp_turner_t *t, uint64_t frames, uint32_t batch)
{
    uint64_t start = clock_ns(), done = 0;
    uint32_t empty = 0;
    while (done < frames && empty < 1000000) {
        uint64_t before = done;
        t->dp->now_ns = clock_ns();
        dp_round(t->dp);
        t->model_ns += clock_ns() - t->dp->now_ns;
        for (uint32_t k = 0; k < 2 * t->queues; k++)
            done += turn_burst(t, &t->rx[k], &t->tx[k < t->queues ? k + t->queues : k - t->queues], batch);
        empty = done == before ? empty + 1 : 0;
    }
    t->frames += done;
    return clock_ns() - start;
}

uint64_t dp_turner_frames(dp_turner_t *t) { return t->frames; }
uint64_t dp_turner_model_ns(dp_turner_t *t) { return t->model_ns; }
