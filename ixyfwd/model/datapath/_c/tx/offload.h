/* What a transmit descriptor and its context ask for (7.2.4, 7.2.5), and doing it to bytes. */
#ifndef IXYFWD_OFFLOAD_H
#define IXYFWD_OFFLOAD_H

#include "tx/tx.h"

enum {
    TAG_BYTES = 4,     /* what VLE adds */
    HEADERS_MAX = 511, /* of a segmented packet, MAC to L4 (7.2.4) */
    SEGMENTED_MAX = HEADERS_MAX + (1 << 18) - 1, /* the same with the longest PAYLEN */
};

/* Offsets count from the first byte of the frame as software wrote it, without the tag. */
struct offload {
    bool ip, l4, segment, tag, sum; /* sum: of a legacy descriptor */
    bool ipv4;
    uint8_t l4_type;
    uint16_t mss, vlan, vlan_type, outer_type; /* outer_type: of a tag that the new one goes behind, or 0 */
    uint32_t ip_at, l4_at, payload_at, sum_from, sum_at;
    uint16_t first_flags, middle_flags, last_flags; /* TCP flags that segments keep */
};

struct segment {
    uint32_t number, before; /* before: payload bytes of the earlier ones */
    bool last;
};

enum offload_verdict { OFFLOAD_GOOD, OFFLOAD_BAD, OFFLOAD_UNSUPPORTED };

enum offload_verdict offload_read(const struct port *p, const struct tx_queue *q, const struct desc *first,
                                  uint32_t length, struct offload *o);
bool offload_fits(const struct offload *o, const uint8_t *headers);
void offload_frame(const struct offload *o, uint8_t *data, uint32_t length);
void offload_segment(const struct offload *o, uint8_t *data, uint32_t length, const struct segment *s);
void offload_tag(const struct offload *o, uint8_t *to);

#endif
