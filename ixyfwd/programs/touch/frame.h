/* The `touch` program: increment one byte of every frame that is long enough to have it. */
#include <stdint.h>

enum { TOUCHED_BYTE = 48 }; /* of the payload of the published comparison's frames */

static inline void touch_frame(uint8_t *frame, uint64_t length)
{
    uint64_t at = TOUCHED_BYTE;
    __asm__("" : "+r"(at)); /* not a constant: then the comparison's carry is what is added */
    frame[TOUCHED_BYTE] += at < length;
}
