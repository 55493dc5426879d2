/* Setting up, and what must hold after every slice: guards untouched, every frame in one counter. */
#define _GNU_SOURCE
#include "world.h"
#include "base/registers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    STORE_BYTES = 512 * 1024,
    STORE_USED_BYTES = 64 * 1024,
    CAPTURE_BYTES = 64 * 1024,
    REPLAYED = 24,
    GENERATED = 300,
};

const unsigned QUEUE_NUMBERS[RINGS] = {0, 1, 65, 127};

#define REQUIRE(truth)                                                                                                 \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #truth);                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Every DMA mapping gets a page before and behind it that nobody may touch: one byte too far is SIGSEGV. */
void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t bytes);

static struct {
    void *at[4096];
    unsigned count;
} guarded;

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (at || fd < 0 || guarded.count == 4096)
        return __real_mmap(at, bytes, protection, flags, fd, offset);
    uint8_t *room = __real_mmap(NULL, bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(room != MAP_FAILED);
    void *map = __real_mmap(room + PAGE, bytes, protection, flags | MAP_FIXED, fd, offset);
    if (map == MAP_FAILED)
        __real_munmap(room, bytes + 2 * PAGE);
    else
        guarded.at[guarded.count++] = map;
    return map;
}

int __wrap_munmap(void *at, size_t bytes)
{
    for (unsigned i = 0; i < guarded.count; i++)
        if (guarded.at[i] == at) {
            guarded.at[i] = guarded.at[--guarded.count];
            return __real_munmap((uint8_t *)at - PAGE, bytes + 2 * PAGE);
        }
    return __real_munmap(at, bytes);
}

static uint8_t guard[GUARD_BYTES];

static void fill_guards(struct world *w)
{
    memcpy(w->open - GUARD_BYTES, guard, sizeof guard);
    memcpy(w->open + OPEN_BYTES, guard, sizeof guard);
}

static void check_guards(const struct world *w)
{
    REQUIRE(memcmp(w->open - GUARD_BYTES, guard, sizeof guard) == 0);
    REQUIRE(memcmp(w->open + OPEN_BYTES, guard, sizeof guard) == 0);
}

static uint64_t sum(const uint64_t *values, unsigned count)
{
    uint64_t total = 0;
    while (count--)
        total += values[count];
    return total;
}

/* received = delivered + dropped by cause; sent = what the wire took. */
static void check_accounts(const struct world *w, unsigned i)
{
    port_t *p = w->ports[i];
    const dp_stats *s = dp_port_stats(p);
    REQUIRE(s->gptc >= dp_port_far_end(p)->sent);
    uint64_t looped = s->gptc - s->lxontxc - s->lxofftxc - dp_port_far_end(p)->sent,
             offered = 0; /* HLREG0.LPBK: the wire sees nothing of it */
    if (w->wire == CHOOSE_CABLE)
        offered = dp_port_far_end(p)->received;
    else if (w->wire == CHOOSE_GENERATOR)
        offered = dp_port_generator(p)->sent;
    else if (w->wire == CHOOSE_PCAP)
        offered = dp_port_replay(p)->sent;
    REQUIRE(s->tpr == offered + looped);
    REQUIRE(s->tpr == s->roc + s->rx_filtered + s->rx_mac_control + s->gprc);
    REQUIRE(s->gprc == sum(s->qprc, 16) + sum(s->qprdc, 16) + sum(s->rxmpc, 8) + s->rx_off + s->rx_queue_off +
                           s->rx_dma_dropped + s->rx_waiting);
    REQUIRE(s->gprc == s->prc64 + s->prc127 + s->prc255 + s->prc511 + s->prc1023 + s->prc1522);
    REQUIRE(s->gptc == s->tpt && s->gptc == sum(s->qptc, 16) + s->lxontxc + s->lxofftxc);
    REQUIRE(s->gptc == s->ptc64 + s->ptc127 + s->ptc255 + s->ptc511 + s->ptc1023 + s->ptc1522);
    if (w->wire == CHOOSE_PCAP)
        REQUIRE(s->gptc - looped == dp_port_capture(p)->captured + dp_port_capture(p)->lost);
    const dp_faults *f = dp_port_faults(p);
    REQUIRE(f->total == sum(f->by_kind, sizeof f->by_kind / sizeof *f->by_kind));
}

static void plug(struct world *w, unsigned i)
{
    static const uint16_t sizes[] = {60, 124, 1514};
    static const uint8_t schedule[] = {0, 1, 0, 2}, templates[4 * 3 * 64];
    static uint8_t blob[4096];
    dp_pace pace = {.max = 1, .waits = 1};
    port_t *p = w->ports[i];
    if (w->wire == CHOOSE_CABLE) {
        dp_plug_cable(p, w->ports[!i]);
    } else if (w->wire == CHOOSE_GENERATOR) {
        REQUIRE(dp_plug_generator(p, 4, 3, sizes, 4, schedule, templates, GENERATED, 1, &pace) == 0);
    } else if (w->wire == CHOOSE_PCAP) {
        static dp_record records[REPLAYED];
        for (unsigned k = 0; k < REPLAYED; k++)
            records[k] = (dp_record){.offset = k, .length = 14 + k * k * 7};
        REQUIRE(dp_plug_replay(p, records, REPLAYED, blob, i == 1, &pace) == 0);
        REQUIRE(dp_plug_capture(p, CAPTURE_BYTES) == 0);
    } else {
        dp_plug_none(p);
    }
    dp_feed(p, w->wire != CHOOSE_PCAP || i == 0);
}

static void set_usual_registers(struct world *w, unsigned i)
{
    static const uint32_t usual[][2] = {
        {RDRXCTL, 0x0010880A},  {RXCTRL, 1},      {HLREG0, 0x08012C0B}, {MAXFRS, 0x05EE0000},
        {DMATXCTL, 0x81000005}, {RXCSUM, 0x2000}, {FCTRL, 0x700},       {VLNCTRL, 0x8100},
        {RETA, 0x03020100},     {MRQC, 0},        {RXPBSIZE0, 4096},
    };
    memset(w->stores[i], 0, STORE_USED_BYTES);
    for (unsigned k = 0; k < sizeof usual / sizeof *usual; k++)
        set_register(w, i, usual[k][0], usual[k][1]);
}

static void open_file(struct world *w)
{
    w->fd = memfd_create("fuzz", MFD_CLOEXEC);
    REQUIRE(w->fd >= 0 && ftruncate(w->fd, OPEN_BYTES + 2 * GUARD_BYTES) == 0);
    uint8_t *file = __real_mmap(NULL, OPEN_BYTES + 2 * GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
    REQUIRE(file != MAP_FAILED);
    w->open = file + GUARD_BYTES;
    for (uint32_t i = 0; i < GUARD_BYTES; i++)
        guard[i] = (uint8_t)(i * 13 + (i >> 8) + 1);
    for (unsigned i = 0; i < 2; i++)
        REQUIRE((w->stores[i] = calloc(1, STORE_BYTES)) != NULL);
}

void world_begin(struct world *w, enum wire_choice wire)
{
    if (!w->open)
        open_file(w);
    memset(w->open, 0, OPEN_BYTES);
    fill_guards(w);
    w->wire = wire;
    REQUIRE((w->dp = dp_new(2)) != NULL);
    for (unsigned i = 0; i < 2; i++) {
        set_usual_registers(w, i);
        REQUIRE((w->ports[i] = dp_port(w->dp, i, w->stores[i])) != NULL);
        dp_set_bus_master(w->ports[i], 1);
        world_map(w, w->ports[i], 0);
    }
    for (unsigned i = 0; i < 2; i++)
        plug(w, i);
}

void world_end(struct world *w)
{
    dp_free(w->dp);
    REQUIRE(guarded.count == 0);
    check_guards(w);
}

uint32_t ring_at(unsigned port, int rx, unsigned ring) { return ((port * 2 + !rx) * RINGS + ring) * RING_BYTES; }

/* Known ways of dividing the open part; page by page in reverse is what a virtual machine's IOMMU makes of it. */
void world_map(struct world *w, port_t *p, unsigned layout)
{
    const uint64_t half = OPEN_BYTES / 2, last = OPEN_BYTES - PAGE;
    dp_unmap_all(p);
    switch (layout & 7) {
    case 0:
        dp_map(p, IOVA, OPEN_BYTES, w->fd, GUARD_BYTES, 1, 1);
        break;
    case 1:
        dp_map(p, IOVA, half, w->fd, GUARD_BYTES, 1, 1);
        dp_map(p, IOVA + half, half, w->fd, GUARD_BYTES + half, 1, 0);
        break;
    case 2:
        dp_map(p, IOVA, half, w->fd, GUARD_BYTES + half, 1, 1);
        dp_map(p, IOVA + half, half, w->fd, GUARD_BYTES, 1, 1);
        break;
    case 3:
        for (uint64_t at = 0; at < OPEN_BYTES; at += PAGE)
            dp_map(p, IOVA + at, PAGE, w->fd, at < BUFFERS_AT ? GUARD_BYTES + at : GUARD_BYTES + last + BUFFERS_AT - at,
                   1, 1);
        break;
    case 4: /* the first page holds half of the rings; then a hole */
        dp_map(p, IOVA, PAGE, w->fd, GUARD_BYTES, 1, 1);
        dp_map(p, IOVA + 2 * PAGE, half, w->fd, GUARD_BYTES + 2 * PAGE, 0, 1);
        break;
    case 5: /* the ends of the address space */
        dp_map(p, 0, PAGE, w->fd, GUARD_BYTES, 1, 1);
        dp_map(p, 0ull - PAGE, PAGE, w->fd, GUARD_BYTES + PAGE, 1, 1);
        break;
    case 6: /* the same memory twice */
        dp_map(p, IOVA, OPEN_BYTES, w->fd, GUARD_BYTES, 1, 1);
        dp_map(p, 2 * IOVA, OPEN_BYTES, w->fd, GUARD_BYTES, 1, 1);
        break;
    default:
        break;
    }
}

/* The file is only `bytes` long for one slice. */
void world_cut(struct world *w, uint32_t bytes)
{
    REQUIRE(ftruncate(w->fd, bytes) == 0);
    dp_run(w->dp, -1, 0, 0);
    REQUIRE(ftruncate(w->fd, OPEN_BYTES + 2 * GUARD_BYTES) == 0);
    fill_guards(w);
}

void world_run(struct world *w)
{
    dp_run(w->dp, -1, 0, 0);
    check_guards(w);
    for (unsigned i = 0; i < 2; i++) {
        check_accounts(w, i);
        if (w->wire == CHOOSE_PCAP)
            dp_port_capture(w->ports[i])->used = 0;
    }
}
