/* The flow director's table (7.1.2.7). */
#ifndef IXYFWD_FDIR_H
#define IXYFWD_FDIR_H

#include <stdbool.h>
#include <stdint.h>

enum { FDIR_BUCKETS = 32768, FDIR_FILTERS = 32768 };

/* What a frame, or a filter, is known by. Addresses and the flexible bytes are as on the wire, first byte lowest; the
 * rest is as numbers. */
struct fdir_key {
    uint32_t source, destination;
    uint16_t source_port, destination_port, vlan, flex;
    uint8_t flow; /* 1:0 L4 type, 2 IPv6 */
};

struct fdir_filter {
    struct fdir_key key; /* of a perfect filter */
    uint32_t command, next; /* next: number + 1 of the following one in the bucket */
    uint16_t bucket, index; /* index: signature, or the software's index of a perfect filter */
    bool collided;
};

struct fdir {
    bool enabled, perfect;
    uint32_t ctrl, free, used, unused, longest; /* used: ever; unused: first of those given back, number + 1 */
    uint32_t mask;                                  /* of the bucket's number */
    uint32_t *heads; /* number + 1 of a bucket's first; made when it is first enabled */
    struct fdir_filter *filters;
};

#endif
