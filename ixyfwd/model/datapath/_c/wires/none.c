/* Nothing at the far end: what is sent is counted and gone. */
#include "wire/wire.h"

#include <stddef.h>

/* for Python */
void dp_plug_none(port_t *p);
/* end */

static const struct wire_operations no_wire;

void dp_plug_none(port_t *p) { wire_plug(p, &no_wire, NULL); }
