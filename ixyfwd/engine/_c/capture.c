/* Frames of a batch into blocks of pcap or pcapng records; their buffers go back to the pool. */
#include "engine/copy.h"
#include "native.h"

#include <string.h>
#include <time.h>

enum {
    PREFETCH_AHEAD = 8,
    PCAP_HEADER_BYTES = 16,
    PCAPNG_HEADER_BYTES = 28,
    PCAPNG_TRAILER_BYTES = 4,
    PCAPNG_ENHANCED_PACKET = 6,
};

#define NS_PER_S UINT64_C(1000000000)

/* Hand the present block to the thread. 0 if it has not written enough of the others yet. */
uint32_t capture_flush(struct capture *capture)
{
    if (!capture->at)
        return 1;
    if (capture->filled - __atomic_load_n(&capture->written, __ATOMIC_ACQUIRE) >= capture->block_count - 1)
        return 0;
    const uint32_t block = (uint32_t)(capture->filled % capture->block_count);
    capture->used[block] = capture->at;
    capture->frames[block] = capture->in_block;
    capture->at = capture->in_block = 0;
    __atomic_store_n(&capture->filled, capture->filled + 1, __ATOMIC_RELEASE);
    return 1;
}

static uint8_t *put_words(uint8_t *to, const uint32_t *words, size_t bytes)
{
    memcpy(to, words, bytes);
    return to + bytes;
}

/* 0 if there is no room. */
static int record(struct capture *capture, const uint8_t *frame, uint32_t length, uint64_t ns)
{
    const uint32_t kept = at_most(length, capture->snaplen), padded = capture->pcapng ? (kept + 3) & ~3u : kept;
    const uint32_t bytes =
        capture->pcapng ? PCAPNG_HEADER_BYTES + padded + PCAPNG_TRAILER_BYTES : PCAP_HEADER_BYTES + kept;
    if (capture->at + bytes > capture->block_bytes && !capture_flush(capture))
        return 0;
    uint8_t *to = capture->blocks + (capture->filled % capture->block_count) * capture->block_bytes + capture->at;
    if (capture->pcapng) {
        const uint32_t words[] = {PCAPNG_ENHANCED_PACKET, bytes, 0, (uint32_t)(ns >> 32), (uint32_t)ns, kept, length};
        to = put_words(to, words, sizeof words);
        memset(to + (kept & ~3u), 0, padded - (kept & ~3u));
        memcpy(to, frame, kept);
        put_words(to + padded, &bytes, sizeof bytes);
    } else {
        const uint32_t words[] = {(uint32_t)(ns / NS_PER_S), (uint32_t)(ns % NS_PER_S), kept, length};
        memcpy(put_words(to, words, sizeof words), frame, kept);
    }
    capture->at += bytes;
    capture->in_block++;
    return 1;
}

static void take(struct capture *capture, const uint8_t *frame, uint32_t length, uint64_t ns)
{
    if (capture->filter && !capture->filter(capture->program, frame, length, length)) {
        capture->page[WORD_FILTERED]++;
    } else if (!capture->left) {
        capture->page[WORD_SURPLUS]++;
    } else if (!capture->recording) {
        capture->page[WORD_WRITTEN]++;
        capture->left--;
    } else if (record(capture, frame, length, ns)) {
        capture->left--;
    } else {
        capture->page[WORD_FILE_BUSY]++;
    }
}

uint32_t capture_burst(struct capture *capture)
{
    const struct batch_view *batch = &capture->batch;
    struct pool *pool = capture->pool;
    const uint32_t n = batch->head->count;
    struct timespec now;
    if (!n)
        return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
    for (uint32_t i = 0; i < n; i++) {
        if (i + PREFETCH_AHEAD < n)
            __builtin_prefetch(capture->arena + capture->offsets[batch->ids[i + PREFETCH_AHEAD]]);
        take(capture, capture->arena + capture->offsets[batch->ids[i]], batch->lengths[i], ns);
    }
    copy_ids(&pool->stack[pool->count], batch->ids, n);
    pool->count += n;
    batch->head->count = 0;
    if (!capture->left)
        capture->page[WORD_DONE] = 1;
    return n;
}
