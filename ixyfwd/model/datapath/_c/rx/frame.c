/* A frame's way from the wire into a ring (7.1.1 to 7.1.3), and what is counted on it (8.2.3.23). */
#include "rx/rx.h"

#include <string.h>

enum { PAUSE_QUANTUM_PS = 51200 }; /* 512 bit times at 10 Gbit/s */

static uint64_t *size_bin(dp_stats *s, uint32_t bytes)
{
    if (bytes <= 64)
        return &s->prc64;
    if (bytes < 128)
        return &s->prc127;
    if (bytes < 256)
        return &s->prc255;
    if (bytes < 512)
        return &s->prc511;
    return bytes < 1024 ? &s->prc1023 : &s->prc1522;
}

/* `frames` frames of `length` bytes without CRC, up to the end of the MAC and its filters. */
void rx_count_mac(struct port *p, uint32_t length, uint64_t frames, enum rx_verdict verdict, enum cast cast)
{
    dp_stats *s = &p->stats;
    uint64_t octets = frames * (length + (config_of(p)->crc_strip ? 0 : CRC_BYTES));
    s->tpr += frames;
    s->tor += frames * (length + CRC_BYTES);
    if (verdict == RX_OVERSIZE) {
        s->roc += frames;
        return;
    }
    s->rxnfgpc += frames;
    s->rxnfgbc += octets;
    if (verdict == RX_FILTERED) {
        s->rx_filtered += frames;
        return;
    }
    s->gprc += frames;
    s->gorc += octets;
    *size_bin(s, length + CRC_BYTES) += frames;
    if (cast == BROADCAST)
        s->bprc += frames;
    else if (cast == MULTICAST)
        s->mprc += frames;
}

static uint32_t delivered_bytes(const struct port *p, const struct rx_queue *q, const struct rx_class *class,
                                uint32_t length)
{
    if (q->strip_vlan && (class->status & RXD_VP))
        length -= 4;
    return length + (config_of(p)->crc_strip ? 0 : CRC_BYTES);
}

/* Tag taken out, CRC put on. The CRC is that of the frame on the wire. */
static const uint8_t *edited(struct port *p, const struct rx_queue *q, const uint8_t *data, uint32_t length,
                             const struct rx_class *class)
{
    bool strip = q->strip_vlan && (class->status & RXD_VP);
    if (!strip && config_of(p)->crc_strip)
        return data;
    uint32_t crc = config_of(p)->crc_strip ? 0 : crc32_of(data, length);
    uint8_t *edit = rx_of(p)->edit;
    memmove(edit, data, length);
    if (strip) {
        memmove(edit + class->tag_at, edit + class->tag_at + 4, length - class->tag_at - 4);
        length -= 4;
    }
    memcpy(edit + length, &crc, CRC_BYTES);
    return edit;
}

static struct rx_slot *slot_at(struct rx_queue *q, uint32_t ahead)
{
    uint32_t i = q->head + ahead;
    return &q->slots[i >= q->entries ? i - q->entries : i];
}

/* Whether the next descriptors can all be written; those that cannot are faults. */
static bool slots_usable(struct port *p, struct rx_queue *q, uint32_t count, uint32_t bytes)
{
    bool usable = true;
    for (uint32_t k = 0; k < count; k++) {
        const struct rx_slot *slot = slot_at(q, k);
        uint32_t piece = bytes < q->buffer_bytes ? bytes : q->buffer_bytes;
        bytes -= piece;
        if (slot->room >= piece || (!slot->unread && dma_reachable(p, slot->address, piece, DMA_WRITE)))
            continue;
        fault(p, FAULT_DMA_UNMAPPED, false, q->number, (uint32_t)(slot - q->slots), slot->address);
        usable = false;
    }
    return usable;
}

/* Pass over descriptors without a write-back. */
static void skip_slots(struct port *p, struct rx_queue *q, uint32_t count)
{
    rx_flush_all(p);
    for (uint32_t k = 0; k < count; k++) {
        struct rx_slot *slot = slot_at(q, 0);
        *slot->owner = 0;
        if (++q->head == q->entries)
            q->head = 0;
        q->ready--;
    }
    p->stats.rx_dma_dropped++;
}

static void deliver(struct port *p, struct rx_queue *q, const uint8_t *data, uint32_t bytes, uint32_t count,
                    const struct rx_class *class)
{
    if (!slots_usable(p, q, count, bytes)) {
        skip_slots(p, q, count);
        return;
    }
    if (q->pend + count > RX_BURST)
        rx_flush_all(p);
    for (; count; count--) {
        const struct rx_slot *slot = slot_at(q, 0);
        uint32_t piece = count > 1 ? q->buffer_bytes : bytes;
        if (slot->room >= piece)
            memcpy(slot->host, data, piece);
        else
            dma_copy_out(p, slot->address, data, piece);
        data += piece;
        bytes -= piece;
        uint64_t q1 = RXD_DD | (uint64_t)piece << 32;
        if (count == 1)
            q1 |= RXD_EOP | class->status | (uint64_t)class->vlan << 48;
        q->done[q->pend] = (struct desc){count == 1 ? class->q0 : 0, q1};
        rx_finish(p, q, 1, count == 1, piece);
    }
}

/* `reserve`: see pause_threshold; a frame that needs more than is left beside it takes what it needs. */
static bool has_room(struct port *p, struct rx_queue *q, uint32_t count, uint32_t reserve)
{
    if (!p->bus_master || (__builtin_expect(p->inject.rx_stalls, 0) && inject_stalls(p, false, q->number)))
        return false;
    uint32_t needed = count + reserve <= q->most ? count + reserve : count;
    if (q->ready < needed && !reserve) /* a wire that waits does so until the next round: see dp_round */
        rx_fetch(p, q);
    return q->ready >= needed;
}

/* Into its ring, or to the end that a frame meets without one. False: it has to wait for descriptors. */
static bool rx_place(struct port *p, const uint8_t *data, uint32_t length, const struct rx_class *class)
{
    struct rx_queue *q = &rx_of(p)->queues[class->queue];
    if (!q->running) {
        p->stats.rx_queue_off++;
        return true;
    }
    uint32_t bytes = delivered_bytes(p, q, class, length);
    uint32_t count = (bytes + q->buffer_bytes - 1) / q->buffer_bytes;
    if (has_room(p, q, count, 0))
        deliver(p, q, edited(p, q, data, length, class), bytes, count, class);
    else if (q->drop)
        p->stats.qprdc[config_of(p)->rx_counter[q->number]]++;
    else if (count >= q->entries) /* can never fit */
        p->stats.rxmpc[0]++;
    else
        return false;
    return true;
}

/* What waits in the packet buffer, in order, as far as descriptors go. Returns how many frames left. */
unsigned rx_drain(struct port *p)
{
    struct fifo *f = &rx_of(p)->fifo;
    unsigned left = 0;
    for (; f->count && config_of(p)->rxen; left++) {
        const struct fifo_frame *oldest = &f->frames[f->first];
        if (!rx_place(p, f->bytes + oldest->at, oldest->length, &oldest->class))
            break;
        fifo_pop(f);
    }
    if (left) {
        rx_flush_all(p);
        fifo_drained(p);
    }
    return left;
}

/* Whether a wire that can hold a frame back has to. */
static bool must_wait(struct port *p, uint32_t length, const struct rx_class *class, enum rx_wait wait)
{
    struct rx_queue *q = &rx_of(p)->queues[class->queue];
    if (!config_of(p)->rxen || !q->running)
        return wait == RX_WAIT_READY;
    uint32_t count = (delivered_bytes(p, q, class, length) + q->buffer_bytes - 1) / q->buffer_bytes;
    return rx_of(p)->fifo.count || (!has_room(p, q, count, q->reserve) && count < q->entries);
}

/* 802.3 annex 31B: no more frames for so many times 512 bit times; 0 ends a pause. */
static void heed_pause(struct port *p, const uint8_t *data)
{
    uint32_t quanta = (uint32_t)data[16] << 8 | data[17];
    p->paused = quanta != 0;
    p->pause_ends_ns = p->dp->now_ns + quanta * PAUSE_QUANTUM_PS / 1000;
    *(quanta ? &p->stats.lxoffrxcnt : &p->stats.lxonrxcnt) += 1;
}

/* A frame that is not for a ring. A pause frame is, too, without DPF. */
static enum rx_result end_in_mac(struct port *p, const uint8_t *data, uint32_t length, const struct rx_class *class)
{
    if (class->verdict < RX_PAUSE) {
        rx_count_mac(p, length, 1, class->verdict, class->cast);
        return RX_TAKEN;
    }
    if (class->verdict == RX_PAUSE)
        heed_pause(p, data);
    if (class->verdict == RX_PAUSE && !config_of(p)->discards_pause) {
        struct rx_class rest = *class;
        rest.verdict = class->unheeded;
        return rx_offer_classified(p, data, length, &rest, RX_DROP);
    }
    p->stats.tpr++;
    p->stats.tor += length + CRC_BYTES;
    p->stats.rx_mac_control++;
    return RX_TAKEN;
}

enum rx_result rx_offer_classified(struct port *p, const uint8_t *data, uint32_t length, const struct rx_class *class,
                                   enum rx_wait wait)
{
    bool pass = class->verdict == RX_PASS;
    if (pass && wait != RX_DROP && must_wait(p, length, class, wait))
        return RX_NO_ROOM;
    if (!pass)
        return end_in_mac(p, data, length, class);
    rx_count_mac(p, length, 1, RX_PASS, class->cast);
    if (class->status & (RXD_IPE | RXD_L4E))
        p->stats.xec++;
    if (config_of(p)->rxen) {
        p->stats.fdirmatch += class->fdir == FDIR_MATCH;
        p->stats.fdirmiss += class->fdir == FDIR_MISS;
    }
    if (!config_of(p)->rxen)
        p->stats.rx_off++;
    else if ((rx_of(p)->fifo.count || !rx_place(p, data, length, class)) && !fifo_push(p, data, length, class))
        p->stats.rxmpc[0]++;
    return RX_TAKEN;
}

/* A frame of any length; the wire pads what is too short. The caller calls rx_flush_all when done. */
enum rx_result rx_offer(struct port *p, const uint8_t *data, uint32_t length, enum rx_wait wait)
{
    struct rx_class class;
    if (length < MIN_FRAME) {
        uint8_t *edit = rx_of(p)->edit;
        memcpy(edit, data, length);
        memset(edit + length, 0, MIN_FRAME - length);
        data = edit;
        length = MIN_FRAME;
    }
    classify(p, data, length, &class);
    return rx_offer_classified(p, data, length, &class, wait);
}
