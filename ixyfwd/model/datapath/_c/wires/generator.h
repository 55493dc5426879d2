/* The generator's frames, which the sink has to know too. */
#ifndef IXYFWD_GENERATOR_H
#define IXYFWD_GENERATOR_H

#include "traffic/format.h"
#include "wire/wire.h"

/* for Python */
typedef struct dp_generator {
    uint64_t sent, sent_bytes; /* bytes incl. CRC */
    dp_pace pace;
} dp_generator;
typedef struct dp_sink {
    uint64_t received, bytes, lost, reordered, duplicated, corrupted, foreign, touched;
    uint64_t latency_count, latency_max;
    uint32_t sampled_every; /* the thinnest sampling so far */
    uint32_t flows_seen, flows_on_several_queues;
    uint64_t latency[896]; /* log-linear: 32 steps to each power of two */
} dp_sink;
/* sizes: bytes without CRC; schedule: indices into sizes; templates: flows * size_count * 64 bytes. 0 or -ENOMEM. */
int dp_plug_generator(port_t *p, uint32_t flows, uint32_t size_count, const uint16_t *sizes, uint32_t schedule_length,
                      const uint8_t *schedule, const uint8_t *templates, uint64_t count, int verify_frame,
                      const dp_pace *pace);
dp_generator *dp_port_generator(port_t *p);
dp_sink *dp_port_sink(port_t *p);
/* Queues (two words of 64) that a flow came out of at this port, from any port's generator; 0 if not seen. */
int dp_flow_queues(port_t *p, uint32_t flow, uint64_t queues[2]);
uint32_t dp_flows(port_t *p); /* the largest number of flows of any generator in the port's data path */
/* end */

enum { NO_SIZE = 255 };
_Static_assert(HEAD_BYTES == MIN_FRAME, "the shortest frame is a head; what follows is dp->pattern");

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
    struct sink *sink;
    uint32_t flows, size_count, schedule_length, next;
    uint32_t order_generation; /* of the configuration that the lanes are in order for */
    uint32_t burst;         /* most frames at once */
    uint32_t rounds_waited; /* for room for a group */
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

static inline uint8_t *template_of(const struct generator *g, uint32_t flow, uint32_t size)
{
    return g->templates + (size_t)TEMPLATE_BYTES * (flow * g->size_count + size);
}

void sink_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes);
void sink_free(struct sink *s);
struct sink *sink_new(struct dp *dp, bool verify_frame);

/* The port's generator, known by its sink; NULL: another wire is plugged in. */
static inline struct generator *generator_of(const struct port *p)
{
    return p->wire->consume == sink_consume ? p->wire_state : NULL;
}

#endif
