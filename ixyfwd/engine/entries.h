/* Frames of a batch that fill several buffers: an entry of the batch for each. */
#ifndef IXYFWD_ENTRIES_H
#define IXYFWD_ENTRIES_H

/* Entries from `first` on that make up a frame; the end of the batch ends one too. */
static inline uint32_t frame_entries(const struct batch_view *batch, uint32_t first, uint32_t n)
{
    uint32_t i = first;
    while (i + 1 < n && !(batch->status[i] & BATCH_EOP))
        i++;
    return i + 1 - first;
}

#endif
