/* What the receive path makes of a frame: registers in the form that it wants, filters, flow director, RSS. */
#ifndef IXYFWD_CLASSIFY_H
#define IXYFWD_CLASSIFY_H

#include "classify/fdir.h"
#include "classify/filters.h"
#include "dma/dma.h"

/* for Python */
void dp_set_reta_entries(port_t *p, uint32_t entries); /* 128, or 512 on an X550 */
void dp_reconfigure(port_t *p);
void dp_fdir_init(port_t *p);   /* FDIRCTRL was written */
int dp_fdir_command(port_t *p); /* FDIRCMD was written; 1 = the flow director's interrupt is due */
/* end */

#define UNROUTED (-1) /* no queue that filters chose */

/* Registers in the form that the frame path wants. */
struct config {
    bool dirty;            /* registers have changed since */
    uint32_t reta_entries; /* a power of two; of the chip */
    uint32_t generation;   /* bumped whenever a cached classification may have become wrong */
    uint32_t fctrl, mcstctrl, mrqc, key[10];
    uint32_t max_frame; /* incl. CRC, without tags */
    uint16_t vet, outer_vet; /* outer_vet: of the tag before that one, 0 = no double VLAN mode */
    bool rxen, te, crc_strip, tx_pad, loopback, vlan_filter, pcsd, fragment_checksum, key_known;
    uint32_t buffer_bytes, pause_above, resume_below; /* RXPBSIZE(0); marks in bytes, pause_above 0 = sends no pause */
    bool sends_xon, heeds_pause, discards_pause, passes_control; /* MFLCN */
    unsigned address_count;
    uint64_t addresses[QUEUES]; /* RAL/RAH pairs that are valid */
    uint8_t reta[512], rx_counter[QUEUES], tx_counter[QUEUES];
    struct filters filters;
    uint32_t toeplitz[36][256];
};

/* A port and what it makes of frames. */
struct classify_port {
    struct dma_port below;
    struct config config;
    struct fdir fdir;
};
static inline struct config *config_of(const struct port *p) { return &((struct classify_port *)p)->config; }
static inline struct fdir *fdir_of(const struct port *p) { return &((struct classify_port *)p)->fdir; }

/* What the filters made of a frame. */
struct rx_class {
    uint64_t q0; /* RSS type, packet type, hash: the first half of an advanced write-back */
    uint32_t status; /* extended status and errors without DD and EOP */
    uint16_t vlan, queue;
    uint8_t verdict; /* enum rx_verdict */
    uint8_t cast; /* enum cast */
    uint8_t fdir; /* enum fdir_result */
    uint8_t tag_at; /* offset of the tag that may be stripped */
    uint8_t unheeded; /* of a pause frame: the verdict if its content meant nothing */
};
enum rx_verdict { RX_PASS, RX_OVERSIZE, RX_FILTERED, RX_PAUSE, RX_CONTROL };
enum cast { UNICAST, MULTICAST, BROADCAST };
enum fdir_result { FDIR_NOT_ASKED, FDIR_MISS, FDIR_MATCH };

void classify(struct port *p, const uint8_t *data, uint32_t length, struct rx_class *out);

/* config.c */
void config_load(struct port *p);
uint32_t toeplitz(struct config *c, const uint8_t *input, unsigned length);

/* filters.c */
struct packet;
void filters_load(struct port *p);
bool filters_ethertype(const struct config *c, uint16_t type, struct rx_class *out);
int filters_queue(const struct config *c, const struct packet *ip);

/* fdir.c */
int fdir_look_up(struct port *p, const uint8_t *data, uint32_t length, const struct packet *ip, struct rx_class *out);
void fdir_reset(struct port *p);
void fdir_free(struct fdir *f);

#endif
