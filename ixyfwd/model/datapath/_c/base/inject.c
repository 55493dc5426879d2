/* Stalls, doorbells and damage on demand. Write-backs are withheld where they are made: rx/held.c, tx/held.c. */
#include "base/base.h"

dp_inject *dp_port_inject(port_t *p) { return &p->inject; }

bool inject_stalls(const struct port *p, bool tx, unsigned n)
{
    return injected_at(tx ? p->inject.stall_tx : p->inject.stall_rx, n);
}

/* The tail as the device hears of it: every `doorbell_every`-th change shows only when the next one comes. */
uint32_t inject_tail(struct port *p, bool tx, unsigned n, uint32_t tail)
{
    struct doorbell *b = tx ? &p->doorbell_tx[n] : &p->doorbell_rx[n];
    if (!injected_at(tx ? p->inject.doorbell_tx : p->inject.doorbell_rx, n)) {
        b->known = false;
        return tail;
    }
    if (!b->known)
        *b = (struct doorbell){.written = tail, .heard = tail, .known = true};
    if (tail != b->written) {
        bool lost = ++b->rung % p->inject.doorbell_every == 0;
        b->heard = lost ? b->written : tail;
        b->written = tail;
        p->inject.doorbells_lost += lost;
    }
    return b->heard;
}

/* xorshift64: repeatable for a seed. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Whether the next frame is to be damaged. */
bool inject_damages(dp_damage *d)
{
    if (!d->left)
        return false;
    if (d->chance)
        return (uint32_t)next_random(&d->random) < d->chance;
    return ++d->seen % d->every == 0;
}

void inject_damage(dp_damage *d, uint8_t *data, uint32_t length)
{
    data[d->offset < length ? d->offset : length - 1] ^= d->bits;
    d->count++;
    d->left--;
}
