#ifndef IXYFWD_DROP_H
#define IXYFWD_DROP_H

#include <stdint.h>

#pragma GCC visibility push(hidden)
#include "drop.cdef.h"
#pragma GCC visibility pop

#endif
