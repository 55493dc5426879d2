/* Device addresses to host memory: mappings of shared files, and who owns the rx buffers in them. */
#define _GNU_SOURCE
#include "dma/dma.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* What empty TLB entries point to. */
static const struct dma_map no_map;

/* Forget what was looked up; also to begin with. */
void dma_init(struct port *p)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        dma_of(p)->tlb[i] = &no_map;
}

/* Index of the first mapping that ends behind `address`. */
static unsigned map_index(const struct port *p, uint64_t address)
{
    unsigned low = 0, high = dma_of(p)->map_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct dma_map *map = dma_of(p)->maps[middle];
        if (map->iova + (map->size - 1) < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct dma_map *dma_search(struct port *p, uint64_t address)
{
    struct dma_port *d = dma_of(p);
    unsigned i = map_index(p, address);
    if (i == d->map_count || d->maps[i]->iova > address)
        return NULL;
    return d->tlb[(address >> TLB_SHIFT) & (TLB_ENTRIES - 1)] = d->maps[i];
}

/* The host address of a run that lies in one mapping and may be accessed so; NULL otherwise. */
uint8_t *dma_host(struct port *p, uint64_t address, uint64_t length, unsigned access)
{
    const struct dma_map *map = dma_find(p, address);
    if (!map || (map->access & access) != access || map->size - (address - map->iova) < length)
        return NULL;
    return map->host + (address - map->iova);
}

/* Whether a run is covered by mappings, however many. */
bool dma_reachable(struct port *p, uint64_t address, uint64_t length, unsigned access)
{
    while (length) {
        const struct dma_map *map = dma_find(p, address);
        if (!map || (map->access & access) != access)
            return false;
        uint64_t here = map->size - (address - map->iova);
        if (here >= length)
            return true;
        address += here;
        length -= here;
    }
    return true;
}

static void copy_pieces(struct port *p, uint64_t address, uint8_t *data, uint64_t length, bool out)
{
    while (length) {
        const struct dma_map *map = dma_find(p, address);
        uint64_t within = address - map->iova, here = map->size - within;
        if (here > length)
            here = length;
        if (out)
            memcpy(map->host + within, data, here);
        else
            memcpy(data, map->host + within, here);
        address += here;
        data += here;
        length -= here;
    }
}

/* Both only for runs that dma_reachable has approved. */
void dma_copy_out(struct port *p, uint64_t address, const uint8_t *data, uint64_t length)
{
    copy_pieces(p, address, (uint8_t *)data, length, true);
}

void dma_copy_in(struct port *p, uint64_t address, uint8_t *data, uint64_t length)
{
    copy_pieces(p, address, data, length, false);
}

/* One byte for a granule of the file. */
static int backing_grow(struct backing *b, uint64_t file_bytes)
{
    uint64_t bytes = ((file_bytes >> OWNER_SHIFT) + DMA_PAGE_BYTES - 1) / DMA_PAGE_BYTES * DMA_PAGE_BYTES;
    if (bytes <= b->owned_bytes)
        return 0;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *owned = b->owned ? mremap(b->owned, b->owned_bytes, bytes, MREMAP_MAYMOVE)
                           : mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (owned == MAP_FAILED)
        return -ENOMEM;
    b->owned = owned;
    b->owned_bytes = bytes;
    return 0;
}

/* The record of a file, made or enlarged. */
static struct backing *backing_get(struct dp *dp, const struct stat *st, uint64_t file_bytes,
                                   struct owners_moved *moved)
{
    struct backing *b = dp->backings;
    while (b && (b->device != st->st_dev || b->inode != st->st_ino))
        b = b->next;
    if (!b) {
        if (!(b = calloc(1, sizeof *b)))
            return NULL;
        *b = (struct backing){.next = dp->backings, .device = st->st_dev, .inode = st->st_ino};
        dp->backings = b;
    }
    uint8_t *before = b->owned;
    uint64_t bytes = b->owned_bytes;
    if (backing_grow(b, file_bytes) != 0)
        return NULL; /* an unreferenced record is harmless and freed with the data path */
    if (before && b->owned != before)
        *moved = (struct owners_moved){before, b->owned, bytes};
    b->references++;
    return b;
}

static void backing_put(struct dp *dp, struct backing *b)
{
    if (--b->references)
        return;
    struct backing **link = &dp->backings;
    while (*link != b)
        link = &(*link)->next;
    *link = b->next;
    munmap(b->owned, b->owned_bytes);
    free(b);
}

/* mmap `size` bytes at `offset`. Hugetlbfs wants its own page size, which st_blksize tells, for start and length. */
static int map_file(struct dma_map *map, int fd, const struct stat *st)
{
    uint64_t unit = DMA_PAGE_BYTES;
    if (st->st_blksize > DMA_PAGE_BYTES && (st->st_blksize & (st->st_blksize - 1)) == 0)
        unit = (uint64_t)st->st_blksize;
    uint64_t start = map->file_offset / unit * unit;
    map->mapped_bytes = (map->file_offset - start + map->size + unit - 1) / unit * unit;
    int protection = (map->access & DMA_READ ? PROT_READ : 0) | (map->access & DMA_WRITE ? PROT_WRITE : 0);
    map->mapped = mmap(NULL, map->mapped_bytes, protection, MAP_SHARED, fd, (off_t)start);
    if (map->mapped == MAP_FAILED)
        return -errno;
    map->host = (uint8_t *)map->mapped + (map->file_offset - start);
    return 0;
}

void dma_map_free(struct port *p, struct dma_map *map)
{
    munmap(map->mapped, map->mapped_bytes);
    backing_put(p->dp, map->backing);
    free(map);
}

static int map_insert(struct port *p, struct dma_map *map, unsigned at)
{
    struct dma_port *d = dma_of(p);
    if (d->map_count == d->map_room) {
        unsigned room = d->map_room ? 2 * d->map_room : 16;
        struct dma_map **maps = realloc(d->maps, room * sizeof *maps);
        if (!maps)
            return -ENOMEM;
        d->maps = maps;
        d->map_room = room;
    }
    memmove(d->maps + at + 1, d->maps + at, (d->map_count - at) * sizeof *d->maps);
    d->maps[at] = map;
    d->map_count++;
    return 0;
}

static int map_open(struct port *p, struct dma_map *map, int fd, struct owners_moved *moved)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    uint64_t end = map->file_offset + map->size;
    if (end < map->size || (S_ISREG(st.st_mode) && end > (uint64_t)st.st_size))
        return -ERANGE;
    int error = map_file(map, fd, &st);
    if (error)
        return error;
    if (!(map->backing = backing_get(p->dp, &st, end, moved))) {
        munmap(map->mapped, map->mapped_bytes);
        return -ENOMEM;
    }
    return 0;
}

/* Maps part of a file. `wanted`: iova, size, file_offset and access. 0; -EINVAL (alignment, size), -EEXIST (overlap),
 * -ERANGE (beyond the file), or what fstat and mmap say. `moved` is written, also on failure, if owners moved. */
int dma_add(struct port *p, struct dma_map wanted, int fd, struct owners_moved *moved)
{
    uint64_t iova = wanted.iova, size = wanted.size;
    if (size == 0 || ((iova | size | wanted.file_offset) & (DMA_PAGE_BYTES - 1)) || iova + (size - 1) < iova)
        return -EINVAL;
    const struct dma_port *d = dma_of(p);
    unsigned at = map_index(p, iova);
    if (at < d->map_count && d->maps[at]->iova <= iova + (size - 1))
        return -EEXIST;
    struct dma_map *map = malloc(sizeof *map);
    if (!map)
        return -ENOMEM;
    *map = wanted;
    int error = map_open(p, map, fd, moved);
    if (error) {
        free(map);
        return error;
    }
    if ((error = map_insert(p, map, at)) != 0)
        dma_map_free(p, map);
    return error;
}

/* Takes a mapping out of the list; NULL: there is none such. It is the caller's to free. */
struct dma_map *dma_remove(struct port *p, uint64_t iova, uint64_t size)
{
    struct dma_port *d = dma_of(p);
    unsigned at = map_index(p, iova);
    if (at == d->map_count || d->maps[at]->iova != iova || d->maps[at]->size != size)
        return NULL;
    struct dma_map *map = d->maps[at];
    memmove(d->maps + at, d->maps + at + 1, (d->map_count - at - 1) * sizeof *d->maps);
    d->map_count--;
    return map;
}

/* Records that a mapping left which failed half way. */
void dma_free_backings(struct dp *dp)
{
    while (dp->backings) {
        struct backing *next = dp->backings->next;
        free(dp->backings);
        dp->backings = next;
    }
}
