/* When a wire's next frame is due. Times are picoseconds since the data path was made. */
#ifndef IXYFWD_PACE_H
#define IXYFWD_PACE_H

#include "traffic/format.h"
#include "wire/wire.h"

#define CATCH_UP_PS 16000000u /* how much of a delay is made good by frames back to back */
/* A fast wire is served in groups, as the chip writes descriptors back in groups: frame by frame, model and driver
 * would fight for every cache line of the ring, and forwarding at line rate would cost half as much again. */
#define GROUP_FRAMES 32u
#define GROUP_LEAST 4u          /* fewer are not worth the wait */
#define GROUP_LIMIT_PS 2400000u /* longest wait for a group */

static inline uint64_t pace_frame_ps(const dp_pace *pace, uint32_t length)
{
    return pace->frame_ps + pace->byte_ps * (length + WIRE_OVERHEAD_BYTES);
}

static inline bool pace_due(const dp_pace *pace, uint64_t now_ps) { return pace->max || pace->due_ps <= now_ps; }

/* Whether a group of frames, each of this duration, is due. */
static inline bool pace_group_due(const dp_pace *pace, uint64_t now_ps, uint64_t frame_ps)
{
    uint64_t group_ps = GROUP_FRAMES * frame_ps;
    if (group_ps > GROUP_LIMIT_PS)
        group_ps = GROUP_LEAST * frame_ps <= GROUP_LIMIT_PS ? GROUP_LIMIT_PS : 0;
    return pace->max || pace->due_ps + group_ps <= now_ps;
}

/* Give up whole frames, of `frame_ps` each, that cannot be caught up; returns how many. */
static inline uint64_t pace_give_up(dp_pace *pace, uint64_t now_ps, uint64_t frame_ps)
{
    return pace->max ? 0 : give_up_late(&pace->due_ps, now_ps, frame_ps, CATCH_UP_PS);
}

/* Give up what is due and found no room, so that nothing is made good afterwards: a link partner that was paused goes on
 * at its rate. Returns how many frames, of `frame_ps` each. */
static inline uint64_t pace_resume(dp_pace *pace, uint64_t now_ps, uint64_t frame_ps)
{
    return pace->max ? 0 : give_up_due(&pace->due_ps, now_ps, frame_ps);
}

#endif
