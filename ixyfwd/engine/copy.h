/* Moving buffer ids between batches, rings and the free stack. */
#ifndef IXYFWD_COPY_H
#define IXYFWD_COPY_H

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline uint32_t at_most(uint32_t value, uint32_t limit) { return value < limit ? value : limit; }

/* Bursts are short: a call of memcpy would cost more than the copying. */
static inline void copy_ids(uint32_t *to, const uint32_t *from, uint32_t n)
{
    uint32_t i = 0;
#ifdef __SSE2__
    for (; i + 4 <= n; i += 4)
        _mm_storeu_si128((__m128i *)&to[i], _mm_loadu_si128((const __m128i *)&from[i]));
#endif
    for (; i < n; i++) {
        to[i] = from[i];
        __asm__ volatile("" ::: "memory"); /* else the compiler makes it a memcpy after all */
    }
}

#endif
