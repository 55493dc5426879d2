"""A program that the project does not have: a folder, and nothing else changes."""

import json
from functools import partial
from pathlib import Path

import pytest

from tests.testing import toys
from tests.testing.support import assert_sums, report_of

FILES = {
    "__init__.py": '"""Sort: long frames back out of the port that they came from, the others on, some dropped."""\n',
    "options.py": '''"""The sort program in a configuration."""

from dataclasses import dataclass
from typing import ClassVar, Self

from ixyfwd.programs.contract import Counted, ProgramOptions
from ixyfwd.settings.reader import Table


@dataclass(frozen=True)
class Options(ProgramOptions):
    name: ClassVar = "sort"
    summary: ClassVar = "sends long frames back"
    decides: ClassVar = True
    drop_causes: ClassVar = (Counted("seventh", "every seventh short frame"),)
    counters: ClassVar = (Counted("back", "frames sent back"),)

    back_from: int = 1000

    @classmethod
    def read(cls, table: Table) -> Self:
        return cls(table.integer("back_from", 1000, 64, 9728))
''',
    "worker.py": '''"""The sort program in a worker."""

from ixyfwd.programs.sort._sort import ffi, lib
from ixyfwd.telemetry.counters import ProgramWord, program_word


def bind(options, place):
    sort = ffi.new("struct sort *")
    sort.back_from, sort.rx_port = options["back_from"], place.rx_port
    word = program_word(place.index, ProgramWord.COUNTERS)
    sort.back = ffi.cast("uint64_t *", place.engine.counters_address() + 8 * word)
    return place.engine.bind_c(ffi, ffi.addressof(lib, "sort_burst"), sort, place.batch)
''',
    "_c/sort.cdef.h": """#include "engine/batch.h"

struct sort {
    struct batch_view batch;
    uint64_t *back;
    uint32_t back_from;
    uint32_t rx_port;
    uint32_t count;
};

uint32_t sort_burst(struct sort *sort);
""",
    "_c/sort.h": '#include <stdint.h>\n#include "sort.cdef.h"\n',
    "_c/sort.c": """#include "sort.h"

uint32_t sort_burst(struct sort *sort)
{
    const struct batch_view *batch = &sort->batch;
    for (uint32_t i = 0; i < batch->head->count; i++) {
        if (batch->lengths[i] + 4 >= sort->back_from) {
            batch->verdicts[i] = (uint32_t)ACTION_OUT << VERDICT_ACTION_SHIFT | sort->rx_port;
            ++*sort->back;
        } else if (++sort->count % 7 == 0) {
            batch->verdicts[i] = (uint32_t)ACTION_DROP << VERDICT_ACTION_SHIFT;
        }
    }
    return batch->head->count;
}
""",
}

CONFIG = """[instance]
name = "toy"
[[port]]
name = "a"
device = "sim:a"
wire = { kind = "generator", flows = 8, frame = [64, 1518], rate = 1e5, count = 2000 }
[[port]]
name = "b"
device = "sim:b"
wire = { kind = "generator", flows = 8, frame = [64, 1518], rate = 1e5, count = 2000 }
[[link]]
ports = ["a", "b"]
[forward]
program = ["sort", "touch"]
[program.sort]
back_from = 1518
"""

ixyfwd = partial(toys.ixyfwd, config=CONFIG)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the program in it, compiled there."""
    top = toys.copy_tree(tmp_path_factory.mktemp("toy"), "ixyfwd", "scripts")
    for name, text in FILES.items():
        path = top / "ixyfwd" / "programs" / "sort" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    toys.run_script(top, "build_inplace.py", "programs")
    return top


@pytest.mark.slow
def test_its_verdicts_are_carried_out_and_every_sum_closes(copy: Path) -> None:
    code, out, err = ixyfwd(copy, "start", "-c", "toy.toml", "--until-done", "--json")
    assert code == 0, err
    report = report_of(out)
    assert_sums(report)
    sort, touch = report["programs"]
    assert (sort["name"], touch["name"], report["loop"]) == ("sort", "touch", "python")
    assert sort["in"] > 0 and sort["out"] == sort["counters"]["back"] > 0 and not sort["invalid"]
    # Every seventh of each port's short frames, by worker and port.
    short = sort["in"] - sort["out"]
    assert short // 7 - 2 * len(report["workers"]) <= sort["drops"]["seventh"] <= short // 7
    assert report["drops"]["sort.seventh"] == sort["drops"]["seventh"]
    assert touch["in"] == sort["passed"] + sort["out"] == touch["passed"]


@pytest.mark.slow
def test_a_configuration_knows_its_table(copy: Path) -> None:
    code, _, err = ixyfwd(copy, "config", "check", "toy.toml", config=CONFIG.replace("= 1518\n", "= 1\n"))
    assert code == 2
    where = "program.sort.back_from"
    assert err == f"ixyfwd: toy.toml:16: {where}: found 1, expected a whole number from 64 to 9728\n"
    code, _, err = ixyfwd(copy, "config", "check", "toy.toml", config=CONFIG.replace('"sort",', '"srot",'))
    offered, _, meant = err.partition("expected ")[2].partition(";")
    assert code == 2 and '"sort"' in offered and meant == ' did you mean "sort"?\n'


@pytest.mark.slow
def test_the_bench_knows_it(copy: Path) -> None:
    arguments = ("--engine", "native", "--loop", "python", "--batch", "32", "--runs", "1", "--json")
    code, out, err = ixyfwd(copy, "bench", "cost", "--program", "sort", *arguments)
    assert code == 0, err
    assert [row["program"] for row in json.loads(out)["rows"]] == ["sort"]
