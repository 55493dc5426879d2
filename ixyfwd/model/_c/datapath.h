/* The 82599's data path in software: internal structures. Section numbers are those of the 82599 datasheet. */
#ifndef IXYFWD_DATAPATH_H
#define IXYFWD_DATAPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datapath.cdef.h"
#include "dma.h"
#include "fdir.h"
#include "filters.h"

enum {
    QUEUES = 128,
    RX_BURST = 256,       /* descriptors written back together, per queue */
    SLOT_MARGIN = 8,     /* unused entries behind the last rx slot, so that looking ahead needs no wrap */
    TX_BURST = 128,       /* frames handed to a wire together */
    PREFETCH_LINES = 64, /* of a ring, at a look */
    FRAME_MAX = 15872,   /* 15.5 KiB: what the tx packet path takes in one frame (7.2.3.2.4) */
    SCRATCH_BYTES = 16384 + 64,
    CRC_BYTES = 4,
    MIN_FRAME = 60,      /* without CRC */
    PLAIN_FRAME_MAX = 2048, /* longer ones take the general way through transmit */
    MIN_TX_FRAME = 17,   /* shorter ones hang the chip: TXPADEN pads from 17 bytes on (7.2.3) */
    MAX_TX_BUFFERS = 40, /* descriptors of one frame (7.2.3.3) */
    TLB_ENTRIES = 256,
    TLB_SHIFT = 21,
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
    FAULT_DMA_LOST, /* the file behind a mapping shrank; see lost.c */
};

#define NO_TAIL UINT64_MAX
#define UNROUTED (-1) /* no queue that filters chose */
#define NOTHING_MISSED UINT64_MAX

struct desc {
    uint64_t q0, q1;
};

/* What is known of an rx descriptor that the device owns. */
struct rx_slot {
    uint8_t *host;    /* NULL: the buffer is not mapped for writing */
    uint64_t address; /* q0 as fetched */
    uint8_t *owner;   /* byte of backing.owned to clear, or dp.nobody */
    uint32_t room;    /* bytes from `host` to the end of its mapping, at most the buffer size */
    uint32_t unread;  /* 1: the descriptor itself could not be fetched */
};

struct rx_queue {
    struct desc *ring; /* NULL: not in one mapping, go through dma_host for each descriptor */
    struct rx_slot *slots;
    struct desc *done; /* RX_BURST write-backs: of the last `pend` descriptors */
    volatile uint32_t *tail_register;
    uint32_t entries, head, ready, pend; /* head: next to fill; ready: fetched from head on; pend: filled before head */
    uint32_t pend_frames, pend_bytes;            /* frames that end in those, and their bytes */
    uint32_t tail, heard, buffer_bytes, looks_skipped; /* tail: as written when trapped; heard: at the last look */
    uint64_t bad_tail, refused_tail;            /* already reported, or NO_TAIL */
    uint32_t most, reserve; /* most: ready at its fullest; reserve: what a wire that can wait leaves ready */
    uint64_t base;
    uint16_t number;
    bool running, begun, legacy, drop, strip_vlan; /* begun: something was fetched since the start */
    bool force_drop;                               /* PFQDE */
};

struct tx_queue {
    struct desc *ring;
    volatile uint32_t *tail_register;
    uint32_t entries, head, tail, heard;
    uint64_t bad_tail, refused_tail;
    uint64_t base, head_writeback; /* address of the head value, 0 = descriptors are written back */
    uint16_t number;
    bool running, begun;
    struct desc contexts[2];
};

/* Registers in the form that the frame path wants. */
struct config {
    uint32_t generation; /* bumped whenever a cached classification may have become wrong */
    uint32_t fctrl, mcstctrl, mrqc, key[10];
    uint32_t max_frame; /* incl. CRC, without tags */
    uint16_t vet, outer_vet; /* outer_vet: of the tag before that one, 0 = no double VLAN mode */
    bool rxen, te, crc_strip, tx_pad, loopback, vlan_filter, pcsd, fragment_checksum, key_known;
    uint32_t buffer_bytes, pause_above, resume_below; /* RXPBSIZE(0); marks in bytes, pause_above 0 = sends no pause */
    bool sends_xon, heeds_pause, discards_pause, passes_control; /* MFLCN */
    unsigned address_count;
    uint64_t addresses[QUEUES]; /* RAL/RAH pairs that are valid */
    uint8_t reta[512], rx_counter[QUEUES], tx_counter[QUEUES];
    struct filters filters;
    uint32_t toeplitz[36][256];
};

/* What the filters made of a frame. */
struct rx_class {
    uint64_t q0;     /* RSS type, packet type, hash: the first half of an advanced write-back */
    uint32_t status; /* extended status and errors without DD and EOP */
    uint16_t vlan, queue;
    uint8_t verdict; /* enum rx_verdict */
    uint8_t cast;    /* enum cast */
    uint8_t fdir;    /* enum fdir_result */
    uint8_t tag_at;  /* offset of the tag that may be stripped */
    uint8_t unheeded; /* of a pause frame: the verdict if its content meant nothing */
};
enum rx_verdict { RX_PASS, RX_OVERSIZE, RX_FILTERED, RX_PAUSE, RX_CONTROL };
enum cast { UNICAST, MULTICAST, BROADCAST };
enum fdir_result { FDIR_NOT_ASKED, FDIR_MISS, FDIR_MATCH };

/* What became of a frame that was offered to a port. */
enum rx_result {
    RX_TAKEN,   /* delivered, filtered or dropped: it is gone and counted */
    RX_NO_ROOM, /* only with RX_WAIT: nothing happened, offer it again */
};
enum rx_wait { RX_DROP, RX_WAIT_ROOM, RX_WAIT_READY }; /* READY: wait also for RXEN and the queue's ENABLE */

struct frame {
    uint8_t *data;
    uint32_t length; /* without CRC */
};

/* Write-backs that inject.c withholds: the last `count` before those pending; `done` by ring index. */
struct rx_held {
    struct desc *done;
    uint32_t count;
    uint64_t since_ns, written_back; /* at the first of them: time, and dp_inject.written_back */
};
struct tx_held {
    uint32_t *index;
    uint32_t count;
    uint64_t since_ns;
    bool releasing;
};
struct doorbell {
    uint32_t written, heard;
    uint64_t rung;
    bool known;
};

struct fifo_frame {
    struct rx_class class;
    uint32_t at, length;
};
struct fifo {
    uint8_t *bytes; /* both made when the first frame has to wait */
    struct fifo_frame *frames;
    uint32_t first, count, write, used;
    bool paused; /* the far end was asked to pause */
};

struct wire_operations; /* wire.h */

struct port {
    dp_t *dp;
    unsigned index;
    volatile uint32_t *store;
    uint32_t reta_entries; /* a power of two */
    bool bus_master, tail_mapped, link, dirty, feeding, paused; /* paused: by the far end */
    uint64_t pause_ends_ns;                                           /* UINT64_MAX: when the far end says so */
    bool polled, let_through;                                   /* see polled.c */
    uint64_t missed;
    unsigned rx_active_count, tx_active_count, flush_count, map_count, map_room;
    uint8_t rx_active[QUEUES], tx_active[QUEUES], flush[QUEUES];
    struct dma_map *tlb[TLB_ENTRIES];
    struct dma_map **maps; /* sorted by iova */
    const struct wire_operations *wire; /* never NULL */
    void *wire_state;                   /* the wire's own */
    struct port *peer;                  /* the port at the other end of the wire, which hears pause frames, or NULL */
    dp_far_end far_end;
    dp_stats stats;
    dp_faults faults;
    dp_causes causes;
    struct config config;
    struct fifo fifo;
    struct fdir fdir;
    struct rx_queue rx[QUEUES];
    struct tx_queue tx[QUEUES];
    dp_inject inject;
    struct rx_held rx_held[QUEUES];
    struct tx_held tx_held[QUEUES];
    struct doorbell doorbell_rx[QUEUES], doorbell_tx[QUEUES];
    uint8_t gather[SCRATCH_BYTES]; /* tx frames of several buffers */
    uint8_t edit[SCRATCH_BYTES];   /* rx frames that change on the way in: padding, tag, CRC */
};

/* How long nothing has moved; see run.c. */
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
    struct backing *backings;
    struct dma_map no_map; /* what empty TLB entries point to */
    uint8_t nobody;        /* what rx slots without a place in backing.owned point to */
    uint8_t *pattern;      /* position-dependent filling of generated frames */
    struct port *ports[];
};

uint64_t clock_ns(void);
unsigned dp_round(struct dp *dp);
static inline uint64_t clock_ps(const struct dp *dp) { return (dp->now_ns - dp->start_ns) * 1000; }

/* The interrupt causes of 7.3.1.1: a write-back of queue n. */
static inline void note_cause(struct port *p, uint64_t *causes, const uint64_t *urgent, unsigned n)
{
    causes[n >> 6] |= 1ull << (n & 63);
    if (urgent[n >> 6] >> (n & 63) & 1)
        p->dp->caused = true;
}

/* port.c */
void fault(struct port *p, enum fault_kind kind, bool tx, unsigned queue, uint32_t index, uint64_t address);

/* lost.c */
void lost_watch(void);
void lost_begin(struct dp *dp);
void lost_end(struct dp *dp);

static inline struct dma_map *dma_find(struct port *p, uint64_t address)
{
    struct dma_map *map = p->tlb[(address >> TLB_SHIFT) & (TLB_ENTRIES - 1)];
    return __builtin_expect(address - map->iova < map->size, 1) ? map : dma_search(p, address);
}
static inline uint8_t *owner_of(const struct dma_map *map, uint64_t address)
{
    return &map->backing->owned[(map->file_offset + (address - map->iova)) >> OWNER_SHIFT];
}

/* Part of a mapping in registers, for loops over descriptors: `limit` start addresses from `iova` on have the wanted
 * room behind them and the wanted access. */
struct dma_cursor {
    uint64_t iova, limit;
    uint8_t *host, *owned;
};
static inline bool dma_aim(struct port *p, struct dma_cursor *c, uint64_t address, uint64_t room, unsigned access)
{
    const struct dma_map *map = dma_find(p, address);
    c->limit = 0;
    if (!map || (map->access & access) != access || map->size < room)
        return false;
    *c = (struct dma_cursor){map->iova, map->size - room + 1, map->host,
                             map->backing->owned + (map->file_offset >> OWNER_SHIFT)};
    return address - c->iova < c->limit;
}

/* config.c, classify.c */
void config_load(struct port *p);
uint32_t toeplitz(struct config *c, const uint8_t *input, unsigned length);
void classify(struct port *p, const uint8_t *data, uint32_t length, struct rx_class *out);
uint32_t crc32_of(const uint8_t *data, size_t length);
uint32_t crc32c_around(const uint8_t *data, size_t length, size_t gap);

/* filters.c */
struct packet;
void filters_load(struct port *p);
bool filters_ethertype(const struct config *c, uint16_t type, struct rx_class *out);
int filters_queue(const struct config *c, const struct packet *ip);

/* fdir.c */
int fdir_look_up(struct port *p, const uint8_t *data, uint32_t length, const struct packet *ip, struct rx_class *out);
void fdir_reset(struct port *p);
void fdir_free(struct fdir *f);

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

/* rx.c, rx_frame.c */
void rx_fetch(struct port *p, struct rx_queue *q);
void rx_hear_all(struct port *p);
void rx_take_all(struct port *p);
void rx_flush(struct port *p, struct rx_queue *q);
void rx_flush_all(struct port *p);
void rx_forget_map(struct port *p, const struct dma_map *map);
void rx_locate_rings(struct port *p);
enum rx_result rx_offer(struct port *p, const uint8_t *data, uint32_t length, enum rx_wait wait);
enum rx_result rx_offer_classified(struct port *p, const uint8_t *data, uint32_t length, const struct rx_class *class,
                                   enum rx_wait wait);
void rx_count_mac(struct port *p, uint32_t length, uint64_t frames, enum rx_verdict verdict, enum cast cast);
bool rx_place(struct port *p, const uint8_t *data, uint32_t length, const struct rx_class *class);

/* fifo.c */
bool fifo_push(struct port *p, const uint8_t *data, uint32_t length, const struct rx_class *class);
unsigned fifo_drain(struct port *p);
void fifo_clear(struct port *p);
void fifo_free(struct fifo *f);

/* Put `count` finished descriptors in line for write-back: payloads written, q->done filled from q->pend on; they do
 * not wrap. `frames` of them end a frame. */
static inline void rx_finish(struct port *p, struct rx_queue *q, uint32_t count, uint32_t frames, uint32_t bytes)
{
    if (q->pend == 0 && count)
        p->flush[p->flush_count++] = (uint8_t)q->number;
    q->pend += count;
    q->pend_frames += frames;
    q->pend_bytes += bytes;
    q->ready -= count;
    q->head = q->head + count == q->entries ? 0 : q->head + count;
}

void write_back_run(struct port *p, struct rx_queue *q, uint32_t i, const struct desc *done, uint32_t count);
void rx_count_pending(struct port *p, struct rx_queue *q);

/* inject.c */
bool inject_rx_flush(struct port *p, struct rx_queue *q);
bool inject_tx_write_back(struct port *p, struct tx_queue *q, uint32_t i);
bool inject_tx_write_head(struct port *p, struct tx_queue *q);
void inject_release_due(struct port *p);
void inject_stop_rx(struct port *p, struct rx_queue *q);
void inject_stop_tx(struct port *p, struct tx_queue *q);
bool inject_stalls(const struct port *p, bool tx, unsigned n);
uint32_t inject_tail(struct port *p, bool tx, unsigned n, uint32_t tail);
void inject_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count);

/* tx.c */
void tx_hear_all(struct port *p);
unsigned tx_poll_all(struct port *p);
void tx_locate_rings(struct port *p);

/* polled.c */
struct polled_run {
    const struct desc *ring; /* NULL: not in one mapping */
    uint64_t base;
    uint32_t entries, first, count;
    bool tx;
};
bool polled_memory_known(struct port *p, const struct polled_run *run);

/* wire.c */
void wire_init(struct port *p);
void wire_free(struct port *p);
void wire_restart_clock(struct port *p);
uint64_t wire_due_ps(struct port *p);
int wire_wake_fd(const struct port *p);

#endif
