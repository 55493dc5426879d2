/* Misbehaviour on demand (inject/kinds.py) as far as it asks nothing of rings: stalls, doorbells that are not heard,
 * damaged frames. Everything here is reached through one branch that is not taken while nothing is injected. */
#ifndef IXYFWD_INJECT_H
#define IXYFWD_INJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath.h"

/* for Python */
/* Frames whose byte at `offset` (the last one of a shorter frame) has `bits` flipped: every `every`-th, or, if `chance`
 * is not 0, with a probability of chance / 2^32; `left` of them at most. */
typedef struct dp_damage {
    uint64_t every, left, seen, count, random;
    uint32_t chance, offset;
    uint8_t bits, on;
} dp_damage;

/* Misbehaviour on demand; call dp_inject_changed after a change. Queues: one bit each. The last group is C's own. */
typedef struct dp_inject {
    uint64_t stall_rx[2], stall_tx[2], stuck_rx[2], stuck_tx[2], delay_rx[2], delay_tx[2], reorder_rx[2];
    uint64_t doorbell_rx[2], doorbell_tx[2];
    uint64_t delay_ns, reorder_ns, reorder_frames, doorbell_every;
    dp_damage damage_rx, damage_tx;
    uint64_t held, doorbells_lost, written_back; /* held: write-backs that were set aside so far */
    uint8_t rx_stalls, tx_stalls, rx_holds, tx_holds, holds, doorbells;
} dp_inject;

dp_inject *dp_port_inject(port_t *p);
/* end */

enum { QUEUES = 128 };

struct doorbell {
    uint32_t written, heard;
    uint64_t rung;
    bool known;
};

static inline bool injected_at(const uint64_t *queues, unsigned n) { return queues[n >> 6] >> (n & 63) & 1; }
static inline bool injected_anywhere(const uint64_t *queues) { return queues[0] || queues[1]; }
static inline bool inject_withholds_rx(const dp_inject *j)
{
    return injected_anywhere(j->stuck_rx) || injected_anywhere(j->delay_rx) || injected_anywhere(j->reorder_rx);
}

bool inject_stalls(const struct port *p, bool tx, unsigned n);
uint32_t inject_tail(struct port *p, bool tx, unsigned n, uint32_t tail);
bool inject_damages(dp_damage *d);
void inject_damage(dp_damage *d, uint8_t *data, uint32_t length);

#endif
