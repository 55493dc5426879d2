/* The Ethernet frame check sequence, for frames that are delivered with it. */
#include "datapath.h"

uint32_t crc32_of(const uint8_t *data, size_t length)
{
    /* CRC-32 of each nibble, reflected polynomial 0xEDB88320 */
    static const uint32_t nibble[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    uint32_t crc = ~0u;
    for (size_t i = 0; i < length; i++) {
        crc = (crc >> 4) ^ nibble[(crc ^ data[i]) & 15];
        crc = (crc >> 4) ^ nibble[(crc ^ (data[i] >> 4)) & 15];
    }
    return ~crc;
}

uint32_t dp_crc32(const uint8_t *data, uint64_t length) { return crc32_of(data, length); }
