/* IPv4 and IPv6 headers up to L4. */
#include "classify/packet.h"

#include "base/checksum.h"

enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60 };

static bool parse_ipv4(const uint8_t *at, uint32_t length, struct packet *ip)
{
    unsigned header_bytes = length >= 20 ? 4 * (at[0] & 15u) : 0;
    if (header_bytes < 20 || at[0] >> 4 != 4 || length < header_bytes)
        return false;
    unsigned total = be16(at + 2);
    if (total < header_bytes || total > length)
        return false;
    *ip = (struct packet){.header = at, .addresses = at + 12, .version = 4, .address_bytes = IPV4_ADDRESSES};
    ip->protocol = at[9];
    ip->options = header_bytes > 20;
    ip->fragment = be16(at + 6) & 0x3FFF; /* MF or an offset */
    ip->l4_bytes = total - header_bytes;
    ip->l4 = at + header_bytes;
    return true;
}

/* The headers between IPv6 and L4 (7.1.11): hop-by-hop, routing and destination options are passed over, a fragment header
 * ends the search, and so does anything else. */
static void skip_extensions(struct packet *ip)
{
    while (ip->protocol == HOP_BY_HOP || ip->protocol == ROUTING || ip->protocol == DESTINATION) {
        unsigned bytes = ip->l4_bytes >= 8 ? 8 + 8u * ip->l4[1] : 0;
        ip->options = true;
        if (!bytes || bytes > ip->l4_bytes)
            return;
        ip->l4_unchecked |= ip->protocol == ROUTING && ip->l4[1];
        ip->protocol = ip->l4[0];
        ip->l4 += bytes;
        ip->l4_bytes -= bytes;
    }
    if (ip->protocol == FRAGMENT)
        ip->options = ip->fragment = true;
}

static bool parse_ipv6(const uint8_t *at, uint32_t length, struct packet *ip)
{
    if (length < 40 || at[0] >> 4 != 6)
        return false;
    unsigned payload = be16(at + 4);
    if (payload > length - 40)
        return false;
    *ip = (struct packet){.header = at, .addresses = at + 8, .version = 6, .address_bytes = IPV6_ADDRESSES};
    ip->protocol = at[6];
    ip->l4_bytes = payload;
    ip->l4 = at + 40;
    skip_extensions(ip);
    return true;
}

static unsigned l4_type(const struct packet *ip)
{
    static const uint8_t header_bytes[] = {[PROTOCOL_TCP] = 20, [PROTOCOL_UDP] = 8, [PROTOCOL_SCTP] = 12};
    if (ip->fragment || ip->protocol >= sizeof header_bytes || !header_bytes[ip->protocol])
        return 0;
    return ip->l4_bytes >= header_bytes[ip->protocol] ? ip->protocol : 0;
}

/* `type` is the frame's Ethernet type, `at` what follows it. False: no IP, or none that can be trusted. */
bool packet_parse(uint16_t type, const uint8_t *at, uint32_t length, struct packet *ip)
{
    bool known = (type == ETHERTYPE_IPV4 && parse_ipv4(at, length, ip)) ||
                 (type == ETHERTYPE_IPV6 && parse_ipv6(at, length, ip));
    if (known)
        ip->l4_type = l4_type(ip);
    return known;
}
