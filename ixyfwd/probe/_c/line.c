/* The round trip of a cache line between two CPUs: each end waits for the other's store and answers with its own. */
#include "probe.h"

#include <time.h>

enum { SPINS_PER_LOOK = 4096 }; /* at the clock; at 100 ns a spin some hundred microseconds */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Wait until the line's turn is `turn`; 0 if that takes longer than `timeout_ns` or the other end has given up. */
static uint32_t wait_for(struct line *line, uint64_t turn, uint64_t timeout_ns)
{
    uint64_t until = 0;
    for (uint32_t spins = 1; line->turn != turn; spins++) {
        if (spins % SPINS_PER_LOOK)
            continue;
        const uint64_t now = now_ns();
        if (until == 0)
            until = now + timeout_ns;
        if (now > until || line->stopped) {
            line->stopped = 1;
            return 0;
        }
    }
    return 1;
}

uint32_t line_first(struct line *line, uint64_t *took_ns, uint32_t batches, uint32_t trips, uint64_t timeout_ns)
{
    uint64_t turn = 0;
    for (uint32_t batch = 0; batch < batches; batch++) {
        const uint64_t since = now_ns();
        for (uint32_t trip = 0; trip < trips; trip++, turn += 2) {
            line->turn = turn + 1;
            if (!wait_for(line, turn + 2, timeout_ns))
                return 0;
        }
        took_ns[batch] = now_ns() - since;
    }
    return 1;
}

uint32_t line_second(struct line *line, uint32_t batches, uint32_t trips, uint64_t timeout_ns)
{
    const uint64_t last = 2 * (uint64_t)batches * trips;
    for (uint64_t turn = 0; turn < last; turn += 2) {
        if (!wait_for(line, turn + 1, timeout_ns))
            return 0;
        line->turn = turn + 2;
    }
    return 1;
}
