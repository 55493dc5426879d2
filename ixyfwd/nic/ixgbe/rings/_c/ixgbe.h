/* The rings of the 82599 in C: one burst per call, one pointer per call. A batch, the pool and the counters page are
 * every family's (engine/batch.h, engine/worker.h). */
#ifndef IXYFWD_IXGBE_H
#define IXYFWD_IXGBE_H

#include <stdint.h>

/* 82599 datasheet 7.1.6.2 (rx write-back, q1 = d2 | d3 << 32) and 7.2.3.2.4 (tx data). */
#define RX_DD (UINT64_C(1) << 0)
#define RX_EOP (UINT32_C(1) << 1)
#define RX_RXE (UINT32_C(1) << 29)
#define TX_DD (UINT64_C(1) << 32)
#define TX_EOP (UINT64_C(1) << 24)
#define TX_RS (UINT64_C(1) << 27)
#define TX_COMMAND UINT64_C(0x23300000) /* DEXT, IFCS, EOP, DTYP = 3 */
#define TX_PAYLEN_SHIFT (32 + 14)

#pragma GCC visibility push(hidden)
#include "ixgbe.cdef.h"
#pragma GCC visibility pop

#endif
