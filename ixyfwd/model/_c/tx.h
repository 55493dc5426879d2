/* Between the two halves of transmit: tx.c (bursts of plain frames) and tx_frame.c (everything else). */
#ifndef IXYFWD_TX_H
#define IXYFWD_TX_H

#include "datapath.h"

static inline struct desc *tx_desc(struct port *p, const struct tx_queue *q, uint32_t i)
{
    if (q->ring)
        return &q->ring[i];
    return (struct desc *)dma_host(p, q->base + sizeof(struct desc) * i, sizeof(struct desc), DMA_READ | DMA_WRITE);
}

void tx_count(struct port *p, const struct tx_queue *q, const struct frame *frames, unsigned count, uint64_t bytes,
              bool mixed);
void tx_write_back(struct port *p, struct tx_queue *q, uint32_t i);
void tx_write_head(struct port *p, struct tx_queue *q);
unsigned tx_send_any(struct port *p, struct tx_queue *q, uint32_t owned);

#endif
