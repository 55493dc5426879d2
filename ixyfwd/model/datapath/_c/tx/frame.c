/* Transmit, one frame at a time: several buffers, context and legacy descriptors, and everything that is wrong. */
#include "tx/tx.h"
#include "tx/offload.h"

#include <string.h>

static uint32_t ring_index(const struct tx_queue *q, uint32_t ahead)
{
    uint32_t i = q->head + ahead;
    return i >= q->entries ? i - q->entries : i;
}

static bool is_context(const struct desc *d)
{
    return (d->q1 & (TXD_DEXT | TXD_DTYP)) == (TXD_DEXT | TXD_DTYP_CONTEXT);
}

/* Descriptors up to and with EOP, or the one that cannot be read; 0 if the frame is not complete yet. */
static uint32_t frame_descriptors(struct port *p, struct tx_queue *q, uint32_t owned)
{
    for (uint32_t k = 0; k < owned; k++) {
        const struct desc *d = tx_desc(p, q, ring_index(q, k));
        if (!d || (*(const volatile uint64_t *)&d->q1 & TXD_EOP) || (k == 0 && is_context(d)))
            return k + 1;
    }
    return owned == q->entries - 1 ? owned : 0; /* a full ring cannot become more complete */
}

/* A frame's descriptors as fetched: the driver may write them again, and so may a segment that arrives at its peer. */
struct tx_frame {
    struct desc parts[MAX_TX_BUFFERS];
    uint32_t count, length; /* length: sum of the buffers */
    bool ended;
};

/* Where the next byte of a frame comes from. */
struct reader {
    const struct tx_frame *frame;
    uint32_t part, at;
};

static void bad_frame(struct port *p, const struct tx_queue *q, const struct tx_frame *f)
{
    fault(p, FAULT_BAD_DESCRIPTOR, true, q->number, q->head, f->parts[0].q0);
}

static bool bad_type(const struct desc *d) { return (d->q1 & TXD_DEXT) && (d->q1 & TXD_DTYP) != TXD_DTYP_DATA; }

static bool segmented(const struct desc *first) { return (first->q1 & TXD_DEXT) && (first->q1 & TXD_TSE); }

/* Whether a buffer can be sent behind the `f->length` bytes before it. */
static bool check_part(struct port *p, struct tx_queue *q, uint32_t index, const struct desc *d,
                       const struct tx_frame *f)
{
    uint32_t length = d->q1 & TXD_LENGTH, limit = segmented(&f->parts[0]) ? SEGMENTED_MAX : FRAME_MAX;
    if (bad_type(d) || f->length + length > limit) {
        fault(p, FAULT_BAD_DESCRIPTOR, true, q->number, index, d->q0);
        return false;
    }
    if (!dma_reachable(p, d->q0, length, DMA_READ)) {
        fault(p, FAULT_DMA_UNMAPPED, true, q->number, index, d->q0);
        return false;
    }
    const struct dma_map *map = length ? dma_find(p, d->q0) : NULL;
    if (map && *owner_of(map, d->q0))
        fault(p, FAULT_BUFFER_REUSED, true, q->number, index, d->q0);
    return true;
}

/* Fetch a frame's descriptors. Returns false if one of them is such that it must not be sent; faults are recorded. */
static bool fetch_frame(struct port *p, struct tx_queue *q, uint32_t count, struct tx_frame *f)
{
    bool good = true;
    f->count = count;
    f->length = 0;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t index = ring_index(q, k);
        const struct desc *d = tx_desc(p, q, index);
        if (!d) {
            fault(p, FAULT_DMA_UNMAPPED, true, q->number, index, q->base + sizeof *d * index);
            return false;
        }
        struct desc copy = *d;
        if (k < MAX_TX_BUFFERS)
            f->parts[k] = copy;
        if (k == 0 && !bad_type(&copy) && !(copy.q1 & TXD_IFCS))
            bad_frame(p, q, f); /* without a CRC of the MAC or of software no receiver takes the frame */
        f->ended = copy.q1 & TXD_EOP;
        if ((copy.q1 & TXD_RS) && !f->ended) /* 7.2.3.2.2: RS is permitted only beside EOP */
            fault(p, FAULT_BAD_DESCRIPTOR, true, q->number, index, copy.q0);
        if (good && (good = check_part(p, q, index, &copy, f)))
            f->length += copy.q1 & TXD_LENGTH;
    }
    return good;
}

/* Checks what concerns the whole frame and reads its offloads. Returns false if it must not be sent. */
static bool check_frame(struct port *p, struct tx_queue *q, const struct tx_frame *f, struct offload *o)
{
    const struct desc *first = &f->parts[0];
    if (!f->ended || f->count > MAX_TX_BUFFERS || f->length < MIN_TX_FRAME) {
        bad_frame(p, q, f);
        return false;
    }
    enum offload_verdict verdict = offload_read(p, q, first, f->length, o);
    if (verdict == OFFLOAD_UNSUPPORTED)
        fault(p, FAULT_UNSUPPORTED_OFFLOAD, true, q->number, q->head, first->q0);
    if (verdict == OFFLOAD_BAD || (!o->segment && f->length > FRAME_MAX)) {
        bad_frame(p, q, f);
        return false;
    }
    bool honest = !(first->q1 & TXD_DEXT) || segmented(first) || first->q1 >> 46 == f->length;
    if (!honest)
        bad_frame(p, q, f);
    return true;
}

/* The next `bytes` bytes of a frame, which has as many. */
static void take(struct port *p, struct reader *r, uint8_t *to, uint32_t bytes)
{
    while (bytes) {
        const struct desc *d = &r->frame->parts[r->part];
        uint32_t left = (d->q1 & TXD_LENGTH) - r->at, now = left < bytes ? left : bytes;
        dma_copy_in(p, d->q0 + r->at, to, now);
        to += now;
        bytes -= now;
        r->at += now;
        if (now == left) {
            r->part++;
            r->at = 0;
        }
    }
}

/* `data` has room for a tag in front of it and for padding behind. */
static void send_bytes(struct port *p, struct tx_queue *q, const struct offload *o, uint8_t *data, uint32_t length)
{
    if (o->tag) {
        data -= TAG_BYTES;
        length += TAG_BYTES;
        offload_tag(o, data);
    }
    if (length < MIN_FRAME && config_of(p)->tx_pad) {
        memset(data + length, 0, MIN_FRAME - length);
        length = MIN_FRAME;
    }
    struct frame frame = {data, length};
    wire_consume(p, q->number, &frame, 1, length);
    tx_count(p, q, &frame, 1, length, false);
}

static bool send_whole(struct port *p, struct tx_queue *q, const struct tx_frame *f, const struct offload *o)
{
    struct reader r = {f, 0, 0};
    uint8_t *data = tx_of(p)->gather + TAG_BYTES;
    take(p, &r, data, f->length);
    if (!offload_fits(o, data))
        return false;
    offload_frame(o, data, f->length);
    send_bytes(p, q, o, data, f->length);
    return true;
}

static bool send_segments(struct port *p, struct tx_queue *q, const struct tx_frame *f, const struct offload *o)
{
    struct reader r = {f, 0, 0};
    uint8_t headers[HEADERS_MAX], *data = tx_of(p)->gather + TAG_BYTES;
    take(p, &r, headers, o->payload_at);
    if (!offload_fits(o, headers))
        return false;
    uint32_t payload = f->length - o->payload_at;
    for (struct segment s = {0, 0, false}; !s.last; s.number++) {
        uint32_t left = payload - s.before, bytes = left < o->mss ? left : o->mss;
        s.last = bytes == left;
        memcpy(data, headers, o->payload_at);
        take(p, &r, data + o->payload_at, bytes);
        offload_segment(o, data, o->payload_at + bytes, &s);
        send_bytes(p, q, o, data, o->payload_at + bytes);
        s.before += bytes;
    }
    return true;
}

/* Returns false if the frame was dropped; faults are recorded. */
static bool send_frame(struct port *p, struct tx_queue *q, uint32_t count)
{
    struct tx_frame f;
    struct offload o;
    if (!fetch_frame(p, q, count, &f) || !check_frame(p, q, &f, &o))
        return false;
    bool sent = o.segment ? send_segments(p, q, &f, &o) : send_whole(p, q, &f, &o);
    if (!sent)
        bad_frame(p, q, &f);
    return sent;
}

static void load_context(struct port *p, struct tx_queue *q, const struct desc *d)
{
    unsigned index = d->q1 >> 36 & 7;
    if (index < CONTEXTS)
        q->contexts[index] = *d;
    else
        fault(p, FAULT_BAD_DESCRIPTOR, true, q->number, q->head, d->q0);
}

/* Move the head over `count` descriptors, writing back those with RS. */
static void retire(struct port *p, struct tx_queue *q, uint32_t count)
{
    bool report = false;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t i = ring_index(q, 0);
        const struct desc *d = tx_desc(p, q, i);
        if (d && (d->q1 & TXD_RS)) {
            tx_write_back(p, q, i);
            report = true;
        }
        q->head = i + 1 == q->entries ? 0 : i + 1;
    }
    if (report && q->head_writeback)
        tx_write_head(p, q);
}

/* The frame or context at the head; returns the descriptors used up, 0 if it is not complete. */
unsigned tx_send_any(struct port *p, struct tx_queue *q, uint32_t owned)
{
    uint32_t count = frame_descriptors(p, q, owned);
    if (!count)
        return 0;
    const struct desc *head = tx_desc(p, q, q->head);
    if (head && is_context(head))
        load_context(p, q, head);
    else if (!send_frame(p, q, count))
        p->stats.tx_dropped++;
    retire(p, q, count);
    return count;
}
