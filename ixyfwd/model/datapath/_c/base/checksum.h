/* Big-endian fields and the ones' complement sum of IP, TCP and UDP. */
#ifndef IXYFWD_CHECKSUM_H
#define IXYFWD_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

static inline uint16_t be16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static inline void put_be16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* Ones' complement sum, not yet inverted. */
static inline uint16_t checksum(const uint8_t *data, size_t length, uint64_t sum)
{
    for (; length >= 2; data += 2, length -= 2)
        sum += be16(data);
    if (length)
        sum += (uint64_t)data[0] << 8;
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)sum;
}

#endif
