#ifndef IXYFWD_PROBE_H
#define IXYFWD_PROBE_H

#include <stdint.h>

#pragma GCC visibility push(hidden)
#include "probe.cdef.h"
#pragma GCC visibility pop

#endif
