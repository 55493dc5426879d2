/* What rx and tx share: reading and writing descriptors, ringing the doorbell. */
#ifndef IXYFWD_DESCRIPTOR_H
#define IXYFWD_DESCRIPTOR_H

#include "engine/copy.h"
#include "ixgbe.h"

/* The device writes q1 last. The acquire keeps every later look at what it wrote before behind this one. */
static inline int is_done(const struct descriptor *descriptor, uint64_t dd)
{
    return (__atomic_load_n(&descriptor->q1, __ATOMIC_ACQUIRE) & dd) != 0;
}

static inline void put_descriptor(struct descriptor *descriptor, uint64_t q0, uint64_t q1)
{
#ifdef __SSE2__
    _mm_store_si128((__m128i *)descriptor, _mm_set_epi64x((long long)q1, (long long)q0));
#else
    descriptor->q0 = q0;
    descriptor->q1 = q1;
#endif
}

/* One 32-bit store, after everything that the device will find behind it. */
static inline void ring_doorbell(struct queue *queue, uint32_t tail)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
    *queue->doorbell = tail;
}

#endif
