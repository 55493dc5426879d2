/* Making, resetting and freeing ports. */
#include "device/device.h"
#include "traffic/format.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

dp_t *dp_new(unsigned ports)
{
    dp_t *dp = calloc(1, sizeof *dp + ports * sizeof dp->ports[0]);
    if (!dp || !(dp->pattern = malloc(FRAME_MAX))) {
        free(dp);
        return NULL;
    }
    for (unsigned i = 0; i < FRAME_MAX; i++)
        dp->pattern[i] = filler(i);
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    lost_watch();
    dp->port_count = ports;
    dp->start_ns = dp->now_ns = clock_ns();
    dp->realtime_offset_ns = (uint64_t)real.tv_sec * 1000000000u + (uint64_t)real.tv_nsec - dp->now_ns;
    return dp;
}

/* Makes the port at first call; `store` is the register file. */
port_t *dp_port(dp_t *dp, unsigned index, void *store)
{
    if (index >= dp->port_count)
        return NULL;
    if (dp->ports[index])
        return dp->ports[index];
    size_t bytes = (sizeof(struct tx_port) + 63) / 64 * 64; /* every rung's part of it */
    port_t *p = aligned_alloc(64, bytes);
    if (!p)
        return NULL;
    memset(p, 0, bytes);
    p->dp = dp;
    p->index = index;
    p->store = store;
    p->link = config_of(p)->dirty = true;
    dma_of(p)->missed = NOTHING_MISSED;
    config_of(p)->reta_entries = RETA_ENTRIES;
    dma_init(p);
    wire_init(p);
    queues_init(p);
    dp->ports[index] = p;
    return p;
}

void dp_free(dp_t *dp)
{
    for (unsigned i = 0; i < dp->port_count; i++) {
        port_t *p = dp->ports[i];
        if (!p)
            continue;
        dp_reset(p);
        dp_unmap_all(p);
    }
    for (unsigned i = 0; i < dp->port_count; i++) {
        port_t *p = dp->ports[i];
        if (!p)
            continue;
        wire_free(p);
        fifo_free(&rx_of(p)->fifo);
        fdir_free(fdir_of(p));
        free(dma_of(p)->maps);
        free(p);
    }
    dma_free_backings(dp);
    free(dp->pattern);
    free(dp);
}

void dp_reset(port_t *p)
{
    while (rx_of(p)->active_count)
        dp_stop_rx(p, rx_of(p)->active[0]);
    while (tx_of(p)->active_count)
        dp_stop_tx(p, tx_of(p)->active[0]);
    for (unsigned n = 0; n < QUEUES; n++)
        rx_of(p)->queues[n].force_drop = false;
    fifo_clear(p);
    fdir_reset(p);
    p->paused = p->paused && p->pause_ends_ns == UINT64_MAX; /* the MAC's timer is set back, the far end's wish stays */
    config_of(p)->dirty = true;
}
