/* A program that does the same to every frame, as a burst: the program's `frame.h` defines NAME_frame(frame, length), and
 * this calls it for those of a batch. A source file includes it once, with FRAME_OP the program's name.
 */
#define FRAME_OP_PASTE(name, suffix) name##suffix
#define FRAME_OP_NAME(name, suffix) FRAME_OP_PASTE(name, suffix)
#define FRAME_OP_FRAME FRAME_OP_NAME(FRAME_OP, _frame)

enum { PREFETCH_AHEAD = 8 }; /* frames; covers a load from L3 */

static inline uint32_t frame_burst(struct frames *frames)
{
    /* Copies: what is written to a frame might be the batch's own words, for all that the compiler knows. */
    const uint32_t *ids = frames->batch.ids, *lengths = frames->batch.lengths;
    const uint64_t *offsets = frames->offsets;
    const uint32_t n = frames->batch.head->count;
    const uint32_t near = n < PREFETCH_AHEAD ? n : PREFETCH_AHEAD;
    uint8_t *arena = frames->arena;
    uint32_t i = 0;
    for (; i < near; i++)
        __builtin_prefetch(arena + offsets[ids[i]], 1);
    for (i = 0; i < n - near; i++) {
        __builtin_prefetch(arena + offsets[ids[i + PREFETCH_AHEAD]], 1);
        FRAME_OP_FRAME(arena + offsets[ids[i]], lengths[i]);
    }
    for (; i < n; i++)
        FRAME_OP_FRAME(arena + offsets[ids[i]], lengths[i]);
    return n;
}
