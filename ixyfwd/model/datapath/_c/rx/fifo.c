/* The receive packet buffer (3.2.3.1): a frame that finds no descriptors and may not be dropped (DROP_EN = 0) waits in it
 * and holds up everything behind it. Above FCRTH a port asks the far end of its cable to pause (3.2.3.2). */
#include "rx/rx.h"

#include <stdlib.h>
#include <string.h>

enum {
    BUFFER_BYTES = 512 << 10, /* the largest RXPBSIZE */
    /* A segmented packet leaves at once here. The part of it that a paused port would have kept in its transmit packet
     * buffer is kept at the far end instead. */
    PAUSED_BYTES = 160 << 10,
    STORE_BYTES = BUFFER_BYTES + PAUSED_BYTES,
    FRAME_ROOM = STORE_BYTES / (MIN_FRAME + CRC_BYTES),
    PAUSE_FRAME_BYTES = 64,
};

/* A wrapped frame leaves a hole shorter than itself: with one scratch frame to spare nothing overlaps. */
static bool allocate(struct fifo *f)
{
    if (!f->bytes)
        f->bytes = malloc(STORE_BYTES + SCRATCH_BYTES);
    if (!f->frames)
        f->frames = malloc(FRAME_ROOM * sizeof *f->frames);
    return f->bytes && f->frames;
}

void fifo_free(struct fifo *f)
{
    free(f->bytes);
    free(f->frames);
}

static void count_pause(struct port *p, struct port *peer, bool xoff)
{
    dp_stats *s = &p->stats;
    *(xoff ? &s->lxofftxc : &s->lxontxc) += 1;
    *(xoff ? &peer->stats.lxoffrxcnt : &peer->stats.lxonrxcnt) += 1;
    s->gptc++; /* pause frames are among these: drivers subtract them */
    s->tpt++;
    s->mptc++;
    s->ptc64++;
    s->gotc += PAUSE_FRAME_BYTES;
}

/* After every change of the filling; only a peer hears pause frames. */
static void flow_control(struct port *p)
{
    struct fifo *f = &rx_of(p)->fifo;
    const struct config *c = config_of(p);
    struct port *peer = p->peer;
    bool fills = c->pause_above && f->used > c->pause_above, empties = f->used <= c->resume_below;
    if (f->paused ? !empties && c->pause_above : !fills)
        return;
    f->paused = !f->paused;
    if (peer && p->link && peer->link) {
        if (f->paused || c->sends_xon)
            count_pause(p, peer, f->paused);
        peer->paused = f->paused;
        peer->pause_ends_ns = UINT64_MAX;
    }
}

/* False: it is full, the frame is gone. */
bool fifo_push(struct port *p, const uint8_t *data, uint32_t length, const struct rx_class *class)
{
    struct fifo *f = &rx_of(p)->fifo;
    uint32_t stored = length + CRC_BYTES, room = config_of(p)->buffer_bytes;
    if (f->paused && p->peer && p->peer->paused && config_of(p->peer)->heeds_pause)
        room += PAUSED_BYTES;
    if (f->used + stored > room || f->count == FRAME_ROOM || !allocate(f))
        return false;
    if (f->write + length > STORE_BYTES + SCRATCH_BYTES)
        f->write = 0;
    f->frames[(f->first + f->count++) % FRAME_ROOM] = (struct fifo_frame){*class, f->write, length};
    memcpy(f->bytes + f->write, data, length);
    f->write += length;
    f->used += stored;
    p->stats.rx_waiting = f->count;
    flow_control(p);
    return true;
}

/* The oldest one goes. fifo_drained follows when no more go. */
void fifo_pop(struct fifo *f)
{
    f->used -= f->frames[f->first].length + CRC_BYTES;
    f->first = (f->first + 1) % FRAME_ROOM;
    f->count--;
}

void fifo_drained(struct port *p)
{
    p->stats.rx_waiting = rx_of(p)->fifo.count;
    flow_control(p);
}

/* A reset empties it. */
void fifo_clear(struct port *p)
{
    struct fifo *f = &rx_of(p)->fifo;
    p->stats.rx_off += f->count;
    p->stats.rx_waiting = 0;
    f->count = f->used = f->first = f->write = 0;
    flow_control(p);
}
