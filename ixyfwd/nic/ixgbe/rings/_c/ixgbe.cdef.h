/* What Python sees of the rings: read by cffi and included by ixgbe.h. */
#include "engine/batch.h"
#include "engine/worker.h"

enum {
    RS_INTERVAL = 32, /* descriptors.py */
    DESCRIPTORS_PER_LINE = 4,
};

enum {
    SINGLES = 8,         /* bursts of one frame in a row before it is the next direction's turn */
    MAX_BURSTS = 0xffff, /* that a call of forward() can report */
};

struct descriptor {
    uint64_t q0;
    uint64_t q1;
};

/* A ring and the batch that it fills or empties: all that a burst needs. Nothing in it changes from burst to burst. */
struct queue {
    struct descriptor *descriptors;
    uint32_t *ids;
    struct ring_state *state;
    struct pool *pool;
    const uint64_t *addresses; /* device address of each buffer id */
    uint64_t *counters;        /* the port's block of the counters page */
    volatile uint32_t *doorbell;
    struct batch_view batch;
    uint32_t mask;
};

/* One direction of a link; its queues and frames share a batch, for bursts that are not plain. */
struct direction {
    struct queue *rx;
    struct queue *tx;
    struct frames *frames; /* NULL: they pass unchanged */
    uint32_t limit;       /* most frames of a burst */
};

struct forwarder {
    const struct direction *directions;
    uint64_t *page; /* the worker's counters page */
    uint32_t count;
    uint32_t limit;    /* bursts and empty rounds after which it returns; the round that gets there is finished */
    uint32_t patience; /* empty rounds in a row after which it returns */
    int32_t clock;     /* that busy time is counted by */
    int64_t pause_ns;  /* gaps between two looks at the rings that are longer may be pauses */
    uint64_t paused_busy_ns; /* of BUSY_NS, what the pauses in it took */
};

/* A generator, which fills a batch: frame k belongs to flow k modulo flows and is its (k / flows)-th. */
struct source {
    struct batch_view batch;
    struct queue *queue; /* the tx ring, for its room */
    uint8_t *arena;
    const uint64_t *offsets; /* of each buffer id's frame in the arena */
    volatile uint64_t *page; /* the worker's counters page */
    const uint8_t *templates; /* 64 bytes each: rows of size_count, by flow */
    const uint16_t *sizes;    /* bytes without CRC */
    const uint64_t *frame_ps; /* by size: until the next frame is due; all 0: as fast as the ring takes them */
    const uint8_t *schedule;  /* index into sizes; flow f is f steps ahead */
    uint64_t mean_ps;
    uint64_t begun_ns;
    uint64_t due_ps; /* since begun_ns */
    uint64_t left;
    uint32_t flows;
    uint32_t size_count;
    uint32_t schedule_length;
    uint32_t flow;
    uint32_t sequence;
};

uint32_t source_burst(struct source *source);
uint32_t rx_burst(struct queue *queue);
uint32_t tx_burst(struct queue *queue);
uint32_t tx_clean(struct queue *queue);

uint32_t rx_burst_segmented(struct queue *queue);
uint32_t tx_burst_segmented(struct queue *queue);
uint32_t tx_clean_segmented(struct queue *queue);
/* Returns the bursts that had frames << 16 | the empty rounds at its end. */
uint32_t forward(struct forwarder *forwarder);
