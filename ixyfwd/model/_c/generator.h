/* The generator's frames, which the sink has to know too. */
#ifndef IXYFWD_GENERATOR_H
#define IXYFWD_GENERATOR_H

#include "datapath.h"

enum {
    TEMPLATE_BYTES = 64,  /* the first MIN_FRAME bytes of a frame; the rest is dp->pattern */
    AT_MARK = 42,         /* generator number, then MARK */
    AT_FLOW = 44,         /* u32 */
    AT_TOUCH = 48,        /* the byte that the `touch` program increments, then three zeros */
    AT_SEQUENCE = 52,     /* u32, counts within the flow */
    AT_STAMP = 56,        /* u32, low bits of CLOCK_MONOTONIC in ns */
    MARK = 0xA5,
    NO_SIZE = 255,
};

/* One flow at one size: how it is delivered. Two to a cache line. */
struct lane {
    uint64_t q0, q1; /* the write-back, while plain_generation is the present one: then a frame fills one buffer */
    uint32_t plain_generation;
    uint32_t generation; /* of the configuration that its entry in `classes` was made with */
    uint32_t flow;
    uint16_t queue;
    uint16_t run; /* how many lanes from here on go the plain way into this queue, as of generator.order_generation */
};

struct flow {
    uint32_t sequence, step; /* step: position in the size schedule */
};

struct generator {
    dp_generator public;
    uint32_t flows, size_count, schedule_length, next;
    uint32_t order_generation; /* of the configuration that the lanes are in order for */
    uint32_t burst;         /* most frames at once */
    uint32_t rounds_waited; /* for room for a group */
    bool starts;            /* no frame was due yet */
    uint64_t left; /* frames still to send; UINT64_MAX: no end */
    uint64_t mean_frame_ps, min_frame_ps;
    uint16_t sizes[NO_SIZE];
    uint8_t *schedule, *templates;
    struct flow *flow;
    struct lane *lanes;       /* rows of size_count, in the order of sending; `next` is a row */
    struct rx_class *classes; /* by flow and size */
    uint8_t number;
    uint8_t size_of_length[FRAME_MAX + 1]; /* index into sizes, or NO_SIZE */
    uint8_t slow[FRAME_MAX];               /* a frame that cannot be composed in the rx buffer */
};

#endif
