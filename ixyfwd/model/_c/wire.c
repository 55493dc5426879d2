/* What every wire has in common: which one it is, and the two that are hardly one (cable, none). */
#include "datapath.h"
#include "generator.h"
#include "pace.h"

#include <stdlib.h>

/* The pace of a wire that sends by the clock, or NULL. */
static dp_pace *pace_of(struct port *p)
{
    if (p->wire == WIRE_GENERATOR)
        return &p->generator->public.pace;
    dp_replay *replay = p->wire == WIRE_PCAP ? dp_port_replay(p) : NULL;
    return replay ? &replay->pace : NULL;
}

unsigned wire_feed(struct port *p)
{
    if (!p->feeding || !p->link || p->config.loopback)
        return 0;
    switch (p->wire) {
    case WIRE_GENERATOR:
        return generator_feed(p, p->generator);
    case WIRE_TAP:
        return tap_feed(p, p->tap);
    case WIRE_PCAP:
        return pcap_feed(p, p->pcap);
    default:
        return 0;
    }
}

/* To the other end of a cable; a frame that arrives where the link is down or nothing is plugged in is gone. */
static void cable_consume(struct port *p, const struct frame *frames, unsigned count)
{
    struct port *peer = p->peer;
    for (unsigned k = 0; k < count && peer && peer->link && !peer->config.loopback; k++) {
        rx_offer(peer, frames[k].data, frames[k].length, RX_DROP);
        peer->far_end.received++;
        peer->far_end.received_bytes += frames[k].length + CRC_BYTES;
    }
    if (peer)
        rx_flush_all(peer);
}

/* HLREG0.LPBK: what is sent comes back inside the MAC and the wire sees none of it. */
static void loop_back(struct port *p, const struct frame *frames, unsigned count)
{
    for (unsigned k = 0; k < count; k++)
        rx_offer(p, frames[k].data, frames[k].length, RX_DROP);
    rx_flush_all(p);
}

/* `bytes`: sum of the lengths. */
void wire_take(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes)
{
    if (p->config.loopback) {
        loop_back(p, frames, count);
        return;
    }
    p->far_end.sent += count;
    p->far_end.sent_bytes += bytes + (uint64_t)count * CRC_BYTES;
    switch (p->wire) {
    case WIRE_GENERATOR:
        sink_consume(p->sink, queue, frames, count, bytes);
        break;
    case WIRE_TAP:
        tap_consume(p->tap, frames, count);
        break;
    case WIRE_PCAP:
        pcap_consume(p, p->pcap, frames, count);
        break;
    case WIRE_CABLE:
        cable_consume(p, frames, count);
        break;
    default:
        break;
    }
}

/* `bytes`: sum of the lengths. */
void wire_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes)
{
    if (__builtin_expect(p->inject.damage_tx.on, 0))
        inject_consume(p, queue, frames, count);
    else
        wire_take(p, queue, frames, count, bytes);
}

void wire_free(struct port *p)
{
    generator_free(p->generator);
    sink_free(p->sink);
    tap_free(p->tap);
    pcap_free(p->pcap);
}

/* The time that a wire was held back is not made good. */
void wire_restart_clock(struct port *p)
{
    dp_pace *pace = pace_of(p);
    if (!pace)
        return;
    p->dp->now_ns = clock_ns();
    if (p->wire == WIRE_GENERATOR)
        p->generator->starts = true;
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

/* What wakes a sleeping loop; not while a frame is held for want of room, or it would not sleep at all. */
int wire_wake_fd(struct port *p)
{
    return p->wire == WIRE_TAP && p->feeding && p->link && !tap_waits(p->tap) ? dp_port_tap(p)->fd : -1;
}

int dp_feed_done(port_t *p)
{
    switch (p->wire) {
    case WIRE_GENERATOR:
        return generator_done(p->generator);
    case WIRE_PCAP:
        return pcap_done(p->pcap);
    case WIRE_TAP:
        return 0;
    default:
        return 1;
    }
}

void dp_plug_cable(port_t *p, port_t *peer)
{
    p->peer = peer;
    p->wire = WIRE_CABLE;
}

void dp_plug_none(port_t *p) { p->wire = WIRE_NONE; }
dp_far_end *dp_port_far_end(port_t *p) { return &p->far_end; }
