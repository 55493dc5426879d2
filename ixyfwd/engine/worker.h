/* What the C of engines and NIC families knows of a worker's part of the arena, which ixyfwd/memory/layout.py and
 * ixyfwd/telemetry/counters.py lay out; tests compare the numbers. Plain enough for cffi, which reads it, too. */
#include "telemetry/words.h"

struct ring_state {
    uint32_t next;
    uint32_t tail;
    uint32_t clean;
    uint32_t spanning; /* rx: the last descriptor taken had no EOP, and its frame is to be dropped */
    uint32_t reserved[12];
};

struct pool {
    uint32_t count;
    uint32_t reserved[15];
    uint32_t stack[];
};

/* A batch and where its frames are, for programs that look into them. */
struct frames {
    struct batch_view batch;
    uint8_t *arena;
    const uint64_t *offsets; /* of each buffer id's frame in the arena */
};
