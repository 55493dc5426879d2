"""A kind of wire that the project does not have: one Python file and one C file, and nothing else changes."""

from functools import partial
from pathlib import Path

import pytest

from tests.testing import toys
from tests.testing.support import assert_forwarded_sum, report_of

PYTHON = '''"""The mirror wire: what the port sends comes back to it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from ixyfwd.model.wires.contract import Jack, Plug, WireTotals, Wire, check_memory
from ixyfwd.settings.reader import Table


@dataclass(frozen=True)
class MirrorWire(Wire):
    """Keeps up to `room` frames for which the port has no descriptors yet."""

    kind: ClassVar = "mirror"

    room: int = 256

    @classmethod
    def read(cls, table: Table, folder: Path) -> Self:
        return cls(table.integer("room", 256, 1, 4096))

    def attach(self, jack: Jack) -> Plug:
        check_memory(jack.lib.dp_plug_mirror(jack.port, self.room), "a mirror")
        return MirrorPlug(jack)


class MirrorPlug(Plug):
    def totals(self) -> WireTotals:
        mirror = self._jack.lib.dp_port_mirror(self._jack.port)
        return WireTotals(int(mirror.returned), int(mirror.taken))

    def stats(self) -> dict[str, Any]:
        mirror = self._jack.lib.dp_port_mirror(self._jack.port)
        return {"kept": int(mirror.kept), "refused": int(mirror.refused)}
'''

C = """/* The mirror wire. */
#include "wire/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* for Python */
typedef struct dp_mirror {
    uint64_t taken, returned, refused, kept; /* kept: now */
} dp_mirror;
int dp_plug_mirror(port_t *p, uint32_t room);
dp_mirror *dp_port_mirror(port_t *p);
/* end */

struct kept {
    uint32_t length;
    uint8_t data[FRAME_MAX];
};

struct mirror {
    dp_mirror public;
    uint32_t room, first;
    struct kept frames[];
};

static void mirror_consume(struct port *p, unsigned queue, const struct frame *frames, unsigned count, uint64_t bytes)
{
    struct mirror *m = p->wire_state;
    (void)queue, (void)bytes;
    m->public.taken += count;
    for (unsigned k = 0; k < count; k++) {
        if (m->public.kept == m->room) {
            m->public.refused++;
            continue;
        }
        struct kept *to = &m->frames[(m->first + m->public.kept++) % m->room];
        to->length = frames[k].length;
        memcpy(to->data, frames[k].data, frames[k].length);
    }
}

static unsigned mirror_feed(struct port *p)
{
    struct mirror *m = p->wire_state;
    unsigned sent = 0;
    for (; m->public.kept; sent++) {
        if (rx_offer(p, m->frames[m->first].data, m->frames[m->first].length, RX_WAIT_READY) == RX_NO_ROOM)
            break;
        m->first = (m->first + 1) % m->room;
        m->public.kept--;
        m->public.returned++;
    }
    if (sent)
        rx_flush_all(p);
    return sent;
}

static bool mirror_done(const struct port *p) { return !((struct mirror *)p->wire_state)->public.kept; }
static void mirror_free(struct port *p) { free(p->wire_state); }

static const struct wire_operations mirror_wire = {
    .feed = mirror_feed,
    .consume = mirror_consume,
    .done = mirror_done,
    .free = mirror_free,
};

int dp_plug_mirror(port_t *p, uint32_t room)
{
    struct mirror *m = calloc(1, sizeof *m + room * sizeof m->frames[0]);
    if (!m)
        return -ENOMEM;
    m->room = room;
    wire_plug(p, &mirror_wire, m);
    return 0;
}

dp_mirror *dp_port_mirror(port_t *p) { return p->wire_state; }
"""

CONFIG = """[instance]
name = "toy"
[[port]]
name = "far"
device = "sim:far"
wire = { kind = "mirror", room = 512 }
[[port]]
name = "near"
device = "sim:near"
wire = { kind = "generator", flows = 8, rate = 1e5, count = 2000 }
[[link]]
ports = ["far", "near"]
"""

ixyfwd = partial(toys.ixyfwd, config=CONFIG)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the mirror in it, compiled there."""
    top = toys.copy_tree(tmp_path_factory.mktemp("toy"), "ixyfwd", "scripts", stale=("_datapath*.so", "_datapath.c"))
    (top / "ixyfwd" / "model" / "wires" / "mirror.py").write_text(PYTHON)
    (top / "ixyfwd" / "model" / "datapath" / "_c" / "wires" / "mirror.c").write_text(C)
    toys.run_script(top, "build_inplace.py", "model")
    return top


@pytest.mark.slow
def test_it_carries_frames_and_the_account_closes(copy: Path) -> None:
    code, out, err = ixyfwd(copy, "start", "-c", "toy.toml", "--duration", "1", "--json")
    assert code == 0, err
    report = report_of(out)
    assert_forwarded_sum(report)
    drops = sum(report["drops"].values())
    wires = {port["name"]: port["wire"] for port in report["ports"]}
    mirror, sink = wires["far"], report["sink"]
    assert mirror["kind"] == "mirror" and mirror["totals"]["in"] > 0
    assert mirror["totals"]["out"] == mirror["totals"]["in"] + mirror["kept"] + mirror["refused"]
    assert sink["sent"] - sink["received"] == drops + report["in_flight"] + mirror["kept"] + mirror["refused"]
    assert sink["received"] > 0 and not sink["corrupted"] and not sink["foreign"] and not sink["reordered"]


@pytest.mark.slow
def test_a_configuration_knows_its_table(copy: Path) -> None:
    code, _, err = ixyfwd(copy, "config", "check", "toy.toml", config=CONFIG.replace("512", "0"))
    assert code == 2
    assert err == "ixyfwd: toy.toml:6: port[0].wire.room: found 0, expected a whole number from 1 to 4096\n"
    code, _, err = ixyfwd(copy, "config", "check", "toy.toml", config=CONFIG.replace('"mirror"', '"mirrow"'))
    assert code == 2 and 'toy.toml:6: port[0].wire.kind: found "mirrow", expected "cable"' in err
    assert err.endswith('; did you mean "mirror"?\n')


@pytest.mark.slow
def test_the_model_command_takes_it_as_typed(copy: Path) -> None:
    port = ("--port", str(copy / "a.sock"))
    code, out, err = ixyfwd(copy, "model", *port, "--wire", "mirror:room=64", "--duration", "0.1")
    assert code == 0, err
    assert "mirror" in out
    code, _, err = ixyfwd(copy, "model", *port, "--wire", "mirror:size=64")
    assert code == 2 and 'size: found an unknown key, expected "kind" or "room"' in err
