/* Mappings that come and go under rings. */
#include "device/device.h"

#include <errno.h>

void maps_changed(struct port *p)
{
    dma_init(p);
    rx_locate_rings(p);
    tx_locate_rings(p);
}

/* 0, or an error of dma_add. */
int dp_map(port_t *p, uint64_t iova, uint64_t size, int fd, uint64_t offset, int readable, int writable)
{
    struct owners_moved moved = {NULL, NULL, 0};
    unsigned access = (readable ? DMA_READ : 0u) | (writable ? DMA_WRITE : 0u);
    const struct dma_map wanted = {.iova = iova, .size = size, .file_offset = offset, .access = access};
    int error = dma_add(p, wanted, fd, &moved);
    for (unsigned i = 0; moved.from && i < p->dp->port_count; i++)
        if (p->dp->ports[i])
            rx_move_owners(p->dp->ports[i], &moved);
    if (error == 0)
        maps_changed(p);
    return error;
}

int dp_unmap(port_t *p, uint64_t iova, uint64_t size)
{
    struct dma_map *map = dma_remove(p, iova, size);
    if (!map)
        return -ENOENT;
    rx_forget_map(p, map);
    maps_changed(p);
    dma_map_free(p, map);
    return 0;
}

void dp_unmap_all(port_t *p)
{
    const struct dma_port *d = dma_of(p);
    while (d->map_count) {
        const struct dma_map *last = d->maps[d->map_count - 1];
        dp_unmap(p, last->iova, last->size);
    }
}
