/* Receive rings: descriptors in, frames into their buffers, write-backs out; what waits in the packet buffer. */
#ifndef IXYFWD_RX_H
#define IXYFWD_RX_H

#include "classify/classify.h"

/* for Python */
uint32_t dp_rss_hash(port_t *p, const uint8_t *input, uint32_t length);
/* end */

enum {
    RX_BURST = 256,  /* descriptors written back together, per queue */
    SLOT_MARGIN = 8, /* unused entries behind the last rx slot, so that looking ahead needs no wrap */
};

/* What is known of an rx descriptor that the device owns. */
struct rx_slot {
    uint8_t *host;    /* NULL: the buffer is not mapped for writing */
    uint64_t address; /* q0 as fetched */
    uint8_t *owner;   /* byte of backing.owned to clear, or dp.unowned */
    uint32_t room;    /* bytes from `host` to the end of its mapping, at most the buffer size */
    uint32_t unread;  /* 1: the descriptor itself could not be fetched */
};

struct rx_queue {
    struct desc *ring; /* NULL: not in one mapping, go through dma_host for each descriptor */
    struct rx_slot *slots;
    struct desc *done; /* RX_BURST write-backs: of the last `pend` descriptors */
    volatile uint32_t *tail_register;
    uint32_t entries, head, ready, pend; /* head: next to fill; ready: fetched from head on; pend: filled before head */
    uint32_t pend_frames, pend_bytes; /* frames that end in those, and their bytes */
    uint32_t tail, heard, buffer_bytes, looks_skipped; /* tail: as written when trapped; heard: at the last look */
    uint64_t bad_tail, refused_tail; /* already reported, or NO_TAIL */
    uint32_t most, reserve; /* most: ready at its fullest; reserve: what a wire that can wait leaves ready */
    uint64_t base;
    uint16_t number;
    bool running, begun, legacy, drop, strip_vlan; /* begun: something was fetched since the start */
    bool force_drop; /* PFQDE */
};

/* Write-backs that are withheld on demand: the last `count` before those pending; `done` by ring index. */
struct rx_held {
    struct desc *done;
    uint32_t count;
    uint64_t since_ns, written_back; /* at the first of them: time, and dp_inject.written_back */
};

struct fifo_frame {
    struct rx_class class;
    uint32_t at, length;
};
struct fifo {
    uint8_t *bytes; /* both made when the first frame has to wait */
    struct fifo_frame *frames;
    uint32_t first, count, write, used;
    bool paused; /* the far end was asked to pause */
};

/* A port and its receive side. */
struct rx_port {
    struct classify_port below;
    unsigned active_count, flush_count;
    uint8_t active[QUEUES], flush[QUEUES]; /* numbers of queues that run, and that have write-backs pending */
    struct fifo fifo;
    struct rx_queue queues[QUEUES];
    struct rx_held held[QUEUES];
    uint8_t edit[SCRATCH_BYTES]; /* frames that change on the way in: padding, tag, CRC */
};
static inline struct rx_port *rx_of(const struct port *p) { return (struct rx_port *)p; }
static inline struct rx_queue *rx_active(const struct port *p, unsigned k)
{
    return &rx_of(p)->queues[rx_of(p)->active[k]];
}

/* What became of a frame that was offered to a port. */
enum rx_result {
    RX_TAKEN, /* delivered, filtered or dropped: it is gone and counted */
    RX_NO_ROOM, /* only with RX_WAIT: nothing happened, offer it again */
};
enum rx_wait { RX_DROP, RX_WAIT_ROOM, RX_WAIT_READY }; /* READY: wait also for RXEN and the queue's ENABLE */

/* frame.c */
enum rx_result rx_offer(struct port *p, const uint8_t *data, uint32_t length, enum rx_wait wait);
enum rx_result rx_offer_classified(struct port *p, const uint8_t *data, uint32_t length, const struct rx_class *class,
                                   enum rx_wait wait);
unsigned rx_drain(struct port *p);
void rx_count_mac(struct port *p, uint32_t length, uint64_t frames, enum rx_verdict verdict, enum cast cast);

/* fifo.c */
bool fifo_push(struct port *p, const uint8_t *data, uint32_t length, const struct rx_class *class);
void fifo_pop(struct fifo *f);
void fifo_drained(struct port *p);
void fifo_clear(struct port *p);
void fifo_free(struct fifo *f);

/* ring.c */
void rx_configure(struct port *p);
void rx_fetch(struct port *p, struct rx_queue *q);
void rx_hear_all(struct port *p);
void rx_take_all(struct port *p);
void rx_flush(struct port *p, struct rx_queue *q);
void rx_flush_all(struct port *p);

/* held.c */
bool rx_flush_injected(struct port *p, struct rx_queue *q);
void rx_release_due(struct port *p);
void rx_held_stop(struct port *p, struct rx_queue *q);

/* write_back.c */
void write_back_run(struct port *p, struct rx_queue *q, uint32_t i, const struct desc *done, uint32_t count);
void rx_count_pending(struct port *p, struct rx_queue *q);

/* maps.c */
void rx_forget_map(struct port *p, const struct dma_map *map);
void rx_move_owners(struct port *p, const struct owners_moved *moved);
void rx_locate_rings(struct port *p);

/* The i-th descriptor; NULL if the ring is not in one mapping and it cannot be reached. */
static inline struct desc *rx_desc(struct port *p, const struct rx_queue *q, uint32_t i)
{
    if (__builtin_expect(q->ring != NULL, 1))
        return &q->ring[i];
    return (struct desc *)dma_host(p, q->base + sizeof(struct desc) * i, sizeof(struct desc), DMA_READ | DMA_WRITE);
}

/* Put `count` finished descriptors in line for write-back: payloads written, q->done filled from q->pend on; they do
 * not wrap. `frames` of them end a frame. */
static inline void rx_finish(struct port *p, struct rx_queue *q, uint32_t count, uint32_t frames, uint32_t bytes)
{
    struct rx_port *r = rx_of(p);
    if (q->pend == 0 && count)
        r->flush[r->flush_count++] = (uint8_t)q->number;
    q->pend += count;
    q->pend_frames += frames;
    q->pend_bytes += bytes;
    q->ready -= count;
    q->head = q->head + count == q->entries ? 0 : q->head + count;
}

#endif
