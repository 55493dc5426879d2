/* What every wire has in common. */
#include "wire/wire.h"

#include <string.h>

static const struct wire_operations unplugged;

/* `state` is the wire's own, in p->wire_state. */
void wire_plug(struct port *p, const struct wire_operations *wire, void *state)
{
    p->wire = wire;
    p->wire_state = state;
}

void wire_init(struct port *p) { wire_plug(p, &unplugged, NULL); }

void wire_free(struct port *p)
{
    if (p->wire->free)
        p->wire->free(p);
    wire_init(p);
}

/* HLREG0.LPBK: what is sent comes back inside the MAC and the wire sees none of it. */
void wire_loop_back(struct port *p, const struct frame *frames, unsigned count)
{
    for (unsigned k = 0; k < count; k++)
        rx_offer(p, frames[k].data, frames[k].length, RX_DROP);
    rx_flush_all(p);
}

/* A burst for the wire, of which some frames are damaged; the driver's own buffers are not touched. */
void wire_consume_damaged(struct port *p, unsigned queue, const struct frame *frames, unsigned count)
{
    uint8_t copy[SCRATCH_BYTES];
    for (unsigned k = 0; k < count; k++) {
        struct frame frame = frames[k];
        if (inject_damages(&p->inject.damage_tx)) {
            memcpy(copy, frame.data, frame.length);
            inject_damage(&p->inject.damage_tx, copy, frame.length);
            frame.data = copy;
        }
        wire_take(p, queue, &frame, 1, frame.length);
    }
}

static dp_pace *pace_of(struct port *p) { return p->wire->pace ? p->wire->pace(p) : NULL; }

/* The time that a wire was held back is not made good. */
static void restart_clock(struct port *p)
{
    dp_pace *pace = pace_of(p);
    if (!pace)
        return;
    p->dp->now_ns = clock_ns();
    pace->starts = 1;
    if (pace->due_ps < clock_ps(p->dp) && !pace->recorded)
        pace->due_ps = clock_ps(p->dp);
}

/* When this port's wire wants to send next; UINT64_MAX: not by the clock. */
uint64_t wire_due_ps(struct port *p)
{
    const dp_pace *pace = pace_of(p);
    if (!pace || !p->feeding || !p->link || dp_feed_done(p))
        return UINT64_MAX;
    return pace->max ? UINT64_MAX : pace->due_ps;
}

/* What wakes a sleeping loop, or -1. */
int wire_wake_fd(const struct port *p) { return p->wire->wake_fd && p->feeding && p->link ? p->wire->wake_fd(p) : -1; }

int dp_feed_done(port_t *p) { return !p->wire->feed || (p->wire->done && p->wire->done(p)); }

void dp_set_link(port_t *p, int up)
{
    if (!p->link && up)
        restart_clock(p);
    p->link = up;
    p->paused = p->paused && up;
}

void dp_feed(port_t *p, int on)
{
    if (!p->feeding && on)
        restart_clock(p);
    p->feeding = on;
}
