/* A program that does the same to every frame, as a burst: the program's `frame.h` defines NAME_frame(frame, length), and
 * this calls it for those of a batch. A source file includes it once, with FRAME_OP the program's name.
 */
#define FRAME_OP_PASTE(name, suffix) name##suffix
#define FRAME_OP_NAME(name, suffix) FRAME_OP_PASTE(name, suffix)
#define FRAME_OP_FRAME FRAME_OP_NAME(FRAME_OP, _frame)

enum { PREFETCH_AHEAD = 8 }; /* frames; covers a load from L3 */

static inline uint32_t frame_burst(struct frames *frames)
{
	const struct batch_view *batch = &frames->batch;
	const uint32_t n = batch->head->count;
	uint8_t *arena = frames->arena;
	for (uint32_t i = 0; i < n && i < PREFETCH_AHEAD; i++)
		__builtin_prefetch(arena + frames->offsets[batch->ids[i]], 1);
	for (uint32_t i = 0; i < n; i++) {
		if (i + PREFETCH_AHEAD < n)
			__builtin_prefetch(arena + frames->offsets[batch->ids[i + PREFETCH_AHEAD]], 1);
		FRAME_OP_FRAME(arena + frames->offsets[batch->ids[i]], batch->lengths[i]);
	}
	return n;
}
