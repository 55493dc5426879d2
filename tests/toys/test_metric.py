"""A counter that the project does not have: a row and what counts, and nothing else changes."""

import json
from pathlib import Path

import pytest

from tests.testing import toys
from tests.testing.support import last_object

TEXT = "Rounds that a toy has counted."
ROWS = {  # behind the last row of a block
    "    POLLS = 16,": f'    TOY_ROUNDS = 10, Scope.WORKER, NumberKind.COUNTER, "rounds", "{TEXT}"\n',
    "    RX_PACKETS = 0,": f'    TOY_FRAMES = 11, Scope.PORT, NumberKind.COUNTER, "frames", "{TEXT}"\n',
    "    IN = 0,": f'    TOY_VERDICTS = 3, Scope.PROGRAM, NumberKind.COUNTER, "frames", "{TEXT}"\n',
}
COUNTED = {  # beside what counts the same
    "page[WORD_POLLS] += rounds;": "page[WORD_TOY_ROUNDS] += rounds;",
    "rx[PORT_RX_PACKETS] += n;": "rx[PORT_TOY_FRAMES] += n;",
    "queue->counters[PORT_RX_PACKETS] += frames;": "queue->counters[PORT_TOY_FRAMES] += frames;",
    "block[PROGRAM_IN] += frames;": "block[PROGRAM_TOY_VERDICTS] += frames;",
}
CONFIG = """[instance]
name = "toy-metric"
[[port]]
name = "a"
device = "sim:a"
wire = {{ kind = "generator", flows = 8, rate = 1e5, count = 2000 }}
[[port]]
name = "b"
device = "sim:b"
wire = {{ kind = "generator", flows = 8, rate = 1e5, count = 2000 }}
[[link]]
ports = ["a", "b"]
[forward]
program = "{program}"
"""


def insert(path: Path, before: str, text: str) -> None:
    found = path.read_text()
    assert found.count(before) == 1
    path.write_text(found.replace(before, text + before))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the rows in it, compiled and described there."""
    top = toys.copy_tree(tmp_path_factory.mktemp("toy"), "ixyfwd", "scripts", "docs", stale=("words.h",))
    for before, text in ROWS.items():
        insert(top / "ixyfwd" / "telemetry" / "counters.py", before, text)
    sources = sorted((top / "ixyfwd").rglob("_c/[!_]*.[ch]"))
    for beside, counts in COUNTED.items():
        for source in [path for path in sources if beside in path.read_text()]:
            insert(source, beside, counts + "\n\t")
    for script in ("build_inplace.py", "describe.py"):
        toys.run_script(top, script)
    return top


def ixyfwd(copy: Path, *arguments: str, program: str = "xconnect") -> str:
    """The output of `ixyfwd ARGUMENTS` of the copy."""
    code, out, err = toys.ixyfwd(copy, *arguments, config=CONFIG.format(program=program))
    assert code == 0, err
    return out


@pytest.mark.slow
def test_it_is_counted_in_c_and_reported(copy: Path) -> None:
    start = ("start", "-c", "toy.toml", "--until-done", "--json")
    workers = last_object(ixyfwd(copy, *start))["workers"]
    assert all(worker["toy_rounds"] == worker["polls"] > 0 for worker in workers)
    assert all(worker["toy_frames"] == worker["rx_packets"] for worker in workers)
    assert sum(worker["toy_frames"] for worker in workers) > 0
    (program,) = last_object(ixyfwd(copy, *start, program="drop"))["programs"]
    assert program["toy_verdicts"] == program["in"] > 0


@pytest.mark.slow
def test_the_schema_and_the_reference_page_have_it(copy: Path) -> None:
    parts = json.loads(ixyfwd(copy, "status", "--schema"))["$defs"]
    described = {"description": f"{TEXT} [rounds]", "type": "integer", "minimum": 0}
    assert parts["WorkerRow"]["properties"]["toy_rounds"] == described
    assert {"toy_rounds", "toy_frames"} <= set(parts["WorkerRow"]["required"])
    assert "toy_verdicts" in parts["ProgramRow"]["required"]
    page = (copy / "docs" / "metrics.md").read_text()
    assert f"| `toy_rounds` | rounds | {TEXT} |" in page
    assert page.count(TEXT) == 6  # each where it stands in the JSON, and in the table of words
