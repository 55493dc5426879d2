/* A client may shrink a file that it has given for DMA, and touching what is gone raises SIGBUS. Nothing is checked
 * beforehand, since the file may shrink right after any check: the signal puts anonymous memory in the mapping's place,
 * the slice goes on, and at its end the mapping is a fault and out of reach. */
#define _GNU_SOURCE
#include "device/device.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

/* A signal handler is given no argument: the data path that this thread turns, and who had the signal before. */
static _Thread_local struct dp *at_work;
static struct sigaction before;

static struct dma_map *map_of_host(const struct dp *dp, const uint8_t *host)
{
    for (unsigned i = 0; i < dp->port_count; i++) {
        const struct dma_port *d = dp->ports[i] ? dma_of(dp->ports[i]) : NULL;
        for (unsigned k = 0; d && k < d->map_count; k++)
            if ((uint64_t)(host - (uint8_t *)d->maps[k]->mapped) < d->maps[k]->mapped_bytes)
                return d->maps[k];
    }
    return NULL;
}

/* The whole mapping, not a page: no mapping can be split so often that the kernel refuses, and huge pages fit. */
static bool replace(struct dma_map *map)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    int protection = (map->access & DMA_READ ? PROT_READ : 0) | (map->access & DMA_WRITE ? PROT_WRITE : 0);
    return mmap(map->mapped, map->mapped_bytes, protection, flags, -1, 0) != MAP_FAILED;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    struct dma_map *map = at_work && info->si_code == BUS_ADRERR ? map_of_host(at_work, info->si_addr) : NULL;
    if (map && replace(map)) {
        map->lost_at = (uint8_t *)info->si_addr;
        at_work->lost = true;
    } else { /* not ours: the access is repeated, and meets the handler that was here before */
        sigaction(SIGBUS, &before, NULL);
        if (info->si_code <= 0)
            raise(number);
    }
    errno = saved;
}

void lost_watch(void)
{
    struct sigaction now, ours = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGBUS, NULL, &now) < 0 || ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error))
        return;
    before = now;
    sigaction(SIGBUS, &ours, NULL);
}

void lost_begin(struct dp *dp) { at_work = dp; }

/* Takes the mappings that lost their file out of reach. They stay known until the client unmaps them. */
void lost_end(struct dp *dp)
{
    at_work = NULL;
    if (__builtin_expect(!dp->lost, 1))
        return;
    dp->lost = false;
    for (unsigned i = 0; i < dp->port_count; i++) {
        struct port *p = dp->ports[i];
        for (unsigned k = 0; k < dma_of(p)->map_count; k++) {
            struct dma_map *map = dma_of(p)->maps[k];
            if (!map->lost_at)
                continue;
            fault(p, FAULT_DMA_LOST, false, 0, (uint32_t)((map->lost_at - map->host) / DMA_PAGE_BYTES), map->iova);
            map->lost_at = NULL;
            map->access = 0;
            rx_forget_map(p, map);
        }
        maps_changed(p);
    }
}
