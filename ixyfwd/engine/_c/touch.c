/* The `touch` program: increment one byte of every frame that is long enough to have it. */
#include "native.h"

enum { PREFETCH_AHEAD = 8 }; /* frames; covers a load from L3 */

uint32_t touch_burst(struct frames *frames)
{
	const struct batch_view *batch = &frames->batch;
	const uint32_t n = batch->head->count, at = frames->at;
	uint8_t *byte = frames->arena + at;
	for (uint32_t i = 0; i < n && i < PREFETCH_AHEAD; i++)
		__builtin_prefetch(byte + frames->offsets[batch->ids[i]], 1);
	for (uint32_t i = 0; i < n; i++) {
		if (i + PREFETCH_AHEAD < n)
			__builtin_prefetch(byte + frames->offsets[batch->ids[i + PREFETCH_AHEAD]], 1);
		if (batch->lengths[i] > at)
			byte[frames->offsets[batch->ids[i]]]++;
	}
	return n;
}
