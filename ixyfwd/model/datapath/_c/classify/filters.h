/* Filters that choose a queue before RSS does, in the form that filters.c wants. */
#ifndef IXYFWD_FILTERS_H
#define IXYFWD_FILTERS_H

#include <stdint.h>

struct ethertype_filter {
    uint32_t etqf, etqs;
    uint8_t number;
};
struct tuple_filter {
    uint32_t source, destination;
    uint16_t source_port, destination_port;
    uint8_t protocol, priority, skip, queue;
};
struct filters {
    unsigned ethertype_count, tuple_count;
    struct ethertype_filter ethertypes[8];
    struct tuple_filter tuples[128]; /* enabled ones, in the order in which they are tried */
    uint32_t syn;
};

#endif
