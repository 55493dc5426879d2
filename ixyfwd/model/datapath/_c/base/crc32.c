/* The Ethernet frame check sequence, for frames that are delivered with it, and SCTP's checksum. */
#include "base/base.h"

/* Reflected CRC, nibble by nibble; `table`: that of each nibble. */
static uint32_t crc_more(const uint32_t table[16], uint32_t crc, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        crc = (crc >> 4) ^ table[(crc ^ data[i]) & 15];
        crc = (crc >> 4) ^ table[(crc ^ (data[i] >> 4)) & 15];
    }
    return crc;
}

uint32_t crc32_of(const uint8_t *data, size_t length)
{
    /* polynomial 0xEDB88320 */
    static const uint32_t table[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    return ~crc_more(table, ~0u, data, length);
}

/* As if there were 0 in the four bytes from `gap` on. */
uint32_t crc32c_around(const uint8_t *data, size_t length, size_t gap)
{
    /* polynomial 0x82F63B78 */
    static const uint32_t table[16] = {
        0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
        0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
    };
    static const uint8_t zeros[4];
    uint32_t crc = crc_more(table, crc_more(table, ~0u, data, gap), zeros, sizeof zeros);
    return ~crc_more(table, crc, data + gap + sizeof zeros, length - gap - sizeof zeros);
}

uint32_t dp_crc32(const uint8_t *data, uint64_t length) { return crc32_of(data, length); }
