/* The native engine's work on batches of any NIC family, one pointer per call.
 *
 * What lives in the arena (pool, counters) is described in engine/worker.h. Everything else is process-local.
 */
#ifndef IXYFWD_NATIVE_H
#define IXYFWD_NATIVE_H

#include <stdint.h>

#pragma GCC visibility push(hidden)
#include "native.cdef.h"
#pragma GCC visibility pop

#endif
