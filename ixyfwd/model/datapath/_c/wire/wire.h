/* What is at the far end of a port's link: a `struct wire_operations` for each kind of wire, in a file of its own in
 * the rung `wires`. What sends through it knows these operations only. */
#ifndef IXYFWD_WIRE_H
#define IXYFWD_WIRE_H

#include "rx/rx.h"

/* for Python */
/* How fast a feeding wire offers frames. */
typedef struct dp_pace {
    uint64_t frame_ps;   /* picoseconds from frame to frame, plus ... */
    uint64_t byte_ps;    /* ... picoseconds for each byte on the wire, preamble, gap and CRC included */
    uint64_t shortfall;  /* frames not sent because the model fell behind, or the wire had to wait */
    uint64_t due_ps;     /* when the next frame is due; CLOCK_MONOTONIC */
    uint8_t max;         /* as fast as the port has room */
    uint8_t recorded;    /* by the time stamps of a capture file */
    uint8_t waits;       /* for room in the port instead of overrunning it; always with `max` */
    uint8_t starts;      /* it was held back until now */
} dp_pace;

void dp_set_link(port_t *p, int up);
void dp_feed(port_t *p, int on);
int dp_feed_done(port_t *p);
/* end */

/* NULL: the wire has no such thing. All are called for a port that the wire is plugged into. */
struct wire_operations {
    /* Frames into the port, as many as are due and have room; returns how many. Once a round while it may feed. */
    unsigned (*feed)(struct port *p);
    /* Takes the frames that the port sent; their memory is gone afterwards. `bytes`: sum of the lengths. */
    void (*consume)(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes);
    /* Whether `feed` has nothing more to send. NULL: there may always be more. */
    bool (*done)(const struct port *p);
    /* The pace of a wire that sends by the clock; may return NULL. */
    dp_pace *(*pace)(struct port *p);
    /* A descriptor that is readable when there is something to feed; -1: none now. */
    int (*wake_fd)(const struct port *p);
    /* Frees what was given to wire_plug. */
    void (*free)(struct port *p);
};

void wire_plug(struct port *p, const struct wire_operations *wire, void *state);
void wire_init(struct port *p);
void wire_free(struct port *p);
uint64_t wire_due_ps(struct port *p);
int wire_wake_fd(const struct port *p);
void wire_loop_back(struct port *p, const struct frame *frames, unsigned count);
void wire_consume_damaged(struct port *p, unsigned queue, const struct frame *frames, unsigned count);

static inline unsigned wire_feed(struct port *p)
{
    if (!p->feeding || !p->link || config_of(p)->loopback || !p->wire->feed)
        return 0;
    return p->wire->feed(p);
}

/* What the port sent, past any damage on demand. `bytes`: sum of the lengths. */
static inline void wire_take(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes)
{
    if (__builtin_expect(config_of(p)->loopback, 0)) {
        wire_loop_back(p, frames, count);
        return;
    }
    p->far_end.sent += count;
    p->far_end.sent_bytes += bytes + (uint64_t)count * CRC_BYTES;
    if (p->wire->consume)
        p->wire->consume(p, queue, frames, count, bytes);
}

/* What the port sent. `bytes`: sum of the lengths. */
static inline void wire_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count,
                                uint64_t bytes)
{
    if (__builtin_expect(p->inject.damage_tx.on, 0))
        wire_consume_damaged(p, queue, frames, count);
    else
        wire_take(p, queue, frames, count, bytes);
}

#endif
