/* What every rung knows: ports, what a port counts and records against its driver, the clock. */
#ifndef IXYFWD_BASE_H
#define IXYFWD_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datapath.h"
#include "base/inject.h"
#include "base/registers.h"

/* for Python */
/* Statistics of 8.2.3.23; numbers that only grow. */
typedef struct dp_stats {
    uint64_t crcerrs, rlec, mspdc, ruc, rfc, roc, rjc, xec;
    uint64_t prc64, prc127, prc255, prc511, prc1023, prc1522;
    uint64_t gprc, bprc, mprc, gorc, tor, tpr, rxnfgpc, rxnfgbc, rxdgpc, rxdgbc;
    uint64_t gptc, gotc, tpt, mptc, bptc;
    uint64_t ptc64, ptc127, ptc255, ptc511, ptc1023, ptc1522;
    uint64_t txdgpc, txdgbc;
    uint64_t fdirmatch, fdirmiss;
    uint64_t rxmpc[8], lxontxc, lxofftxc, lxonrxcnt, lxoffrxcnt;
    uint64_t qprc[16], qbrc[16], qprdc[16], qptc[16], qbtc[16];
    /* Not of the chip: where else a frame can end, so that the accounts close. */
    uint64_t rx_filtered, rx_mac_control, rx_off, rx_queue_off, rx_dma_dropped, tx_dropped;
    uint64_t rx_waiting; /* in the packet buffer now */
} dp_stats;

typedef struct dp_fault {
    uint64_t address, time_ns;
    uint32_t index;
    uint16_t queue;
    uint8_t kind, tx;
} dp_fault;

typedef struct dp_faults {
    uint64_t total, by_kind[16];
    dp_fault recent[64]; /* ring: number i is recent[i % 64] */
} dp_faults;

/* Queues with write-backs since Python last looked (and cleared), one bit each; `urgent`: of which Python would know at
 * once. Kept only while `wanted`. */
typedef struct dp_causes {
    uint64_t rx[2], tx[2], urgent_rx[2], urgent_tx[2];
    uint8_t wanted;
} dp_causes;

/* What every wire has. Each wire's own file says what Python sees of it besides. */
typedef struct dp_far_end {
    uint64_t sent, sent_bytes, received, received_bytes; /* sent: by the port; received: over a cable */
} dp_far_end;

dp_stats *dp_port_stats(port_t *p);
dp_faults *dp_port_faults(port_t *p);
dp_causes *dp_port_causes(port_t *p);
dp_far_end *dp_port_far_end(port_t *p);
void dp_set_bus_master(port_t *p, int on);
void dp_set_tail_mapped(port_t *p, int on);
uint32_t dp_crc32(const uint8_t *data, uint64_t length);
/* end */

enum {
    SCRATCH_BYTES = 16384 + 64,
    FRAME_MAX = 15872,   /* 15.5 KiB: what the tx packet path takes in one frame (7.2.3.2.4) */
    CRC_BYTES = 4,
    MIN_FRAME = 60,      /* without CRC */
    PREFETCH_LINES = 64, /* of a ring, at a look */
};

enum fault_kind {
    FAULT_DMA_UNMAPPED,
    FAULT_DMA_NO_BUS_MASTER,
    FAULT_TAIL_OUT_OF_RANGE,
    FAULT_DESCRIPTOR_REWRITTEN,
    FAULT_BUFFER_REUSED,
    FAULT_BAD_DESCRIPTOR,
    FAULT_RING_INVALID,
    FAULT_UNSUPPORTED_OFFLOAD,
    FAULT_DMA_LOST, /* the file behind a mapping shrank; see device/lost.c */
};

#define NO_TAIL UINT64_MAX

struct desc {
    uint64_t q0, q1;
};

struct frame {
    uint8_t *data;
    uint32_t length; /* without CRC */
};

/* How long nothing has moved; see device/run.c. */
struct idle {
    unsigned rounds;
    uint64_t since_ns, sleep_ns;
};

struct dp {
    unsigned port_count;
    struct idle idle;
    uint64_t start_ns, now_ns, realtime_offset_ns;
    bool capture_full, caused; /* caused: an interrupt is due, see dp_causes */
    volatile bool lost;        /* set by a signal handler: a mapping has `lost_at` */
    struct backing *backings;  /* dma/dma.h */
    uint8_t unowned;           /* what rx slots without a place in backing.owned point to */
    uint8_t *pattern;          /* position-dependent filling of generated frames */
    struct port *ports[];
};

struct wire_operations; /* wire/wire.h */

/* A port as far as the base knows it. Every higher rung that keeps something of a port has a struct that begins with
 * the one below it (dma_port, classify_port, rx_port, tx_port) and a function that takes a port to its part of it
 * (dma_of, config_of, rx_of, tx_of), so that no rung sees what those above it keep. */
struct port {
    struct dp *dp;
    unsigned index;
    volatile uint32_t *store;
    bool bus_master, tail_mapped, link, feeding, paused; /* paused: by the far end */
    uint64_t pause_ends_ns;                                   /* UINT64_MAX: when the far end says so */
    const struct wire_operations *wire; /* never NULL */
    void *wire_state;                   /* the wire's own */
    struct port *peer;                  /* the port at the other end of the wire, which hears pause frames, or NULL */
    dp_far_end far_end;
    dp_stats stats;
    dp_faults faults;
    dp_causes causes;
    dp_inject inject;
    struct doorbell doorbell_rx[QUEUES], doorbell_tx[QUEUES];
};

void fault(struct port *p, enum fault_kind kind, bool tx, unsigned queue, uint32_t index, uint64_t address);

/* The Ethernet frame check sequence, and SCTP's checksum. */
uint32_t crc32_of(const uint8_t *data, size_t length);
uint32_t crc32c_around(const uint8_t *data, size_t length, size_t gap);

uint64_t clock_ns(void);
static inline uint64_t clock_ps(const struct dp *dp) { return (dp->now_ns - dp->start_ns) * 1000; }

/* The interrupt causes of 7.3.1.1: a write-back of queue n. */
static inline void note_cause(struct port *p, uint64_t *causes, const uint64_t *urgent, unsigned n)
{
    causes[n >> 6] |= 1ull << (n & 63);
    if (urgent[n >> 6] >> (n & 63) & 1)
        p->dp->caused = true;
}

/* Where not every CPU of the target can do it, __builtin_prefetch asks for a line to read only, and the store that
 * follows waits for a second journey. x86-64 CPUs that cannot take it for a no-op. */
static inline void prefetch_write(const void *at)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)at));
#else
    __builtin_prefetch(at, 1);
#endif
}

/* Ask for the descriptors from `first` to `last`, at most PREFETCH_LINES lines: they come from another core, and are
 * on their way together. Not those behind `last`, which the driver is writing. */
static inline void prefetch_ring(const struct desc *ring, uint32_t entries, uint32_t first, uint32_t last, bool write)
{
    uint32_t count = (last >= first ? last - first : last + entries - first) + (first & 3), i = first & ~3u;
    if (last >= entries || count > 4 * PREFETCH_LINES)
        count = last < entries ? 4 * PREFETCH_LINES : 0;
    for (uint32_t k = 0; k < count; k += 4, i = i + 4 >= entries ? 0 : i + 4) {
        if (write)
            prefetch_write(&ring[i]);
        else
            __builtin_prefetch(&ring[i]);
    }
}

#endif
