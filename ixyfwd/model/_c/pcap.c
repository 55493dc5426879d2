/* The pcap wire: frames out of a capture file that Python has read, and into a buffer that Python writes out. */
#include "datapath.h"
#include "pace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { REPLAY_BURST = 64, RECORD_HEADER_BYTES = 16, CAPTURE_RESERVE_BYTES = 1 << 20 };
_Static_assert(TX_BURST * (PLAIN_FRAME_MAX + RECORD_HEADER_BYTES) < CAPTURE_RESERVE_BYTES, "a burst fits");

struct pcap {
    dp_replay replay;
    dp_capture capture;
    const dp_record *records;
    const uint8_t *blob;
    uint64_t count, next, start_ps; /* start_ps: when record 0 of this round was due ("recorded") */
    bool loop;
};

static struct pcap *pcap_of(port_t *p)
{
    if (!p->pcap)
        p->pcap = calloc(1, sizeof *p->pcap);
    if (p->pcap)
        p->wire = WIRE_PCAP;
    return p->pcap;
}

/* `records` and `blob` stay the caller's and must outlive the port. */
int dp_plug_replay(port_t *p, const dp_record *records, uint64_t count, const uint8_t *blob, int loop,
                   const dp_pace *pace)
{
    struct pcap *w = pcap_of(p);
    if (!w)
        return -ENOMEM;
    w->replay.pace = *pace;
    w->records = records;
    w->blob = blob;
    w->count = count;
    w->loop = loop;
    return 0;
}

int dp_plug_capture(port_t *p, uint64_t buffer_bytes)
{
    struct pcap *w = pcap_of(p);
    if (!w || !(w->capture.buffer = malloc(buffer_bytes)))
        return -ENOMEM;
    w->capture.size = buffer_bytes;
    return 0;
}

dp_replay *dp_port_replay(port_t *p) { return p->pcap && p->pcap->records ? &p->pcap->replay : NULL; }
dp_capture *dp_port_capture(port_t *p) { return p->pcap && p->pcap->capture.buffer ? &p->pcap->capture : NULL; }

void pcap_free(struct pcap *w)
{
    if (!w)
        return;
    free(w->capture.buffer);
    free(w);
}

bool pcap_done(const struct pcap *w) { return w->next == w->count && !(w->loop && w->count); }

static void set_due(struct pcap *w, uint32_t length_before)
{
    dp_pace *pace = &w->replay.pace;
    if (pace->recorded)
        pace->due_ps = w->start_ps + w->records[w->next].time_ns * 1000;
    else
        pace->due_ps += pace_frame_ps(pace, length_before);
}

/* The file begins (again). */
static void rewind_file(struct pcap *w, uint64_t now_ps)
{
    w->next = 0;
    w->replay.rounds++;
    w->start_ps = now_ps;
    if (w->replay.pace.recorded)
        w->replay.pace.due_ps = now_ps;
}

static bool replay_one(struct port *p, struct pcap *w)
{
    const dp_record *r = &w->records[w->next];
    uint64_t too_long = p->stats.roc;
    if (rx_offer(p, w->blob + r->offset, r->length, w->replay.pace.max ? RX_WAIT_READY : RX_DROP) == RX_NO_ROOM)
        return false;
    w->replay.too_long += p->stats.roc - too_long;
    w->replay.sent++;
    w->replay.sent_bytes += r->length + CRC_BYTES;
    return true;
}

/* A file's frames are never given up: what is late is sent later. */
unsigned pcap_feed(struct port *p, struct pcap *w)
{
    uint64_t now_ps = clock_ps(p->dp);
    unsigned sent = 0;
    w->start_ps += pace_give_up(&w->replay.pace, now_ps, 1);
    while (sent < REPLAY_BURST && !pcap_done(w)) {
        if (w->next == w->count || (w->next == 0 && w->replay.rounds == 0))
            rewind_file(w, now_ps);
        if (!pace_due(&w->replay.pace, now_ps) || !replay_one(p, w))
            break;
        uint32_t length = w->records[w->next].length;
        w->next++;
        sent++;
        if (w->next < w->count || !w->replay.pace.recorded)
            set_due(w, length);
    }
    if (sent)
        rx_flush_all(p);
    return sent;
}

static void append(struct port *p, dp_capture *c, const struct frame *frame)
{
    uint64_t time_ns = p->dp->now_ns + p->dp->realtime_offset_ns;
    uint32_t header[4] = {
        (uint32_t)(time_ns / 1000000000u),
        (uint32_t)(time_ns % 1000000000u),
        frame->length,
        frame->length,
    };
    memcpy(c->buffer + c->used, header, sizeof header);
    memcpy(c->buffer + c->used + RECORD_HEADER_BYTES, frame->data, frame->length);
    c->used += RECORD_HEADER_BYTES + frame->length;
    c->captured++;
    c->captured_bytes += frame->length;
}

void pcap_consume(struct port *p, struct pcap *w, const struct frame *frames, unsigned count)
{
    dp_capture *c = &w->capture;
    for (unsigned k = 0; k < count && c->buffer; k++)
        if (c->failed || c->used + RECORD_HEADER_BYTES + frames[k].length > c->size)
            c->lost++;
        else
            append(p, c, &frames[k]);
    /* Room for one more burst must be left, or for the longest frame's segments; Python empties the buffer between
     * runs. */
    if (c->buffer && !c->failed && c->size - c->used < CAPTURE_RESERVE_BYTES)
        p->dp->capture_full = true;
}
