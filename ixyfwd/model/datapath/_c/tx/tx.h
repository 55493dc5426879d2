/* Transmit rings: bursts of plain frames (ring.c), everything else (frame.c), write-backs of what asked for it. */
#ifndef IXYFWD_TX_H
#define IXYFWD_TX_H

#include "wire/wire.h"

enum {
    TX_BURST = 128,         /* frames handed to a wire together */
    PLAIN_FRAME_MAX = 2048, /* longer ones take the general way through transmit */
    MIN_TX_FRAME = 17,      /* shorter ones hang the chip: TXPADEN pads from 17 bytes on (7.2.3) */
    MAX_TX_BUFFERS = 40,    /* descriptors of one frame (7.2.3.3) */
    CONTEXTS = 2,           /* slots of a queue */
};

struct tx_queue {
    struct desc *ring;
    volatile uint32_t *tail_register;
    uint32_t entries, head, tail, heard;
    uint64_t bad_tail, refused_tail;
    uint64_t base, head_writeback; /* address of the head value, 0 = descriptors are written back */
    uint16_t number;
    bool running, begun;
    struct desc contexts[CONTEXTS];
};

/* Write-backs that are withheld on demand: ring indices, oldest first. */
struct tx_held {
    uint32_t *index;
    uint32_t count;
    uint64_t since_ns;
};

/* A port and its transmit side: the highest rung that keeps something of it. */
struct tx_port {
    struct rx_port below;
    unsigned active_count;
    uint8_t active[QUEUES]; /* numbers of queues that run */
    struct tx_queue queues[QUEUES];
    struct tx_held held[QUEUES];
    uint8_t gather[SCRATCH_BYTES]; /* frames of several buffers */
};
static inline struct tx_port *tx_of(const struct port *p) { return (struct tx_port *)p; }
static inline struct tx_queue *tx_active(const struct port *p, unsigned k)
{
    return &tx_of(p)->queues[tx_of(p)->active[k]];
}

/* ring.c */
void tx_hear_all(struct port *p);
unsigned tx_poll_all(struct port *p);
void tx_locate_rings(struct port *p);

/* frame.c */
unsigned tx_send_any(struct port *p, struct tx_queue *q, uint32_t owned);

/* held.c */
bool tx_hold(struct port *p, struct tx_queue *q, uint32_t i);
bool tx_holds_head(const struct port *p, const struct tx_queue *q);
void tx_release_due(struct port *p);
void tx_held_stop(struct port *p, struct tx_queue *q);

/* write_back.c */
void tx_count(struct port *p, const struct tx_queue *q, const struct frame *frames, unsigned count, uint64_t bytes,
              bool mixed);
void tx_report(struct port *p, struct tx_queue *q, uint32_t i);
void tx_report_head(struct port *p, struct tx_queue *q);

/* The i-th descriptor; NULL if the ring is not in one mapping and it cannot be reached. */
static inline struct desc *tx_desc(struct port *p, const struct tx_queue *q, uint32_t i)
{
    if (q->ring)
        return &q->ring[i];
    return (struct desc *)dma_host(p, q->base + sizeof(struct desc) * i, sizeof(struct desc), DMA_READ | DMA_WRITE);
}

static inline void tx_write_back(struct port *p, struct tx_queue *q, uint32_t i)
{
    if (__builtin_expect(p->inject.tx_holds, 0) && tx_hold(p, q, i))
        return;
    tx_report(p, q, i);
}

/* TDWBAL: the head itself goes to memory instead of descriptor write-backs (7.2.3.5.2). */
static inline void tx_write_head(struct port *p, struct tx_queue *q)
{
    if (__builtin_expect(p->inject.tx_holds, 0) && tx_holds_head(p, q))
        return;
    tx_report_head(p, q);
}

#endif
