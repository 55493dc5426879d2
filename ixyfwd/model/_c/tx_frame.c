/* Transmit, one frame at a time: several buffers, context and legacy descriptors, and everything that is wrong. */
#include "datapath.h"
#include "registers.h"
#include "tx.h"

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

/* What the first descriptor decides for the whole frame. Returns false if it makes the frame unsendable. */
static void check_first(struct port *p, struct tx_queue *q, const struct desc *d)
{
    uint32_t d2 = (uint32_t)d->q1, d3 = (uint32_t)(d->q1 >> 32);
    bool offload = d2 & TXD_DEXT ? (d2 & (TXD_VLE | TXD_TSE)) || (d3 & TXD_POPTS) : d2 & (TXD_LEGACY_IC | TXD_VLE);
    if (offload)
        fault(p, FAULT_UNSUPPORTED_OFFLOAD, true, q->number, q->head, d->q0);
    if (!(d2 & TXD_IFCS)) /* without a CRC of the MAC or of software no receiver takes the frame */
        fault(p, FAULT_BAD_DESCRIPTOR, true, q->number, q->head, d->q0);
}

static bool bad_type(const struct desc *d)
{
    return (d->q1 & TXD_DEXT) && (d->q1 & TXD_DTYP) != TXD_DTYP_DATA;
}

/* Copy one buffer behind the `have` bytes gathered so far. */
static bool gather_one(struct port *p, struct tx_queue *q, uint32_t index, const struct desc *d, uint32_t have)
{
    uint32_t length = d->q1 & TXD_LENGTH;
    if (bad_type(d) || have + length > FRAME_MAX) {
        fault(p, FAULT_BAD_DESCRIPTOR, true, q->number, index, d->q0);
        return false;
    }
    if (!dma_reachable(p, d->q0, length, DMA_READ)) {
        fault(p, FAULT_DMA_UNMAPPED, true, q->number, index, d->q0);
        return false;
    }
    struct dma_map *map = length ? dma_find(p, d->q0) : NULL;
    if (map && *owner_word(map, d->q0) & owner_bit(map->host + (d->q0 - map->iova)))
        fault(p, FAULT_BUFFER_REUSED, true, q->number, index, d->q0);
    dma_copy_in(p, d->q0, p->gather + have, length);
    return true;
}

/* The frame's bytes into p->gather. Returns its length, 0 if it must not be sent; faults are recorded. */
static uint32_t gather(struct port *p, struct tx_queue *q, uint32_t count, struct desc *first)
{
    uint32_t length = 0, paylen = 0;
    bool good = true, ended = false;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t index = ring_index(q, k);
        const struct desc *d = tx_desc(p, q, index);
        if (!d) {
            fault(p, FAULT_DMA_UNMAPPED, true, q->number, index, q->base + sizeof *d * index);
            return 0;
        }
        struct desc copy = *d; /* the driver may be writing it */
        if (k == 0) {
            *first = copy;
            paylen = copy.q1 & TXD_DEXT ? (uint32_t)(copy.q1 >> 46) : 0;
            if (!bad_type(&copy))
                check_first(p, q, &copy);
        }
        ended = copy.q1 & TXD_EOP;
        if (good && (good = gather_one(p, q, index, &copy, length)))
            length += copy.q1 & TXD_LENGTH;
    }
    if (!good)
        return 0;
    bool sendable = ended && count <= MAX_TX_BUFFERS && length >= MIN_TX_FRAME;
    bool honest = !(first->q1 & TXD_DEXT) || (first->q1 & TXD_TSE) || paylen == length;
    if (!sendable || !honest)
        fault(p, FAULT_BAD_DESCRIPTOR, true, q->number, q->head, first->q0);
    return sendable ? length : 0;
}

static void send_gathered(struct port *p, struct tx_queue *q, uint32_t length)
{
    if (length < MIN_FRAME && p->config.tx_pad) {
        memset(p->gather + length, 0, MIN_FRAME - length);
        length = MIN_FRAME;
    }
    struct frame frame = {p->gather, length};
    wire_consume(p, q->number, &frame, 1, length);
    tx_count(p, q, &frame, 1, length, false);
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

/* The frame or context at the head, whatever it is; returns the descriptors used up, 0 if it is not complete. */
unsigned tx_send_any(struct port *p, struct tx_queue *q, uint32_t owned)
{
    uint32_t count = frame_descriptors(p, q, owned);
    if (!count)
        return 0;
    const struct desc *head = tx_desc(p, q, q->head);
    if (head && is_context(head)) {
        q->contexts[head->q1 >> 36 & 1] = *head;
    } else {
        struct desc first = {0, 0};
        uint32_t length = gather(p, q, count, &first);
        if (length)
            send_gathered(p, q, length);
        else
            p->stats.tx_dropped++;
    }
    retire(p, q, count);
    return count;
}
