/* What an engine makes of a program that does the same to every frame: the burst, and the burst of segments. The build
 * includes it once for each program with a `frame.h`, with FRAME_OP its name, and declares what follows.
 */
/* for Python, of each program
uint32_t NAME_burst(struct frames *frames);
uint32_t NAME_burst_segmented(struct frames *frames);
*/
#include "engine/frame_burst.h"

uint32_t FRAME_OP_NAME(FRAME_OP, _burst)(struct frames *frames) { return frame_burst(frames); }

/* The same to the first segment of each frame. */
uint32_t FRAME_OP_NAME(FRAME_OP, _burst_segmented)(struct frames *frames)
{
    const struct batch_view *batch = &frames->batch;
    const uint32_t n = batch->head->count;
    uint32_t is_first = 1;
    for (uint32_t i = 0; i < n; i++) {
        if (is_first)
            FRAME_OP_FRAME(frames->arena + frames->offsets[batch->ids[i]], batch->lengths[i]);
        is_first = (batch->status[i] & BATCH_EOP) != 0;
    }
    return n;
}
