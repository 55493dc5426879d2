/* Starting and stopping queues, and what a driver writes to their heads and tails. */
#include "device/device.h"

#include <stdlib.h>
#include <string.h>

static void set_doorbells(struct port *p, volatile uint8_t *bar)
{
    for (unsigned n = 0; n < QUEUES; n++) {
        rx_of(p)->queues[n].tail_register = (volatile uint32_t *)(bar + rx_window(n) + RDT);
        tx_of(p)->queues[n].tail_register = (volatile uint32_t *)(bar + tx_window(n) + RDT);
    }
}

void queues_init(struct port *p)
{
    for (unsigned n = 0; n < QUEUES; n++)
        rx_of(p)->queues[n].number = tx_of(p)->queues[n].number = (uint16_t)n;
    set_doorbells(p, (volatile uint8_t *)p->store);
}

/* Doorbells are in a BAR that is not the store. */
void dp_set_polled(port_t *p, void *bar)
{
    set_doorbells(p, bar);
    p->tail_mapped = dma_of(p)->polled = true;
}

void dp_force_drop(port_t *p, unsigned n, int on)
{
    rx_of(p)->queues[n].force_drop = on;
    config_of(p)->dirty = true;
}

static void list_add(uint8_t *list, unsigned *count, unsigned n) { list[(*count)++] = (uint8_t)n; }

static void list_remove(uint8_t *list, unsigned *count, unsigned n)
{
    unsigned i = 0;
    while (i < *count && list[i] != n)
        i++;
    if (i < *count)
        memmove(list + i, list + i + 1, --*count - i);
}

/* Base, length and head of a ring, as far as they are sane (8.2.3.8.1 to 8.2.3.8.4). */
struct ring_registers {
    uint64_t base;
    uint32_t entries, head;
};

static bool read_ring(struct port *p, bool tx, unsigned n, struct ring_registers *r)
{
    unsigned window = tx ? tx_window(n) : rx_window(n);
    uint32_t low = REGISTER(p, window + RDBAL), bytes = REGISTER(p, window + RDLEN);
    r->base = low | (uint64_t)REGISTER(p, window + RDBAH) << 32;
    r->entries = bytes / sizeof(struct desc);
    r->head = REGISTER(p, window + RDH);
    if ((low & 127) == 0 && bytes != 0 && (bytes & 127) == 0 && bytes < 1u << 20 && r->head < r->entries)
        return true;
    fault(p, FAULT_RING_INVALID, tx, n, r->head, r->base);
    return false;
}

int dp_start_rx(port_t *p, unsigned n)
{
    struct ring_registers r;
    dp_stop_rx(p, n);
    if (!read_ring(p, false, n, &r))
        return 0;
    struct rx_queue *q = &rx_of(p)->queues[n];
    uint32_t srrctl = REGISTER(p, rx_window(n) + SRRCTL), kilobytes = srrctl & SRRCTL_BSIZEPACKET;
    struct rx_slot *slots = calloc(r.entries + SLOT_MARGIN, sizeof *slots);
    struct desc *done = calloc(RX_BURST, sizeof *done);
    /* DESCTYPE 0 legacy, 1 advanced; header split and replication are not modelled. */
    if (!slots || !done || kilobytes == 0 || (srrctl & SRRCTL_DESCTYPE) >> 25 > 1) {
        fault(p, FAULT_RING_INVALID, false, n, r.head, r.base);
        free(slots);
        free(done);
        return 0;
    }
    q->slots = slots;
    q->done = done;
    q->base = r.base;
    q->entries = r.entries;
    q->head = q->tail = q->heard = r.head;
    q->bad_tail = q->refused_tail = NO_TAIL;
    q->ready = q->pend = q->pend_frames = q->pend_bytes = q->looks_skipped = 0;
    q->begun = false;
    q->buffer_bytes = kilobytes * 1024;
    q->legacy = (srrctl & SRRCTL_DESCTYPE) == 0;
    q->running = true;
    list_add(rx_of(p)->active, &rx_of(p)->active_count, n);
    rx_locate_rings(p);
    config_of(p)->dirty = true; /* queue modes, and classifications that name the queue */
    return 1;
}

void dp_stop_rx(port_t *p, unsigned n)
{
    struct rx_queue *q = &rx_of(p)->queues[n];
    if (!q->running)
        return;
    for (uint32_t k = 0, i = q->head; k < q->ready; k++, i = i + 1 == q->entries ? 0 : i + 1)
        *q->slots[i].owner = 0;
    rx_held_stop(p, q);
    free(q->slots);
    free(q->done);
    q->slots = NULL;
    q->done = NULL;
    q->ring = NULL;
    q->running = false;
    q->ready = q->most = q->reserve = 0;
    list_remove(rx_of(p)->active, &rx_of(p)->active_count, n);
    config_of(p)->dirty = true;
}

int dp_start_tx(port_t *p, unsigned n)
{
    struct ring_registers r;
    dp_stop_tx(p, n);
    if (!read_ring(p, true, n, &r))
        return 0;
    struct tx_queue *q = &tx_of(p)->queues[n];
    uint32_t low = REGISTER(p, tx_window(n) + TDWBAL);
    q->base = r.base;
    q->entries = r.entries;
    q->head = q->tail = q->heard = r.head;
    q->bad_tail = q->refused_tail = NO_TAIL;
    q->begun = false;
    memset(q->contexts, 0, sizeof q->contexts); /* a context is this ring's: none is left from the one before */
    q->head_writeback = low & TDWBAL_ENABLE ? (low & ~3u) | (uint64_t)REGISTER(p, tx_window(n) + TDWBAH) << 32 : 0;
    q->running = true;
    list_add(tx_of(p)->active, &tx_of(p)->active_count, n);
    tx_locate_rings(p);
    return 1;
}

void dp_stop_tx(port_t *p, unsigned n)
{
    struct tx_queue *q = &tx_of(p)->queues[n];
    if (!q->running)
        return;
    tx_held_stop(p, q);
    q->running = false;
    q->ring = NULL;
    list_remove(tx_of(p)->active, &tx_of(p)->active_count, n);
}

void dp_tail_written(port_t *p, int rx, unsigned n)
{
    struct rx_queue *r = &rx_of(p)->queues[n];
    struct tx_queue *t = &tx_of(p)->queues[n];
    if (rx)
        r->tail = *r->tail_register;
    else
        t->tail = *t->tail_register;
}

/* DPDK and ixy write the head right after ENABLE: taken while the device has not begun (8.2.3.8.4, 8.2.3.9.8). */
int dp_head_written(port_t *p, int rx, unsigned n)
{
    struct rx_queue *r = &rx_of(p)->queues[n];
    struct tx_queue *t = &tx_of(p)->queues[n];
    uint32_t value = REGISTER(p, (rx ? rx_window(n) : tx_window(n)) + RDH);
    uint32_t *head = rx ? &r->head : &t->head, *tail = rx ? &r->tail : &t->tail;
    uint32_t *heard = rx ? &r->heard : &t->heard;
    if (!(rx ? r->running : t->running) || *head == value)
        return 1;
    if ((rx ? r->begun : t->begun) || value >= (rx ? r->entries : t->entries))
        return 0;
    *head = *tail = *heard = value;
    return 1;
}

uint32_t dp_rx_head(port_t *p, unsigned n) { return rx_of(p)->queues[n].head; }
uint32_t dp_tx_head(port_t *p, unsigned n) { return tx_of(p)->queues[n].head; }
