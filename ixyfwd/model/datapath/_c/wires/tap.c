/* The TAP wire: frames between the port and an interface of the kernel. */
#define _GNU_SOURCE
#include "wire/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* for Python */
typedef struct dp_tap {
    uint64_t received, received_bytes, sent, sent_bytes; /* received: from the kernel into the port */
    uint64_t send_errors, interface_down;
    int fd;
    uint8_t gone; /* the interface was deleted, or its network namespace was */
} dp_tap;
int dp_plug_tap(port_t *p, int fd);
dp_tap *dp_port_tap(port_t *p);
/* end */

enum { READS_PER_ROUND = 32, LOOK_AGAIN_NS = 5000, TAP_FRAME_BYTES = 65536 };

struct tap {
    dp_tap public;
    uint64_t look_ns;  /* when to try a read again */
    uint32_t held;     /* length of the frame that found no room, 0 = none */
    uint8_t frame[TAP_FRAME_BYTES];
};

/* The descriptor is readable and writable for ever then, and every call fails. */
static void lose_interface(struct tap *t)
{
    t->public.gone = 1;
    t->look_ns = UINT64_MAX;
}

/* Reads one frame into t->frame unless one is held there. False: nothing to read now. */
static bool next_frame(struct port *p, struct tap *t)
{
    if (t->held)
        return true;
    ssize_t length = read(t->public.fd, t->frame, sizeof t->frame);
    if (length > 0) {
        t->held = (uint32_t)length;
        return true;
    }
    t->look_ns = p->dp->now_ns + LOOK_AGAIN_NS;
    if (length < 0 && errno == EBADFD)
        lose_interface(t);
    return false;
}

/* No room in the ring: the frame is held, the rest stays in the kernel's queue. */
static unsigned tap_feed(struct port *p)
{
    struct tap *t = p->wire_state;
    unsigned taken = 0;
    if (!t->held && p->dp->now_ns < t->look_ns)
        return 0;
    for (; taken < READS_PER_ROUND && next_frame(p, t); taken++) {
        if (rx_offer(p, t->frame, t->held, RX_WAIT_ROOM) == RX_NO_ROOM)
            break;
        t->public.received++;
        t->public.received_bytes += t->held;
        t->held = 0;
    }
    rx_flush_all(p);
    return taken;
}

static void tap_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes)
{
    struct tap *t = p->wire_state;
    (void)queue, (void)bytes;
    if (t->public.gone) {
        t->public.send_errors += count;
        return;
    }
    for (unsigned k = 0; k < count; k++) {
        ssize_t written = write(t->public.fd, frames[k].data, frames[k].length);
        if (written >= 0) {
            t->public.sent++;
            t->public.sent_bytes += frames[k].length;
        } else if (errno == EIO) {
            t->public.interface_down++;
        } else {
            t->public.send_errors++;
            t->public.gone |= errno == EBADFD;
        }
    }
    t->look_ns = 0; /* what was sent is often answered at once */
    if (t->public.gone)
        lose_interface(t);
}

/* Not while a frame is held for want of room, or the loop would not sleep at all. */
static int tap_wake_fd(const struct port *p)
{
    const struct tap *t = p->wire_state;
    return t->held || t->public.gone ? -1 : t->public.fd;
}

static void tap_free(struct port *p) { free(p->wire_state); }

static const struct wire_operations tap_wire = {
    .feed = tap_feed,
    .consume = tap_consume,
    .wake_fd = tap_wake_fd,
    .free = tap_free,
};

int dp_plug_tap(port_t *p, int fd)
{
    struct tap *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->public.fd = fd;
    wire_plug(p, &tap_wire, t);
    return 0;
}

dp_tap *dp_port_tap(port_t *p) { return &((struct tap *)p->wire_state)->public; }
