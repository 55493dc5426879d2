/* Receive write-backs (7.1.5, 7.1.6). */
#include "rx/rx.h"
#include "base/simd.h"

#include <string.h>

/* Legacy write-back (7.1.5): address untouched, the rest in the second half. */
static uint64_t legacy_q1(uint64_t q1)
{
    uint64_t status = q1 & 0xFF, errors = (q1 >> 29 & 1) | (q1 >> 30 & 3) << 6;
    return (q1 >> 32 & 0xFFFF) | status << 32 | errors << 40 | (q1 >> 48) << 48;
}

/* One descriptor in every case that is not the usual one. */
static void write_back_odd(struct port *p, struct rx_queue *q, uint32_t i, const struct desc *done)
{
    struct rx_slot *slot = &q->slots[i];
    struct desc *d = rx_desc(p, q, i);
    *slot->owner = 0;
    if (!d) {
        fault(p, FAULT_DMA_UNMAPPED, false, q->number, i, q->base + sizeof *d * i);
        return;
    }
    if (d->q0 != slot->address)
        fault(p, FAULT_DESCRIPTOR_REWRITTEN, false, q->number, i, d->q0);
    if (q->legacy) {
        __atomic_store_n(&d->q1, legacy_q1(done->q1), __ATOMIC_RELEASE);
        return;
    }
    d->q0 = done->q0;
    __atomic_store_n(&d->q1, done->q1, __ATOMIC_RELEASE);
}

/* The usual descriptors from `d` on; returns how many. `whole`: an aligned store of 16 bytes is not torn, as on every
 * CPU that has AVX. Elsewhere the half with DD and length comes last: drivers look at either. */
static inline __attribute__((always_inline)) uint32_t write_back_usual(struct desc *d, const struct rx_slot *slot,
                                                                       const struct desc *done, uint32_t count,
                                                                       bool whole)
{
    typedef uint64_t two __attribute__((vector_size(16), may_alias));
    uint32_t k = 0;
    for (; k < count; k++) {
        if (__builtin_expect(d[k].q0 != slot[k].address, 0))
            break;
        *slot[k].owner = 0;
        if (whole) {
            two both;
            memcpy(&both, &done[k], sizeof both);
            *(volatile two *)&d[k] = both;
        } else {
            d[k].q0 = done[k].q0;
            __atomic_store_n(&d[k].q1, done[k].q1, __ATOMIC_RELEASE);
        }
    }
    return k;
}

static uint32_t write_back_halves(struct desc *d, const struct rx_slot *slot, const struct desc *done, uint32_t count)
{
    return write_back_usual(d, slot, done, count, false);
}

FOR_AVX2 static uint32_t write_back_whole(struct desc *d, const struct rx_slot *slot, const struct desc *done,
                                          uint32_t count)
{
    return write_back_usual(d, slot, done, count, true);
}

/* Write back a run of pending descriptors that does not wrap, in order: neighbours share lines, so a line changes hands
 * once. */
void write_back_run(struct port *p, struct rx_queue *q, uint32_t i, const struct desc *done, uint32_t count)
{
    __atomic_thread_fence(__ATOMIC_RELEASE); /* payloads first */
    for (uint32_t k = 0; k < count; k++) {
        if (q->ring && !q->legacy)
            k += (HAVE_AVX2 ? write_back_whole : write_back_halves)(q->ring + i + k, q->slots + i + k, done + k,
                                                                    count - k);
        if (k < count)
            write_back_odd(p, q, i + k, &done[k]);
    }
}

/* What is pending counts as delivered. */
void rx_count_pending(struct port *p, struct rx_queue *q)
{
    unsigned counter = config_of(p)->rx_counter[q->number];
    p->stats.qprc[counter] += q->pend_frames;
    p->stats.qbrc[counter] += q->pend_bytes;
    p->stats.rxdgpc += q->pend_frames;
    p->stats.rxdgbc += q->pend_bytes;
    q->pend = q->pend_frames = q->pend_bytes = 0;
}
