/* The sink: every frame that the port sends is compared with what a generator of this process composed. */
#include "wires/generator.h"
#include "base/simd.h"

#include <stdlib.h>
#include <string.h>

enum { RATE_WINDOW_NS = 1000000, SPARSE_MASK = 15, MAX_GENERATORS = 256 };
#define NO_QUEUE UINT32_MAX
#define DENSE_FRAMES_PER_S 2000000u /* below this rate the latency of every frame is taken */

struct sink_flow {
    uint64_t missing;   /* bit k: sequence number next-1-k has not arrived */
    uint64_t queues[2]; /* tx queues that the flow came out of */
    uint32_t next;
    uint32_t last_queue; /* NO_QUEUE: the flow was not seen yet */
};

struct sink {
    dp_sink public;
    const struct dp *dp;
    uint32_t sample_mask, sample_phase;
    uint64_t window_start_ns, window_frames;
    bool verify_frame;
    struct sink_flow *flows[MAX_GENERATORS];
};

struct sink *sink_new(struct dp *dp, bool verify_frame)
{
    struct sink *s = calloc(1, sizeof *s);
    if (s) {
        s->dp = dp;
        s->verify_frame = verify_frame;
        s->public.sampled_every = 1;
    }
    return s;
}

void sink_free(struct sink *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < MAX_GENERATORS; i++)
        free(s->flows[i]);
    free(s);
}

dp_sink *dp_port_sink(port_t *p) { return &generator_of(p)->sink->public; }

static void count_latency(dp_sink *s, uint32_t ns)
{
    unsigned index = ns;
    if (ns >= 32) {
        unsigned exponent = 31u - (unsigned)__builtin_clz(ns);
        index = (exponent - 4) * 32 + (ns >> (exponent - 5) & 31);
    }
    s->latency[index]++;
    s->latency_count++;
    if (ns > s->latency_max)
        s->latency_max = ns;
}

/* A queue that this flow had not used last time. */
static void flow_queue(dp_sink *s, struct sink_flow *f, unsigned queue)
{
    if (f->last_queue == NO_QUEUE)
        s->flows_seen++;
    f->last_queue = queue;
    int before = __builtin_popcountll(f->queues[0]) + __builtin_popcountll(f->queues[1]);
    f->queues[queue >> 6] |= 1ull << (queue & 63);
    int after = __builtin_popcountll(f->queues[0]) + __builtin_popcountll(f->queues[1]);
    if (before == 1 && after == 2)
        s->flows_on_several_queues++;
}

static inline void in_sequence(struct sink_flow *f)
{
    f->next++;
    if (__builtin_expect(f->missing != 0, 0))
        f->missing <<= 1;
}

/* A sequence number that is not the next one. What is later than 64 numbers stays counted as lost. */
static void out_of_sequence(dp_sink *s, struct sink_flow *f, uint32_t sequence)
{
    uint32_t ahead = sequence - f->next, back = f->next - 1 - sequence;
    if (ahead < UINT32_MAX / 2) {
        s->lost += ahead;
        f->missing = ahead >= 63 ? ~1ull : (f->missing << ahead | ((1ull << ahead) - 1)) << 1;
        f->next = sequence + 1;
    } else if (back < 64 && !(f->missing >> back & 1)) {
        s->duplicated++;
    } else {
        s->reordered++;
        if (back < 64) {
            s->lost--;
            f->missing &= ~(1ull << back);
        }
    }
}

static inline uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

/* Whether the AT_TOUCH bytes that never change are the same. */
typedef bool same_head(const uint8_t *a, const uint8_t *b);

static inline bool same_head_any(const uint8_t *a, const uint8_t *b)
{
#if defined(__x86_64__)
    const __m128i *x = (const __m128i *)a, *y = (const __m128i *)b;
    __m128i same = _mm_cmpeq_epi8(_mm_loadu_si128(x), _mm_loadu_si128(y));
    same = _mm_and_si128(same, _mm_cmpeq_epi8(_mm_loadu_si128(x + 1), _mm_loadu_si128(y + 1)));
    same = _mm_and_si128(same, _mm_cmpeq_epi8(_mm_loadu_si128(x + 2), _mm_loadu_si128(y + 2)));
    return _mm_movemask_epi8(same) == 0xFFFF;
#else
    return memcmp(a, b, AT_TOUCH) == 0;
#endif
}

/* Two halves that overlap. */
FOR_AVX2 static inline bool same_head_avx2(const uint8_t *a, const uint8_t *b)
{
#if defined(__x86_64__)
    enum { SECOND = AT_TOUCH - 32 };
    __m256i x = _mm256_loadu_si256((const __m256i *)a), y = _mm256_loadu_si256((const __m256i *)b);
    __m256i u = _mm256_loadu_si256((const __m256i *)(a + SECOND)),
            v = _mm256_loadu_si256((const __m256i *)(b + SECOND));
    __m256i differ = _mm256_or_si256(_mm256_xor_si256(x, y), _mm256_xor_si256(u, v));
    return _mm256_testz_si256(differ, differ);
#else
    return same_head_any(a, b);
#endif
}

/* The generator whose mark the frame bears, or NULL. */
static struct generator *origin(const struct sink *s, const struct frame *frame)
{
    uint32_t number = frame->data[AT_MARK];
    if (frame->length < MIN_FRAME || frame->data[AT_MARK + 1] != MARK || number >= s->dp->port_count)
        return NULL;
    return generator_of(s->dp->ports[number]);
}

static struct sink_flow *sink_flows(struct sink *s, const struct generator *g)
{
    struct sink_flow *flows = s->flows[g->number];
    if (!flows && (flows = s->flows[g->number] = calloc(g->flows, sizeof *flows)))
        for (uint32_t i = 0; i < g->flows; i++)
            flows[i].last_queue = NO_QUEUE;
    return flows;
}

/* A frame that is not what was sent. Its sequence number counts only if it is the expected one, so that damage is not
 * counted as loss too. */
static void corrupted(struct sink *s, const struct generator *g, const struct frame *frame)
{
    uint32_t flow = load32(frame->data + AT_FLOW);
    s->public.corrupted++;
    if (flow >= g->flows || !s->flows[g->number])
        return;
    struct sink_flow *f = &s->flows[g->number][flow];
    if (load32(frame->data + AT_SEQUENCE) == f->next)
        in_sequence(f);
}

/* Whether all bytes are as sent, but for sequence, stamp and the touched byte, which may be one up. */
static bool intact(const struct sink *s, const struct generator *g, const struct frame *frame, uint32_t flow)
{
    uint32_t length = frame->length, size = g->size_of_length[length <= FRAME_MAX ? length : 0];
    if (flow >= g->flows || size == NO_SIZE)
        return false;
    const uint8_t *template = template_of(g, flow, size);
    if (s->verify_frame && !same_head_any(frame->data, template))
        return false;
    if (load32(frame->data + AT_TOUCH) > 1)
        return false;
    return memcmp(frame->data + MIN_FRAME, s->dp->pattern + MIN_FRAME, length - MIN_FRAME) == 0;
}

/* Any frame. True if it is a whole generated one. */
static bool check(struct sink *s, unsigned queue, const struct frame *frame)
{
    const struct generator *g = origin(s, frame);
    struct sink_flow *flows = g ? sink_flows(s, g) : NULL;
    if (!flows) {
        s->public.foreign++;
        return false;
    }
    uint32_t flow = load32(frame->data + AT_FLOW), sequence = load32(frame->data + AT_SEQUENCE);
    if (!intact(s, g, frame, flow)) {
        corrupted(s, g, frame);
        return false;
    }
    struct sink_flow *f = &flows[flow];
    s->public.touched += frame->data[AT_TOUCH];
    if (f->last_queue != queue)
        flow_queue(&s->public, f, queue);
    if (sequence == f->next)
        in_sequence(f);
    else
        out_of_sequence(&s->public, f, sequence);
    return true;
}

/* What a run of the commonest frames has in common: shortest length, one generator. */
struct run {
    const uint8_t *templates;
    struct sink_flow *flows;
    uint32_t flow_count, stride;
};

/* Not inline: the loop that follows keeps its registers. */
static __attribute__((noinline)) bool run_begin(struct sink *s, const struct frame *frame, struct run *run)
{
    if (!s->verify_frame || frame->length != MIN_FRAME)
        return false;
    const struct generator *g = origin(s, frame);
    if (!g || g->size_of_length[MIN_FRAME] == NO_SIZE)
        return false;
    run->templates = g->templates + (size_t)TEMPLATE_BYTES * g->size_of_length[MIN_FRAME];
    run->flows = sink_flows(s, g);
    run->flow_count = g->flows;
    run->stride = TEMPLATE_BYTES * g->size_count;
    return run->flows != NULL;
}

/* `check` for frames that are in order and like the first one; returns how many are, the next one is something else.
 * That a frame bears the run's mark is part of its being like the template. */
static inline __attribute__((always_inline)) unsigned check_run(struct sink *s, unsigned queue,
                                                                const struct frame *frames, unsigned count,
                                                                same_head *same)
{
    struct run run;
    if (!run_begin(s, &frames[0], &run))
        return 0;
    const struct run r = run; /* a copy that no callee can change: stays in registers */
    uint64_t touched = 0;
    unsigned k = 0;
    for (; k < count; k++) {
        const uint8_t *data = frames[k].data;
        if (frames[k].length != MIN_FRAME)
            break;
        uint64_t flow = load32(data + AT_FLOW), middle = load64(data + AT_TOUCH);
        if (flow >= r.flow_count || (uint32_t)middle > 1 || !same(data, r.templates + r.stride * flow))
            break;
        struct sink_flow *f = &r.flows[flow];
        if (f->next != middle >> 32 || f->last_queue != queue || f->missing)
            break;
        f->next++;
        touched += (uint32_t)middle;
    }
    s->public.touched += touched;
    return k;
}

static unsigned check_run_any(struct sink *s, unsigned queue, const struct frame *frames, unsigned count)
{
    return check_run(s, queue, frames, count, same_head_any);
}

FOR_AVX2 static unsigned check_run_avx2(struct sink *s, unsigned queue, const struct frame *frames, unsigned count)
{
    return check_run(s, queue, frames, count, same_head_avx2);
}

/* Latency of every (mask + 1)-th frame, of bursts that are whole generated frames. */
static void sample(struct sink *s, const struct frame *frames, unsigned count)
{
    uint32_t step = s->sample_mask + 1, k = s->sample_phase;
    for (; k < count; k += step)
        count_latency(&s->public, (uint32_t)s->dp->now_ns - load32(frames[k].data + AT_STAMP));
    s->sample_phase = k - count;
}

/* Fast traffic is sampled, slow traffic measured whole. */
static void choose_sampling(struct sink *s)
{
    uint64_t now = s->dp->now_ns, elapsed = now - s->window_start_ns;
    if (elapsed < RATE_WINDOW_NS)
        return;
    bool fast = s->window_frames * 1000000000u / elapsed > DENSE_FRAMES_PER_S;
    s->sample_mask = fast ? SPARSE_MASK : 0;
    s->sample_phase &= s->sample_mask;
    if (s->sample_mask >= s->public.sampled_every)
        s->public.sampled_every = s->sample_mask + 1;
    s->window_start_ns = now;
    s->window_frames = 0;
}

/* `bytes`: sum of the lengths. */
void sink_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes)
{
    struct sink *s = ((struct generator *)p->wire_state)->sink;
    unsigned good = 0;
    for (unsigned k = 0; k < count;) {
        unsigned plain = (HAVE_AVX2 ? check_run_avx2 : check_run_any)(s, queue, frames + k, count - k);
        k += plain;
        good += plain;
        if (k < count)
            good += check(s, queue, &frames[k++]);
    }
    if (good == count)
        sample(s, frames, count);
    s->public.received += count;
    s->public.bytes += bytes + (uint64_t)count * CRC_BYTES;
    s->window_frames += count;
    choose_sampling(s);
}

int dp_flow_queues(port_t *p, uint32_t flow, uint64_t queues[2])
{
    const struct sink *s = generator_of(p)->sink;
    bool known = false;
    queues[0] = queues[1] = 0;
    for (unsigned i = 0; i < p->dp->port_count; i++) {
        const struct generator *g = generator_of(p->dp->ports[i]);
        if (!g || flow >= g->flows || !s->flows[i])
            continue;
        const struct sink_flow *f = &s->flows[i][flow];
        queues[0] |= f->queues[0];
        queues[1] |= f->queues[1];
        known |= f->last_queue != NO_QUEUE;
    }
    return known;
}

uint32_t dp_flows(port_t *p)
{
    uint32_t most = 0;
    for (unsigned i = 0; i < p->dp->port_count; i++) {
        const struct generator *g = generator_of(p->dp->ports[i]);
        if (g && g->flows > most)
            most = g->flows;
    }
    return most;
}
