/* What an engine makes of a program that does the same to every frame: the program's `frame.h` defines
 * NAME_frame(frame, length), and this the burst, the burst of segments and the fused loop around it. The build includes
 * it once for each such program, with FRAME_OP its name.
 */
#include "native.h"

#define FRAME_OP_PASTE(name, suffix) name##suffix
#define FRAME_OP_NAME(name, suffix) FRAME_OP_PASTE(name, suffix)
#define FRAME_OP_FRAME FRAME_OP_NAME(FRAME_OP, _frame)
#define FRAME_OP_BURST FRAME_OP_NAME(FRAME_OP, _burst)

enum { PREFETCH_AHEAD = 8 }; /* frames; covers a load from L3 */

uint32_t FRAME_OP_BURST(struct frames *frames)
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

/* The same to the first segment of each frame. */
uint32_t FRAME_OP_NAME(FRAME_OP, _burst_segmented)(struct frames *frames)
{
	const struct batch_view *batch = &frames->batch;
	const uint32_t n = batch->head->count;
	uint32_t is_first = 1;
	for (uint32_t i = 0; i < n; i++) {
		if (is_first)
			FRAME_OP_FRAME(frames->arena + frames->offsets[batch->ids[i]], batch->lengths[i]);
		is_first = (batch->status[i] & RX_EOP) != 0;
	}
	return n;
}

#define FORWARD FRAME_OP_NAME(FRAME_OP, _forward)
#define TREATS 1
#define TREAT FRAME_OP_FRAME
#define TREAT_BURST FRAME_OP_BURST
#include "forward.h"
