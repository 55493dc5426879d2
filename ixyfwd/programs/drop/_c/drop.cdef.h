/* What Python sees of the drop program: read by cffi and included by drop.h. */
#include "engine/batch.h"

enum { DROP_SHORTER, DROP_LONGER, DROP_EVERY }; /* causes: options.py */

struct drop {
    struct batch_view batch;
    uint64_t *bytes; /* of dropped frames, with CRC */
    uint64_t every;  /* of the frames whose length is no cause; 0: none */
    uint64_t spared;
    uint32_t shorter_than; /* bytes with CRC */
    uint32_t longer_than;
};

uint32_t drop_burst(struct drop *drop);
