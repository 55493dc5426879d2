/* What the C of engines and NIC families knows of a worker's part of the arena, which ixyfwd/memory/layout.py and
 * ixyfwd/telemetry/counters.py lay out; tests compare the numbers. Plain enough for cffi, which reads it, too. */
enum { /* of a port's block of the counters page */
	PORT_RX_PACKETS = 0,
	PORT_RX_BYTES = 1,
	PORT_RX_ERRORS = 2,
	PORT_RX_NO_BUFFER = 3,
	PORT_TX_PACKETS = 8,
	PORT_TX_BYTES = 9,
	PORT_TX_FULL = 10,
	PORT_BLOCK_WORDS = 32,
};

enum { /* of the counters page */
	WORD_PAUSES = 4,
	WORD_PAUSED_NS = 5,
	WORD_LONGEST_PAUSE_NS = 6,
	WORD_LOOKED_NS = 7,
	WORD_COMMAND = 8,
	WORD_GO = 9,
	WORD_POLLS = 16,
	WORD_EMPTY_POLLS = 17,
	WORD_BURSTS = 18,
	WORD_BUSY_NS = 19,
	WORD_ASKED = 23,
	WORD_SHORTFALL = 24,
	WORD_WRITTEN = 25,
	WORD_FILTERED = 26,
	WORD_FILE_BUSY = 27,
	WORD_SURPLUS = 29,
	WORD_DONE = 30,
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

/* A batch and where its frames are, for programs that look into them. */
struct frames {
	struct batch_view batch;
	uint8_t *arena;
	const uint64_t *offsets; /* of each buffer id's frame in the arena */
};
