/* The fused loop that changes no frame. */
#define FORWARD forward
#define TREATS 0
#define TREAT(frame, length) ((void)(frame), (void)(length))
#define TREAT_BURST(frames) ((void)(frames))
#include "forward.h"
