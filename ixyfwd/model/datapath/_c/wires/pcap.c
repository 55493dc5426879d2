/* The pcap wire: frames out of a capture file that Python has read, and into a buffer that Python writes out. */
#include "tx/tx.h"
#include "wire/pace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* for Python */
typedef struct dp_record {
    uint64_t time_ns; /* since the first record */
    uint64_t offset;  /* into the blob */
    uint32_t length;
} dp_record;
typedef struct dp_replay {
    uint64_t sent, sent_bytes, too_long, rounds;
    uint32_t first_too_long_bytes; /* without CRC */
    dp_pace pace;
} dp_replay;
typedef struct dp_capture {
    uint64_t captured, captured_bytes, lost; /* lost: frames after the file could not be written any more */
    uint64_t used, size;
    uint8_t *buffer;
    uint8_t failed;
} dp_capture;
int dp_plug_replay(port_t *p, const dp_record *records, uint64_t count, const uint8_t *blob, int loop,
                   const dp_pace *pace);
int dp_plug_capture(port_t *p, uint64_t buffer_bytes);
dp_replay *dp_port_replay(port_t *p);
dp_capture *dp_port_capture(port_t *p);
/* end */

enum { REPLAY_BURST = 64, RECORD_HEADER_BYTES = 16, CAPTURE_RESERVE_BYTES = 1 << 20 };
_Static_assert(TX_BURST *(PLAIN_FRAME_MAX + RECORD_HEADER_BYTES) < CAPTURE_RESERVE_BYTES, "a burst fits");

struct pcap {
    dp_replay replay;
    dp_capture capture;
    const dp_record *records;
    const uint8_t *blob;
    uint64_t count, next, start_ps; /* start_ps: when record 0 of this round was due ("recorded") */
    bool loop;
};

static bool is_done(const struct pcap *w) { return w->next == w->count && !(w->loop && w->count); }

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
    if (rx_offer(p, w->blob + r->offset, r->length, w->replay.pace.waits ? RX_WAIT_READY : RX_DROP) == RX_NO_ROOM)
        return false;
    if (p->stats.roc != too_long && !w->replay.too_long++)
        w->replay.first_too_long_bytes = r->length;
    w->replay.sent++;
    w->replay.sent_bytes += r->length + CRC_BYTES;
    return true;
}

/* A file's frames are never given up: what is late is sent later. */
static unsigned pcap_feed(struct port *p)
{
    struct pcap *w = p->wire_state;
    uint64_t now_ps = clock_ps(p->dp);
    unsigned sent = 0;
    w->start_ps += pace_give_up(&w->replay.pace, now_ps, 1);
    while (sent < REPLAY_BURST && !is_done(w)) {
        if (w->next == w->count || (w->next == 0 && w->replay.rounds == 0))
            rewind_file(w, now_ps);
        if (!pace_due(&w->replay.pace, now_ps))
            break;
        if (!replay_one(p, w)) {
            w->start_ps += pace_resume(&w->replay.pace, now_ps, 1);
            break;
        }
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

static void pcap_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes)
{
    dp_capture *c = &((struct pcap *)p->wire_state)->capture;
    (void)queue, (void)bytes;
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

static bool pcap_done(const struct port *p) { return is_done(p->wire_state); }

static dp_pace *pcap_pace(struct port *p)
{
    struct pcap *w = p->wire_state;
    return w->records ? &w->replay.pace : NULL;
}

static void pcap_free(struct port *p)
{
    struct pcap *w = p->wire_state;
    free(w->capture.buffer);
    free(w);
}

static const struct wire_operations pcap_wire = {
    .feed = pcap_feed,
    .consume = pcap_consume,
    .done = pcap_done,
    .pace = pcap_pace,
    .free = pcap_free,
};

/* Replay and capture are plugged in one after the other. */
static struct pcap *pcap_of(port_t *p)
{
    if (p->wire != &pcap_wire) {
        struct pcap *w = calloc(1, sizeof *w);
        if (!w)
            return NULL;
        wire_plug(p, &pcap_wire, w);
    }
    return p->wire_state;
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

dp_replay *dp_port_replay(port_t *p) { return &((struct pcap *)p->wire_state)->replay; }
dp_capture *dp_port_capture(port_t *p) { return &((struct pcap *)p->wire_state)->capture; }
