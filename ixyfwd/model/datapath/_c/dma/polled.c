/* What a polled front end needs: descriptors that wait while memory which the driver has made since the last look is
 * searched for. */
#include "dma/dma.h"

/* An address that is not mapped, or all ones. */
uint64_t dp_missed(port_t *p) { return dma_of(p)->missed; }

/* `known` 0: no driver has such memory. What waits is let through once, and the faults are recorded as usual. */
void dp_answer_missed(port_t *p, int known)
{
    dma_of(p)->missed = NOTHING_MISSED;
    dma_of(p)->let_through = !known;
}

static bool known(struct port *p, uint64_t address)
{
    if (dma_find(p, address))
        return true;
    if (dma_of(p)->missed == NOTHING_MISSED) {
        dma_of(p)->missed = address;
        p->dp->caused = true;
    }
    return false;
}

/* A context descriptor (7.2.3.2.3) has no address. */
static bool has_address(const struct desc *d, bool tx)
{
    return !tx || (d->q1 & (TXD_DEXT | TXD_DTYP)) != (TXD_DEXT | TXD_DTYP_CONTEXT);
}

/* Whether everything that `count` descriptors from `i` on name is mapped; false also while the answer is awaited. */
bool polled_memory_known(struct port *p, const struct polled_run *run)
{
    if (dma_of(p)->let_through)
        return true;
    if (!known(p, run->base))
        return false;
    for (uint32_t k = 0, i = run->first; run->ring && k < run->count; k++, i = i + 1 == run->entries ? 0 : i + 1)
        if (has_address(&run->ring[i], run->tx) && !known(p, *(const volatile uint64_t *)&run->ring[i].q0))
            return false;
    return true;
}
