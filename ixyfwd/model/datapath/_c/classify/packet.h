/* What the receive path finds in a frame behind its tags. */
#ifndef IXYFWD_PACKET_H
#define IXYFWD_PACKET_H

#include <stdbool.h>
#include <stdint.h>

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_IPV6 = 0x86DD,
    ETHERTYPE_QINQ = 0x88A8,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_MAC_CONTROL = 0x8808,
};
enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17, PROTOCOL_SCTP = 132 };
enum { IPV4_ADDRESSES = 8, IPV6_ADDRESSES = 32 };

/* `protocol` is what the IP headers say; `l4_type` is the same if `l4` is the whole header of TCP, UDP or SCTP and of an
 * unfragmented packet, else 0. */
struct packet {
    const uint8_t *header, *addresses, *l4;
    unsigned version, address_bytes, l4_bytes, protocol, l4_type;
    bool options, fragment, l4_unchecked; /* unchecked: the pseudo header is not that of the IPv6 header */
};

bool packet_parse(uint16_t type, const uint8_t *at, uint32_t length, struct packet *ip);

#endif
