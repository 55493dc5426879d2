/* What the C of engines and programs knows of a batch. Kept plain enough for cffi, which reads it, too. */
enum { /* a verdict: action << VERDICT_ACTION_SHIFT | target; engine/verdict.py */
       VERDICT_ACTION_SHIFT = 24,
       VERDICT_TARGET_MASK = 0xff,     /* the port of OUT, the cause of DROP */
       VERDICT_RESERVED_MASK = 0xffff00,
       ACTION_PASS = 0,
       ACTION_OUT = 1,
       ACTION_DROP = 2,
};

enum { BATCH_EOP = 2 }; /* in status: this entry ends a frame */

struct batch {
    uint32_t count;
    uint32_t capacity;
    uint32_t reserved[14];
    uint32_t cells[];
};

/* A batch and its columns. Engine.close() points `head` at an empty one, so that a late call does nothing. */
struct batch_view {
    struct batch *head;
    uint32_t *ids;
    uint32_t *lengths; /* bytes in the buffer, without CRC */
    uint32_t *hashes;
    uint32_t *status;
    uint32_t *verdicts;
};
