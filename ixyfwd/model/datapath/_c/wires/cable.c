/* The cable wire: what one port sends arrives at the other. */
#include "wire/wire.h"

/* for Python */
void dp_plug_cable(port_t *p, port_t *peer);
/* end */

/* A frame that arrives where the link is down or nothing is plugged in is gone. */
static void cable_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes)
{
    struct port *peer = p->peer;
    (void)queue, (void)bytes;
    for (unsigned k = 0; k < count && peer->link && !config_of(peer)->loopback; k++) {
        rx_offer(peer, frames[k].data, frames[k].length, RX_DROP);
        peer->far_end.received++;
        peer->far_end.received_bytes += frames[k].length + CRC_BYTES;
    }
    rx_flush_all(peer);
}

static const struct wire_operations cable_wire = {.consume = cable_consume};

void dp_plug_cable(port_t *p, port_t *peer)
{
    p->peer = peer;
    wire_plug(p, &cable_wire, NULL);
}
