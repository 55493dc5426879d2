/* What becomes of receive rings when mappings change. */
#include "rx/rx.h"

/* A mapping goes away under posted buffers: they are unmapped from now on, and without an owner. */
void rx_forget_map(struct port *p, const struct dma_map *map)
{
    for (unsigned k = 0; k < rx_of(p)->active_count; k++) {
        struct rx_queue *q = rx_active(p, k);
        for (uint32_t i = 0; i < q->entries; i++) {
            struct rx_slot *slot = &q->slots[i];
            if (!slot->host || (uint64_t)(slot->host - map->host) >= map->size)
                continue;
            uint32_t distance = i >= q->head ? i - q->head : i + q->entries - q->head;
            bool withheld = q->entries - distance <= rx_of(p)->held[q->number].count;
            if (distance < q->ready || withheld)
                *slot->owner = 0;
            *slot = (struct rx_slot){.address = slot->address, .owner = &p->dp->unowned};
        }
    }
}

/* Owner bytes are elsewhere: slots point into them. */
void rx_move_owners(struct port *p, const struct owners_moved *moved)
{
    for (unsigned n = 0; n < QUEUES; n++) {
        struct rx_queue *q = &rx_of(p)->queues[n];
        for (uint32_t i = 0; q->slots && i < q->entries; i++) {
            uint8_t **owner = &q->slots[i].owner;
            if (*owner >= moved->from && *owner < moved->from + moved->bytes)
                *owner = moved->to + (*owner - moved->from);
        }
    }
}

void rx_locate_rings(struct port *p)
{
    for (unsigned k = 0; k < rx_of(p)->active_count; k++) {
        struct rx_queue *q = rx_active(p, k);
        q->ring = (struct desc *)dma_host(p, q->base, sizeof(struct desc) * q->entries, DMA_READ | DMA_WRITE);
    }
}
