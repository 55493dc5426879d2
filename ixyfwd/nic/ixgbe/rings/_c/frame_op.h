/* The fused loop with a program in it that does the same to every frame. The build includes this once for each program
 * with a `frame.h`, with FRAME_OP its name, and declares what follows.
 */
/* for Python, of each program
uint32_t NAME_forward(struct forwarder *forwarder);
*/
#include "engine/frame_burst.h"

#define FORWARD FRAME_OP_NAME(FRAME_OP, _forward)
#define TREATS 1
#define TREAT FRAME_OP_FRAME
#define TREAT_BURST frame_burst
#include "forward.h"
