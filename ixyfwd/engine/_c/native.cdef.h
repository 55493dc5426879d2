enum { RS_INTERVAL, DESCRIPTORS_PER_LINE, ... };
enum {
	PORT_RX_PACKETS, PORT_RX_BYTES, PORT_RX_ERRORS, PORT_RX_NO_BUFFER,
	PORT_TX_PACKETS, PORT_TX_BYTES, PORT_TX_FULL, PORT_BLOCK_WORDS, ...
};

struct descriptor {
	uint64_t q0;
	uint64_t q1;
};

struct ring_state {
	uint32_t next;
	uint32_t tail;
	uint32_t clean;
	uint32_t spanning;
	uint32_t reserved[12];
};

struct pool {
	uint32_t count;
	uint32_t reserved[15];
	uint32_t stack[];
};

struct batch {
	uint32_t count;
	uint32_t capacity;
	uint32_t reserved[14];
	uint32_t cells[];
};

struct batch_view {
	struct batch *head;
	uint32_t *ids;
	uint32_t *lengths;
	uint32_t *hashes;
	uint32_t *status;
};

struct queue {
	struct descriptor *descriptors;
	uint32_t *ids;
	struct ring_state *state;
	struct pool *pool;
	const uint64_t *addresses;
	uint64_t *counters;
	volatile uint32_t *doorbell;
	struct batch_view batch;
	uint32_t mask;
};

struct frames {
	struct batch_view batch;
	uint8_t *arena;
	const uint64_t *offsets;
	uint32_t at;
};

uint32_t rx_burst(struct queue *queue);
uint32_t tx_burst(struct queue *queue);
uint32_t tx_clean(struct queue *queue);
uint32_t touch_burst(struct frames *frames);
