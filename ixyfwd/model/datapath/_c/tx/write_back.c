/* What is counted of frames sent (8.2.3.23), and write-back of what asked for it (7.2.3.5). */
#include "tx/tx.h"

#include <string.h>

static uint64_t *size_bin(dp_stats *s, uint32_t bytes)
{
    if (bytes <= 64)
        return &s->ptc64;
    if (bytes < 128)
        return &s->ptc127;
    if (bytes < 256)
        return &s->ptc255;
    if (bytes < 512)
        return &s->ptc511;
    return bytes < 1024 ? &s->ptc1023 : &s->ptc1522;
}

static void count_casts(dp_stats *s, const struct frame *frames, unsigned count)
{
    static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
    for (unsigned k = 0; k < count; k++)
        if (memcmp(frames[k].data, broadcast, 6) == 0)
            s->bptc++;
        else if (frames[k].data[0] & 1)
            s->mptc++;
}

/* `bytes`: sum of the lengths; `mixed`: they differ. */
void tx_count(struct port *p, const struct tx_queue *q, const struct frame *frames, unsigned count, uint64_t bytes,
              bool mixed)
{
    dp_stats *s = &p->stats;
    uint8_t group = 0;
#pragma GCC unroll 8
    for (unsigned k = 0; k < count; k++)
        group |= frames[k].data[0];
    if (group & 1)
        count_casts(s, frames, count);
    if (!mixed)
        *size_bin(s, frames[0].length + CRC_BYTES) += count;
    for (unsigned k = 0; mixed && k < count; k++)
        ++*size_bin(s, frames[k].length + CRC_BYTES);
    unsigned counter = config_of(p)->tx_counter[q->number];
    s->gptc += count;
    s->tpt += count;
    s->txdgpc += count;
    s->qptc[counter] += count;
    s->gotc += bytes + (uint64_t)count * CRC_BYTES;
    s->txdgbc += bytes;
    s->qbtc[counter] += bytes;
}

/* The DD bit where it was asked for. NXTSEQ and the reserved fields of an advanced write-back are zeros here, so a
 * driver that reuses the old content is found out. */
void tx_report(struct port *p, struct tx_queue *q, uint32_t i)
{
    struct desc *d = tx_desc(p, q, i);
    if (__builtin_expect(p->causes.wanted, 0))
        note_cause(p, p->causes.tx, p->causes.urgent_tx, q->number);
    if (q->head_writeback || !d)
        return;
    uint64_t done = (uint64_t)TXD_DD << 32;
    __atomic_store_n(&d->q1, d->q1 & TXD_DEXT ? done : d->q1 | done, __ATOMIC_RELEASE);
}

void tx_report_head(struct port *p, struct tx_queue *q)
{
    uint8_t *at = dma_host(p, q->head_writeback, 4, DMA_WRITE);
    if (at)
        __atomic_store_n((uint32_t *)at, q->head, __ATOMIC_RELEASE);
    else
        fault(p, FAULT_DMA_UNMAPPED, true, q->number, q->head, q->head_writeback);
}
