/* Device addresses: mappings of shared files, and who owns the rx buffers in them. */
#ifndef IXYFWD_DMA_H
#define IXYFWD_DMA_H

#include "base/base.h"

/* for Python */
/* The polled front end asks once for an address that is not known. */
uint64_t dp_missed(port_t *p);
void dp_answer_missed(port_t *p, int known);
/* end */

enum { DMA_READ = 1, DMA_WRITE = 2, DMA_PAGE_BYTES = 4096, OWNER_SHIFT = 6, TLB_ENTRIES = 256, TLB_SHIFT = 21 };
#define NOTHING_MISSED UINT64_MAX

/* A file that DMA mappings show parts of. `owned` has one byte for each 64-byte granule: 1 while an rx buffer that
 * starts there is with the device. Shared by all ports, so that a buffer posted at two ports is seen. Bytes and not
 * bits, because setting and clearing them is a store. */
struct backing {
    struct backing *next;
    uint64_t device, inode;
    uint8_t *owned;
    uint64_t owned_bytes;
    unsigned references;
};

struct dma_map {
    uint64_t iova, size;
    uint8_t *host;
    struct backing *backing;
    uint64_t file_offset;
    void *mapped; /* what mmap returned; starts at or before `host` */
    size_t mapped_bytes;
    unsigned access;
    uint8_t *lost_at; /* where SIGBUS found that the file is shorter by now, or NULL */
};

/* A port and what it reaches. */
struct dma_port {
    struct port below;
    unsigned map_count, map_room;
    const struct dma_map *tlb[TLB_ENTRIES];
    struct dma_map **maps; /* sorted by iova */
    uint64_t missed;
    bool polled, let_through; /* see polled.c */
};
static inline struct dma_port *dma_of(const struct port *p) { return (struct dma_port *)p; }

const struct dma_map *dma_search(struct port *p, uint64_t address);
uint8_t *dma_host(struct port *p, uint64_t address, uint64_t length, unsigned access);
bool dma_reachable(struct port *p, uint64_t address, uint64_t length, unsigned access);
void dma_copy_out(struct port *p, uint64_t address, const uint8_t *data, uint64_t length);
void dma_copy_in(struct port *p, uint64_t address, uint8_t *data, uint64_t length);
void dma_init(struct port *p);

/* Where the bytes of a file's `owned` went when a mapping enlarged it; `from` NULL: they are where they were. */
struct owners_moved {
    uint8_t *from, *to;
    uint64_t bytes;
};
int dma_add(struct port *p, struct dma_map wanted, int fd, struct owners_moved *moved);
struct dma_map *dma_remove(struct port *p, uint64_t iova, uint64_t size);
void dma_map_free(struct port *p, struct dma_map *map);
void dma_free_backings(struct dp *dp);

static inline const struct dma_map *dma_find(struct port *p, uint64_t address)
{
    const struct dma_map *map = dma_of(p)->tlb[(address >> TLB_SHIFT) & (TLB_ENTRIES - 1)];
    return __builtin_expect(address - map->iova < map->size, 1) ? map : dma_search(p, address);
}
static inline uint8_t *owner_of(const struct dma_map *map, uint64_t address)
{
    return &map->backing->owned[(map->file_offset + (address - map->iova)) >> OWNER_SHIFT];
}

/* Part of a mapping in registers, for loops over descriptors: `limit` start addresses from `iova` on have the wanted
 * room behind them and the wanted access. */
struct dma_cursor {
    uint64_t iova, limit;
    uint8_t *host, *owned;
};
static inline bool dma_aim(struct port *p, struct dma_cursor *c, uint64_t address, uint64_t room, unsigned access)
{
    const struct dma_map *map = dma_find(p, address);
    c->limit = 0;
    if (!map || (map->access & access) != access || map->size < room)
        return false;
    *c = (struct dma_cursor){map->iova, map->size - room + 1, map->host,
                             map->backing->owned + (map->file_offset >> OWNER_SHIFT)};
    return address - c->iova < c->limit;
}

/* polled.c */
struct polled_run {
    const struct desc *ring; /* NULL: not in one mapping */
    uint64_t base;
    uint32_t entries, first, count;
    bool tx;
};
bool polled_memory_known(struct port *p, const struct polled_run *run);

#endif
