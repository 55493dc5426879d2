/* The ladder (ARCHITECTURE.md): base, dma, classify, rx, wire, tx, wires, device. A folder is a rung with a header of
 * its name; its files include and call only those of its own and of lower rungs. This header is below all of them.
 * Section numbers are those of the 82599 datasheet. */
#ifndef IXYFWD_DATAPATH_H
#define IXYFWD_DATAPATH_H

#include <stdint.h>

#include "datapath.cdef.h"

#endif
