/* The loop: all ports, round after round, until something outside wants attention. */
#define _GNU_SOURCE
#include "device/device.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <time.h>

enum {
    CHECK_EVERY_NS = 50000,
    SPIN_ROUNDS = 32,         /* empty rounds before the CPU is offered to others */
    YIELD_NS = 200000,        /* how long it is only offered before the loop sleeps */
    SLEEP_SHORTEST_NS = 50000,
    SLEEP_LONGEST_NS = 1000000,
    SETTLE_NS = 2000, /* about twice what a frame takes from ring to ring */
    SETTLE_LONGEST_NS = 10000,
    MAX_FDS = 34,
};

enum { RUN_BUDGET = 1, RUN_READABLE = 2, RUN_CAPTURE_FULL = 3, RUN_CAUSED = 4 };

static void prefetch_doorbells(const struct port *p)
{
    for (unsigned k = 0; p->tail_mapped && k < rx_of(p)->active_count; k++)
        __builtin_prefetch((const void *)rx_active(p, k)->tail_register);
    for (unsigned k = 0; p->tail_mapped && k < tx_of(p)->active_count; k++)
        __builtin_prefetch((const void *)tx_active(p, k)->tail_register);
}

/* Every port once, but for what the wires would send. Transmit before feeding: what is fed in a round is seen again in
 * a later one, so stamps are never ahead. The rx tails are looked at before both: a buffer that came back between the
 * two looks would be taken for room, while the frame that was in it is still on its way to a transmit ring (see
 * pause_threshold). All looks come first, so that doorbells and descriptors travel from the driver's core together. */
static unsigned round_without_feed(struct dp *dp)
{
    unsigned moved = 0;
    for (unsigned i = 0; i < dp->port_count; i++)
        if (__builtin_expect(dp->ports[i]->inject.holds, 0)) {
            rx_release_due(dp->ports[i]);
            tx_release_due(dp->ports[i]);
        }
    for (unsigned i = 0; i < dp->port_count; i++)
        prefetch_doorbells(dp->ports[i]);
    for (unsigned i = 0; i < dp->port_count; i++)
        rx_hear_all(dp->ports[i]);
    for (unsigned i = 0; i < dp->port_count; i++)
        tx_hear_all(dp->ports[i]);
    for (unsigned i = 0; i < dp->port_count; i++) {
        rx_take_all(dp->ports[i]);
        if (__builtin_expect(rx_of(dp->ports[i])->fifo.count, 0))
            moved += rx_drain(dp->ports[i]);
    }
    for (unsigned i = 0; i < dp->port_count; i++)
        moved += tx_poll_all(dp->ports[i]);
    return moved;
}

unsigned dp_round(struct dp *dp)
{
    unsigned moved = round_without_feed(dp);
    for (unsigned i = 0; i < dp->port_count; i++)
        moved += wire_feed(dp->ports[i]);
    return moved;
}

/* Sleep until `epoll_fd` or a TAP is readable, at most `ns`. True if it is epoll_fd. */
static bool wait_readable(struct dp *dp, int epoll_fd, uint64_t ns, bool taps)
{
    struct pollfd fds[MAX_FDS] = {{.fd = epoll_fd, .events = POLLIN}};
    nfds_t count = 1;
    for (unsigned i = 0; taps && i < dp->port_count && count < MAX_FDS; i++)
        if (wire_wake_fd(dp->ports[i]) >= 0)
            fds[count++] = (struct pollfd){.fd = wire_wake_fd(dp->ports[i]), .events = POLLIN};
    struct timespec timeout = {.tv_sec = 0, .tv_nsec = (long)ns};
    int ready = ppoll(fds, count, &timeout, NULL);
    return (ready > 0 && fds[0].revents) || (ready < 0 && errno == EINTR);
}

static uint64_t ns_to_next_due(const struct dp *dp)
{
    uint64_t next = UINT64_MAX, now = clock_ps(dp);
    for (unsigned i = 0; i < dp->port_count; i++) {
        uint64_t due = wire_due_ps(dp->ports[i]);
        if (due < next)
            next = due;
    }
    return next <= now ? 0 : (next - now) / 1000;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Nothing moved. True if epoll_fd became readable meanwhile. Sleeps end with the budget: interrupts are timed by it. */
static bool give_way(struct dp *dp, int epoll_fd, uint64_t end_ns)
{
    struct idle *idle = &dp->idle;
    if (idle->rounds++ == 0) {
        idle->since_ns = dp->now_ns;
        idle->sleep_ns = SLEEP_SHORTEST_NS;
    }
    if (idle->rounds < SPIN_ROUNDS)
        return false;
    uint64_t due = ns_to_next_due(dp), left = end_ns - dp->now_ns, longest = due < left ? due : left;
    if (dp->now_ns - idle->since_ns < YIELD_NS || longest < SLEEP_SHORTEST_NS) {
        sched_yield();
        return false;
    }
    uint64_t ns = idle->sleep_ns < longest ? idle->sleep_ns : longest;
    if (idle->sleep_ns < SLEEP_LONGEST_NS)
        idle->sleep_ns *= 2;
    return wait_readable(dp, epoll_fd, ns < SLEEP_LONGEST_NS ? ns : SLEEP_LONGEST_NS, true);
}

static int run_until(struct dp *dp, int epoll_fd, uint64_t budget_ns, bool share_cpu)
{
    dp->now_ns = clock_ns();
    uint64_t end_ns = dp->now_ns + budget_ns, check_ns = dp->now_ns + CHECK_EVERY_NS;
    for (;;) {
        unsigned moved = dp_round(dp);
        if (dp->capture_full)
            return RUN_CAPTURE_FULL;
        if (dp->caused)
            return RUN_CAUSED;
        dp->now_ns = clock_ns();
        if (dp->now_ns >= end_ns)
            return RUN_BUDGET;
        if (dp->now_ns >= check_ns) {
            if (epoll_fd >= 0 && wait_readable(dp, epoll_fd, 0, false))
                return RUN_READABLE;
            check_ns = dp->now_ns + CHECK_EVERY_NS;
        }
        if (moved)
            dp->idle.rounds = 0;
        else if (!share_cpu)
            relax();
        else if (give_way(dp, epoll_fd, end_ns))
            return RUN_READABLE;
    }
}

/* Python works between two runs, for tens of microseconds, and frames on their way to a sink would seem to take as long.
 * So the wires pause until nothing has come for a moment. Only where they send by the clock: at rate "max" rings are
 * full all the time and latencies tell nothing. */
static void settle(struct dp *dp)
{
    bool paced = false;
    for (unsigned i = 0; i < dp->port_count; i++)
        paced |= wire_due_ps(dp->ports[i]) != UINT64_MAX;
    uint64_t begun_ns = dp->now_ns = clock_ns(), moved_ns = begun_ns;
    while (paced && dp->now_ns - moved_ns < SETTLE_NS && dp->now_ns - begun_ns < SETTLE_LONGEST_NS) {
        if (round_without_feed(dp))
            moved_ns = dp->now_ns;
        dp->now_ns = clock_ns();
    }
}

/* What a reader of the store finds between runs: heads up to date, every posted descriptor looked at. */
static void publish(struct port *p)
{
    dma_of(p)->let_through = false;
    for (unsigned k = 0; k < rx_of(p)->active_count; k++) {
        struct rx_queue *q = rx_active(p, k);
        rx_fetch(p, q);
        REGISTER(p, rx_window(q->number) + RDH) = q->head;
    }
    for (unsigned k = 0; k < tx_of(p)->active_count; k++)
        REGISTER(p, tx_window(tx_active(p, k)->number) + RDH) = tx_active(p, k)->head;
}

int dp_run(dp_t *dp, int epoll_fd, uint64_t budget_ns, int share_cpu)
{
    dp->capture_full = dp->caused = false;
    for (unsigned i = 0; i < dp->port_count; i++)
        if (config_of(dp->ports[i])->dirty)
            rx_configure(dp->ports[i]);
    lost_begin(dp);
    int why = run_until(dp, epoll_fd, budget_ns, share_cpu);
    if (!share_cpu && budget_ns && why != RUN_CAUSED && why != RUN_CAPTURE_FULL)
        settle(dp);
    for (unsigned i = 0; i < dp->port_count; i++)
        publish(dp->ports[i]);
    lost_end(dp);
    return why;
}
