/* What Python sees of the data path. cffi reads this file, and datapath.h includes it: one definition for both. */

typedef struct dp dp_t;
typedef struct port port_t;

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
    uint64_t rx_filtered, rx_off, rx_queue_off, rx_dma_dropped, tx_dropped;
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

/* Frames whose byte at `offset` (the last one of a shorter frame) has `bits` flipped: every `every`-th, or, if `chance`
 * is not 0, with a probability of chance / 2^32; `left` of them at most. */
typedef struct dp_damage {
    uint64_t every, left, seen, count, random;
    uint32_t chance, offset;
    uint8_t bits, on;
} dp_damage;

/* Misbehaviour on demand; call dp_inject_changed after a change. Queues: one bit each. The last group is C's own. */
typedef struct dp_inject {
    uint64_t stall_rx[2], stall_tx[2], stuck_rx[2], stuck_tx[2], delay_rx[2], delay_tx[2], reorder_rx[2];
    uint64_t doorbell_rx[2], doorbell_tx[2];
    uint64_t delay_ns, reorder_ns, reorder_frames, doorbell_every;
    dp_damage damage_rx, damage_tx;
    uint64_t held, doorbells_lost, written_back; /* held: write-backs that were set aside so far */
    uint8_t rx_stalls, tx_stalls, rx_holds, tx_holds, holds, doorbells;
} dp_inject;

dp_t *dp_new(unsigned ports);
void dp_free(dp_t *dp);
port_t *dp_port(dp_t *dp, unsigned index, void *store);
/* 1 = budget used up, 2 = epoll_fd readable, 3 = a capture buffer wants to be written out, 4 = an urgent cause */
int dp_run(dp_t *dp, int epoll_fd, uint64_t budget_ns, int share_cpu);

dp_stats *dp_port_stats(port_t *p);
dp_faults *dp_port_faults(port_t *p);
dp_causes *dp_port_causes(port_t *p);
dp_inject *dp_port_inject(port_t *p);
void dp_inject_changed(port_t *p);
int dp_map(port_t *p, uint64_t iova, uint64_t size, int fd, uint64_t offset, int readable, int writable);
int dp_unmap(port_t *p, uint64_t iova, uint64_t size);
void dp_unmap_all(port_t *p);
void dp_set_bus_master(port_t *p, int on);
void dp_set_reta_entries(port_t *p, uint32_t entries); /* 128, or 512 on an X550 */
void dp_set_tail_mapped(port_t *p, int on);
void dp_set_link(port_t *p, int up);
void dp_reconfigure(port_t *p);
void dp_reset(port_t *p);
void dp_fdir_init(port_t *p);   /* FDIRCTRL was written */
int dp_fdir_command(port_t *p); /* FDIRCMD was written; 1 = the flow director's interrupt is due */
int dp_start_rx(port_t *p, unsigned queue);
void dp_stop_rx(port_t *p, unsigned queue);
int dp_start_tx(port_t *p, unsigned queue);
void dp_stop_tx(port_t *p, unsigned queue);
void dp_force_drop(port_t *p, unsigned queue, int on); /* PFQDE: as if the queue had DROP_EN */
void dp_tail_written(port_t *p, int rx, unsigned queue);
int dp_head_written(port_t *p, int rx, unsigned queue);
uint32_t dp_rx_head(port_t *p, unsigned queue);
uint32_t dp_tx_head(port_t *p, unsigned queue);
/* The polled front end: doorbells are in `bar`, which stays the caller's; unknown addresses are asked for once. */
void dp_set_polled(port_t *p, void *bar);
uint64_t dp_missed(port_t *p);
void dp_answer_missed(port_t *p, int known);
void dp_feed(port_t *p, int on);
int dp_feed_done(port_t *p);

/* How fast a feeding wire offers frames. */
typedef struct dp_pace {
    uint64_t frame_ps;   /* picoseconds from frame to frame, plus ... */
    uint64_t byte_ps;    /* ... picoseconds for each byte on the wire, preamble, gap and CRC included */
    uint64_t shortfall;  /* frames not sent because the model fell behind, or the wire had to wait */
    uint64_t due_ps;     /* when the next frame is due; CLOCK_MONOTONIC */
    uint8_t max;         /* as fast as the port has room */
    uint8_t recorded;    /* by the time stamps of a capture file */
    uint8_t waits;       /* for room in the port instead of overrunning it; always with `max` */
    uint8_t starts;      /* it was held back until now */
} dp_pace;

/* What every wire has. Each wire's own file says what Python sees of it besides. */
typedef struct dp_far_end {
    uint64_t sent, sent_bytes, received, received_bytes; /* sent: by the port; received: over a cable */
} dp_far_end;
dp_far_end *dp_port_far_end(port_t *p);

/* For tests and the benchmark: a driver that swaps every received buffer into the other port's tx ring. */
typedef struct dp_turner dp_turner_t;
dp_turner_t *dp_turner_new(dp_t *dp, uint8_t *memory, uint64_t iova, uint32_t ring_size, uint32_t queues);
void dp_turner_free(dp_turner_t *t);
uint64_t dp_turner_run(dp_turner_t *t, uint64_t frames, uint32_t batch); /* returns nanoseconds */
uint64_t dp_turner_frames(dp_turner_t *t);   /* forwarded so far */
uint64_t dp_turner_model_ns(dp_turner_t *t); /* time spent in the model for them, two clock readings a round included */
uint32_t dp_crc32(const uint8_t *data, uint64_t length);
uint32_t dp_rss_hash(port_t *p, const uint8_t *input, uint32_t length);
