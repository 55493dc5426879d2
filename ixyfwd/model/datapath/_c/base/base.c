/* Fault records, the clock, and what Python reads and switches of a port. */
#include "base/base.h"

#include <time.h>

uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void fault(struct port *p, enum fault_kind kind, bool tx, unsigned queue, uint32_t index, uint64_t address)
{
    dp_faults *f = &p->faults;
    f->recent[f->total % 64] = (dp_fault){
        .address = address,
        .time_ns = clock_ns(),
        .index = index,
        .queue = (uint16_t)queue,
        .kind = (uint8_t)kind,
        .tx = tx,
    };
    f->total++;
    f->by_kind[kind]++;
}

dp_stats *dp_port_stats(port_t *p) { return &p->stats; }
dp_faults *dp_port_faults(port_t *p) { return &p->faults; }
dp_causes *dp_port_causes(port_t *p) { return &p->causes; }
dp_far_end *dp_port_far_end(port_t *p) { return &p->far_end; }
void dp_set_bus_master(port_t *p, int on) { p->bus_master = on; }
void dp_set_tail_mapped(port_t *p, int on) { p->tail_mapped = on; }
