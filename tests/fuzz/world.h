/* What a fuzz input acts on: two ports, one file that they reach parts of, and guards around all of it. */
#ifndef IXYFWD_FUZZ_WORLD_H
#define IXYFWD_FUZZ_WORLD_H

#include "datapath.h"
#include "declared.h" /* what the model's C declares for Python; made by who compiles this */

enum {
    GUARD_BYTES = 16 * 1024,
    OPEN_BYTES = 256 * 1024, /* what the device may be given */
    BUFFERS_AT = 16 * 1024,  /* before it: a ring of 32 descriptors for each port, direction and queue */
    BUFFER_STRIDE = 2048,
    BUFFERS = (OPEN_BYTES - BUFFERS_AT) / BUFFER_STRIDE,
    RING_ENTRIES = 32,
    RING_BYTES = RING_ENTRIES * 16,
    RINGS = 4, /* queues each way */
};
#define IOVA (1ull << 32)

enum wire_choice { CHOOSE_CABLE, CHOOSE_GENERATOR, CHOOSE_PCAP, CHOOSE_NONE, WIRE_CHOICES };

struct world {
    int fd;
    uint8_t *open; /* OPEN_BYTES; guards before and behind */
    uint32_t *stores[2];
    dp_t *dp;
    port_t *ports[2];
    enum wire_choice wire;
};

extern const unsigned QUEUE_NUMBERS[RINGS];

void world_begin(struct world *w, enum wire_choice wire);
void world_end(struct world *w);
void world_map(struct world *w, port_t *p, unsigned layout);
void world_cut(struct world *w, uint32_t bytes);
void world_run(struct world *w);
uint32_t ring_at(unsigned port, int rx, unsigned ring);

static inline void set_register(struct world *w, unsigned port, uint32_t offset, uint32_t value)
{
    w->stores[port][offset / 4] = value;
}

#endif
