/* What Python sees of the probe: read by cffi and included by probe.h. */

/* A cache line that two CPUs pass to and fro. `turn` counts the passes; an end that waits too long sets `stopped`. */
struct line {
    volatile uint64_t turn;
    volatile uint32_t stopped;
    uint32_t reserved[13];
};

/* Each end passes the line `batches` * `trips` times; the first writes what each batch took into `took_ns`. Both wait
 * at most `timeout_ns` for the other, the other's start included. Returns 1, or 0 if one of them waited for longer. */
uint32_t line_first(struct line *line, uint64_t *took_ns, uint32_t batches, uint32_t trips, uint64_t timeout_ns);
uint32_t line_second(struct line *line, uint32_t batches, uint32_t trips, uint64_t timeout_ns);
