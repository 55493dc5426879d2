/* The device as a whole: its life, its queues and mappings, the loop that turns all ports. */
#ifndef IXYFWD_DEVICE_H
#define IXYFWD_DEVICE_H

#include "tx/tx.h"

/* for Python */
dp_t *dp_new(unsigned ports);
void dp_free(dp_t *dp);
port_t *dp_port(dp_t *dp, unsigned index, void *store);
void dp_reset(port_t *p);
/* 1 = budget used up, 2 = epoll_fd readable, 3 = a capture buffer wants to be written out, 4 = an urgent cause */
int dp_run(dp_t *dp, int epoll_fd, uint64_t budget_ns, int share_cpu);
void dp_inject_changed(port_t *p);

int dp_map(port_t *p, uint64_t iova, uint64_t size, int fd, uint64_t offset, int readable, int writable);
int dp_unmap(port_t *p, uint64_t iova, uint64_t size);
void dp_unmap_all(port_t *p);

int dp_start_rx(port_t *p, unsigned queue);
void dp_stop_rx(port_t *p, unsigned queue);
int dp_start_tx(port_t *p, unsigned queue);
void dp_stop_tx(port_t *p, unsigned queue);
void dp_force_drop(port_t *p, unsigned queue, int on); /* PFQDE: as if the queue had DROP_EN */
void dp_tail_written(port_t *p, int rx, unsigned queue);
int dp_head_written(port_t *p, int rx, unsigned queue);
uint32_t dp_rx_head(port_t *p, unsigned queue);
uint32_t dp_tx_head(port_t *p, unsigned queue);
/* The polled front end: doorbells are in `bar`, which stays the caller's; unknown addresses are asked for once. */
void dp_set_polled(port_t *p, void *bar);
/* end */

/* queues.c */
void queues_init(struct port *p);

/* maps.c */
void maps_changed(struct port *p);

/* lost.c */
void lost_watch(void);
void lost_begin(struct dp *dp);
void lost_end(struct dp *dp);

/* run.c */
unsigned dp_round(struct dp *dp);

#endif
