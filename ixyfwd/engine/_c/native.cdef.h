/* What Python sees of the native engine: read by cffi and included by native.h. */
#include "engine/batch.h"
#include "engine/worker.h"

/* The settlement after a program that decides: its verdicts are counted, and the frames that it dropped are freed. */
struct settlement {
    struct batch_view batch;
    struct pool *pool;
    uint64_t *block; /* the program's words */
    uint32_t ports;
};

/* A port's transmit ring, as its NIC family's code calls it: with the batch that the programs work on, and with one for
 * the frames of a burst that goes out of several ports. */
struct outlet {
    uint32_t (*send)(void *work); /* NULL: not in C; its frames are left in `part` */
    void *whole;
    void *part_work;
    struct batch_view part;
};

/* The dispatch after the programs: each frame goes into the ring that its verdict names. */
struct dispatch {
    struct batch_view batch;
    const struct outlet *outlets; /* by port */
    uint32_t ports;
    uint32_t passed_to; /* the port of frames that no program sent elsewhere */
};

/* A recorder, which empties a batch into blocks of capture records. A thread writes filled blocks to the file. */
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

uint32_t capture_burst(struct capture *capture);
uint32_t capture_flush(struct capture *capture);
uint32_t pass_all(struct settlement *settlement);
uint32_t settle(struct settlement *settlement);
uint32_t dispatch(struct dispatch *dispatch);
