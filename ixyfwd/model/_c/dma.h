/* Device addresses: mappings of shared files, and who owns the rx buffers in them. */
#ifndef IXYFWD_DMA_H
#define IXYFWD_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DMA_READ = 1, DMA_WRITE = 2, OWNER_SHIFT = 6 };

struct dp;
struct port;

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

struct dma_map *dma_search(struct port *p, uint64_t address);
uint8_t *dma_host(struct port *p, uint64_t address, uint64_t length, unsigned access);
bool dma_reachable(struct port *p, uint64_t address, uint64_t length, unsigned access);
void dma_copy_out(struct port *p, uint64_t address, const uint8_t *data, uint64_t length);
void dma_copy_in(struct port *p, uint64_t address, uint8_t *data, uint64_t length);
void dma_init(struct port *p);
void maps_changed(struct port *p);

#endif
