/* A change of what is injected. */
#include "device/device.h"

/* Python has changed `inject`. */
void dp_inject_changed(port_t *p)
{
    dp_inject *j = &p->inject;
    j->rx_stalls = injected_anywhere(j->stall_rx);
    j->tx_stalls = injected_anywhere(j->stall_tx);
    bool holds_rx = inject_withholds_rx(j);
    bool holds_tx = injected_anywhere(j->stuck_tx) || injected_anywhere(j->delay_tx);
    if (p->dp->now_ns < clock_ns())
        p->dp->now_ns = clock_ns();
    rx_release_due(p);
    tx_release_due(p);
    j->rx_holds = holds_rx || j->damage_rx.on;
    j->tx_holds = holds_tx;
    j->holds = holds_rx || holds_tx;
    j->doorbells = injected_anywhere(j->doorbell_rx) || injected_anywhere(j->doorbell_tx);
}
