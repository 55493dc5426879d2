/* What Python sees of the native engine: read by cffi and included by native.h. */
#include "engine/batch.h"
#include "telemetry/words.h"

enum {
	RS_INTERVAL = 32, /* engine/contract.py */
	DESCRIPTORS_PER_LINE = 4,
};

enum {
	SINGLES = 8,         /* bursts of one frame in a row before it is the next direction's turn */
	MAX_BURSTS = 0xffff, /* that a call of forward() can report */
};

struct descriptor {
	uint64_t q0;
	uint64_t q1;
};

struct ring_state {
	uint32_t next;
	uint32_t tail;
	uint32_t clean;
	uint32_t spanning; /* rx: the last descriptor taken had no EOP, and its frame is to be dropped */
	uint32_t reserved[12];
};

struct pool {
	uint32_t count;
	uint32_t reserved[15];
	uint32_t stack[];
};

/* A ring and the batch that it fills or empties: all that a burst needs. Nothing in it changes from burst to burst. */
struct queue {
	struct descriptor *descriptors;
	uint32_t *ids;
	struct ring_state *state;
	struct pool *pool;
	const uint64_t *addresses; /* device address of each buffer id */
	uint64_t *counters;        /* the port's block of the counters page */
	volatile uint32_t *doorbell;
	struct batch_view batch;
	uint32_t mask;
};

/* A batch and where its frames are, for programs that look into them. */
struct frames {
	struct batch_view batch;
	uint8_t *arena;
	const uint64_t *offsets; /* of each buffer id's frame in the arena */
};

/* What follows a program that decides: its verdicts are counted, and what it dropped is freed. */
struct settlement {
	struct batch_view batch;
	struct pool *pool;
	uint64_t *block; /* the program's words */
	uint32_t ports;
};

/* A port's transmit ring twice: with the batch that the programs work on, and with one for the frames of a burst that
 * goes out of several ports. */
struct outlet {
	struct queue *whole;
	struct queue *part;
};

/* What comes after the programs: each frame goes into the ring that its verdict names. */
struct dispatch {
	struct batch_view batch;
	const struct outlet *outlets; /* by port */
	uint32_t (*send)(struct queue *);
	uint32_t ports;
	uint32_t passed_to; /* the port of frames that no program sent elsewhere */
};

/* One direction of a link; its queues and frames share a batch, for bursts that are not plain. */
struct direction {
	struct queue *rx;
	struct queue *tx;
	struct frames *frames; /* NULL: they pass unchanged */
	uint32_t limit;       /* most frames of a burst */
};

struct forwarder {
	const struct direction *directions;
	uint64_t *page; /* the worker's counters page */
	uint32_t count;
	uint32_t limit;    /* bursts and empty rounds after which it returns; the round that gets there is finished */
	uint32_t patience; /* empty rounds in a row after which it returns */
	int32_t clock;     /* that busy time is counted by */
	int64_t pause_ns;  /* gaps between two looks at the rings that are longer may be pauses */
	uint64_t paused_busy_ns; /* of BUSY_NS, what the pauses in it took */
};

/* What fills a batch with numbered frames: frame k belongs to flow k modulo flows and is its (k / flows)-th. */
struct source {
	struct batch_view batch;
	struct queue *queue; /* the tx ring, for its room */
	uint8_t *arena;
	const uint64_t *offsets; /* of each buffer id's frame in the arena */
	volatile uint64_t *page; /* the worker's counters page */
	const uint8_t *templates; /* 64 bytes each: rows of size_count, by flow */
	const uint16_t *sizes;    /* bytes without CRC */
	const uint64_t *frame_ps; /* by size: until the next frame is due; all 0: as fast as the ring takes them */
	const uint8_t *schedule;  /* index into sizes; flow f is f steps ahead */
	uint64_t mean_ps;
	uint64_t begun_ns;
	uint64_t due_ps; /* since begun_ns */
	uint64_t left;
	uint32_t flows;
	uint32_t size_count;
	uint32_t schedule_length;
	uint32_t flow;
	uint32_t sequence;
};

/* What empties a batch into blocks of capture records. A thread writes filled blocks to the file. */
struct capture {
	struct batch_view batch;
	struct pool *pool;
	const uint8_t *arena;
	const uint64_t *offsets;
	volatile uint64_t *page;
	unsigned int (*filter)(const void *, const uint8_t *, unsigned int, unsigned int); /* libpcap's bpf_filter */
	const void *program;
	uint8_t *blocks;
	uint32_t *used;   /* bytes, by block */
	uint32_t *frames; /* by block */
	uint64_t filled;  /* blocks in all; this side's */
	uint64_t written; /* blocks in all; the thread's */
	uint64_t left;
	uint32_t block_bytes;
	uint32_t block_count;
	uint32_t at;
	uint32_t in_block;
	uint32_t snaplen;
	uint32_t pcapng;
	uint32_t recording; /* 0: count only */
};

uint32_t source_burst(struct source *source);
uint32_t capture_burst(struct capture *capture);
uint32_t capture_flush(struct capture *capture);
uint32_t rx_burst(struct queue *queue);
uint32_t tx_burst(struct queue *queue);
uint32_t tx_clean(struct queue *queue);
uint32_t pass_all(struct settlement *settlement);
uint32_t settle(struct settlement *settlement);
uint32_t dispatch(struct dispatch *dispatch);

uint32_t rx_burst_segmented(struct queue *queue);
uint32_t tx_burst_segmented(struct queue *queue);
uint32_t tx_clean_segmented(struct queue *queue);
/* Returns the bursts that had frames << 16 | the empty rounds at its end. */
uint32_t forward(struct forwarder *forwarder);
