/* One port's control side: making, resetting, queue start and stop, fault records. */
#include "datapath.h"
#include "registers.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void fault(struct port *p, enum fault_kind kind, bool tx, unsigned queue, uint32_t index, uint64_t address)
{
    dp_faults *f = &p->faults;
    f->recent[f->total % 64] = (dp_fault){
        .address = address,
        .time_ns = clock_ns(),
        .index = index,
        .queue = (uint16_t)queue,
        .kind = (uint8_t)kind,
        .tx = tx,
    };
    f->total++;
    f->by_kind[kind]++;
}

dp_t *dp_new(unsigned ports)
{
    dp_t *dp = calloc(1, sizeof *dp + ports * sizeof dp->ports[0]);
    if (!dp || !(dp->pattern = malloc(FRAME_MAX))) {
        free(dp);
        return NULL;
    }
    /* Filling that differs from position to position also across 256 bytes, so that shifted data is seen. */
    for (unsigned i = 0; i < FRAME_MAX; i++)
        dp->pattern[i] = (uint8_t)(i * 7 + (i >> 8) * 31 + 0x35);
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
    port_t *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    p->dp = dp;
    p->index = index;
    p->store = store;
    p->link = p->dirty = true;
    p->missed = NOTHING_MISSED;
    p->reta_entries = RETA_ENTRIES;
    dma_init(p);
    wire_init(p);
    for (unsigned n = 0; n < QUEUES; n++) {
        p->rx[n].number = p->tx[n].number = (uint16_t)n;
        p->rx[n].tail_register = &REGISTER(p, rx_window(n) + RDT);
        p->tx[n].tail_register = &REGISTER(p, tx_window(n) + RDT);
    }
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
    for (unsigned i = 0; i < dp->port_count; i++)
        if (dp->ports[i]) {
            wire_free(dp->ports[i]);
            fifo_free(&dp->ports[i]->fifo);
            fdir_free(&dp->ports[i]->fdir);
            free(dp->ports[i]->maps);
            free(dp->ports[i]);
        }
    while (dp->backings) { /* left by a mapping that failed half way */
        struct backing *next = dp->backings->next;
        free(dp->backings);
        dp->backings = next;
    }
    free(dp->pattern);
    free(dp);
}

dp_stats *dp_port_stats(port_t *p) { return &p->stats; }
dp_faults *dp_port_faults(port_t *p) { return &p->faults; }
dp_causes *dp_port_causes(port_t *p) { return &p->causes; }
void dp_set_bus_master(port_t *p, int on) { p->bus_master = on; }
void dp_set_tail_mapped(port_t *p, int on) { p->tail_mapped = on; }
void dp_set_reta_entries(port_t *p, uint32_t entries) { p->reta_entries = entries; }
void dp_reconfigure(port_t *p) { p->dirty = true; }

void dp_set_link(port_t *p, int up)
{
    if (!p->link && up)
        wire_restart_clock(p);
    p->link = up;
    p->paused = p->paused && up;
}

void dp_feed(port_t *p, int on)
{
    if (!p->feeding && on)
        wire_restart_clock(p);
    p->feeding = on;
}

void dp_reset(port_t *p)
{
    while (p->rx_active_count)
        dp_stop_rx(p, p->rx_active[0]);
    while (p->tx_active_count)
        dp_stop_tx(p, p->tx_active[0]);
    for (unsigned n = 0; n < QUEUES; n++)
        p->rx[n].force_drop = false;
    fifo_clear(p);
    fdir_reset(p);
    p->dirty = true;
}

void dp_force_drop(port_t *p, unsigned n, int on)
{
    p->rx[n].force_drop = on;
    p->dirty = true;
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
    struct rx_queue *q = &p->rx[n];
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
    list_add(p->rx_active, &p->rx_active_count, n);
    rx_locate_rings(p);
    p->dirty = true; /* queue modes, and classifications that name the queue */
    return 1;
}

void dp_stop_rx(port_t *p, unsigned n)
{
    struct rx_queue *q = &p->rx[n];
    if (!q->running)
        return;
    for (uint32_t k = 0, i = q->head; k < q->ready; k++, i = i + 1 == q->entries ? 0 : i + 1)
        *q->slots[i].owner = 0;
    inject_stop_rx(p, q);
    free(q->slots);
    free(q->done);
    q->slots = NULL;
    q->done = NULL;
    q->ring = NULL;
    q->running = false;
    q->ready = q->most = q->reserve = 0;
    list_remove(p->rx_active, &p->rx_active_count, n);
    p->dirty = true;
}

int dp_start_tx(port_t *p, unsigned n)
{
    struct ring_registers r;
    dp_stop_tx(p, n);
    if (!read_ring(p, true, n, &r))
        return 0;
    struct tx_queue *q = &p->tx[n];
    uint32_t low = REGISTER(p, tx_window(n) + TDWBAL);
    q->base = r.base;
    q->entries = r.entries;
    q->head = q->tail = q->heard = r.head;
    q->bad_tail = q->refused_tail = NO_TAIL;
    q->begun = false;
    memset(q->contexts, 0, sizeof q->contexts); /* a context is this ring's: none is left from the one before */
    q->head_writeback = low & TDWBAL_ENABLE ? (low & ~3u) | (uint64_t)REGISTER(p, tx_window(n) + TDWBAH) << 32 : 0;
    q->running = true;
    list_add(p->tx_active, &p->tx_active_count, n);
    tx_locate_rings(p);
    return 1;
}

void dp_stop_tx(port_t *p, unsigned n)
{
    struct tx_queue *q = &p->tx[n];
    if (!q->running)
        return;
    inject_stop_tx(p, q);
    q->running = false;
    q->ring = NULL;
    list_remove(p->tx_active, &p->tx_active_count, n);
}

void dp_tail_written(port_t *p, int rx, unsigned n)
{
    if (rx)
        p->rx[n].tail = *p->rx[n].tail_register;
    else
        p->tx[n].tail = *p->tx[n].tail_register;
}

/* DPDK and ixy write the head right after ENABLE: taken while the device has not begun (8.2.3.8.4, 8.2.3.9.8). */
int dp_head_written(port_t *p, int rx, unsigned n)
{
    struct rx_queue *r = &p->rx[n];
    struct tx_queue *t = &p->tx[n];
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

uint32_t dp_rx_head(port_t *p, unsigned n) { return p->rx[n].head; }
uint32_t dp_tx_head(port_t *p, unsigned n) { return p->tx[n].head; }
