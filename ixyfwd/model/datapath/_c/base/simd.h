/* Functions that exist twice, for any CPU and for those with AVX2; the choice is made once a burst. */
#ifndef IXYFWD_SIMD_H
#define IXYFWD_SIMD_H

#if defined(__x86_64__)
#include <immintrin.h>
#define FOR_AVX2 __attribute__((target("avx2")))
#define HAVE_AVX2 __builtin_cpu_supports("avx2")
#else
#define FOR_AVX2
#define HAVE_AVX2 0
#endif

#endif
