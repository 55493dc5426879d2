/* The format of test traffic: how a frame is laid out, what fills it, when it is due. The generator wire and its sink in
 * the model include it, and so do the rings of NIC families whose workers generate. `format.py` and `schedule.py` say
 * the same in Python; tests/traffic/test_format.py compares them. Frames have no CRC here. */
#ifndef IXYFWD_TRAFFIC_FORMAT_H
#define IXYFWD_TRAFFIC_FORMAT_H

#include <stdint.h>

enum {
    TEMPLATE_BYTES = 64, /* the head of a flow's frames of one size, padded to a cache line */
    HEAD_BYTES = 60, /* of a frame: as long as the shortest one; what follows is filler */
    AT_MARK = 42, /* number of the generator, then MARK */
    AT_FLOW = 44, /* u32 */
    AT_TOUCH = 48, /* the byte that the `touch` program increments, then three zeros */
    AT_SEQUENCE = 52, /* u32, counts within the flow */
    AT_STAMP = 56, /* u32, low bits of CLOCK_MONOTONIC in ns */
    MARK = 0xA5,
    WIRE_OVERHEAD_BYTES = 24, /* CRC, preamble and gap: what a frame takes on the wire besides */
};

#define LAG_PS UINT64_C(10000000000) /* 10 ms: a worker gives up frames that are due for longer */

_Static_assert(AT_STAMP == AT_SEQUENCE + 4 && HEAD_BYTES == AT_STAMP + 4, "sequence and stamp end a head");

/* The byte at `position` of a frame, behind its head. It differs also across 256 bytes, so that shifted data is seen. */
static inline uint8_t filler(uint32_t position) { return (uint8_t)(position * 7 + (position >> 8) * 31 + 0x35); }

/* Steps in the schedule of sizes by which a flow of a generator wire is ahead of the first one: spread, so that the
 * shares hold over any stretch of frames. */
static inline uint32_t spread_step(uint32_t flow, uint32_t flows, uint32_t schedule_length)
{
    return (uint32_t)((uint64_t)flow * schedule_length / flows);
}

/* The step in the schedule of sizes of a worker's frame: each flow is one ahead of the one before. */
static inline uint32_t schedule_step(uint32_t flow, uint32_t sequence, uint32_t schedule_length)
{
    return (uint32_t)(((uint64_t)sequence + flow) % schedule_length);
}

/* How many frames, of `frame_ps` each, are due if the next one is at `due_ps`. */
static inline uint64_t frames_due(uint64_t due_ps, uint64_t now_ps, uint64_t frame_ps)
{
    return due_ps > now_ps ? 0 : (now_ps - due_ps) / frame_ps + 1;
}

/* Gives up all frames that are due; returns how many. */
static inline uint64_t give_up_due(uint64_t *due_ps, uint64_t now_ps, uint64_t frame_ps)
{
    if (*due_ps > now_ps)
        return 0;
    const uint64_t frames = frames_due(*due_ps, now_ps, frame_ps);
    *due_ps += frames * frame_ps;
    return frames;
}

/* Gives up whole frames, of `frame_ps` each, that are due for longer than `lag_ps`; returns how many. */
static inline uint64_t give_up_late(uint64_t *due_ps, uint64_t now_ps, uint64_t frame_ps, uint64_t lag_ps)
{
    if (*due_ps + lag_ps > now_ps)
        return 0;
    const uint64_t frames = (now_ps - lag_ps - *due_ps) / frame_ps;
    *due_ps += frames * frame_ps;
    return frames;
}

#endif
