"""A NIC family that the project does not have: a folder, and nothing else changes. See `family/__init__.py`."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.testing.fake_nic import EVERY_ENGINE
from tests.testing.support import ROOT, assert_sums, report_of
from tests.testing.toys import copy_tree, ixyfwd, run_in

TOY = ROOT / "tests" / "toys" / "family"
# naive needs a CPU to itself to drain its rings in time
pytestmark = pytest.mark.alone

FRAMES = 1500  # that arrive at each toy port

LINKED = """[instance]
name = "toys"
[[port]]
name = "a"
device = "toy:a/{frames}"
[[port]]
name = "b"
device = {b}
[[link]]
ports = ["a", "b"]
[forward]
engine = "{engine}"
{forward}
"""
GENERATOR = '"sim:b"\nwire = { kind = "generator", flows = 8, frame = [64, 1518], rate = 1e4, count = 1000 }'


@pytest.fixture(scope="module", name="copy")
def copy_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the family in it. It has no C, so that what is compiled here is copied, too."""
    top = copy_tree(tmp_path_factory.mktemp("toys"), "ixyfwd")
    shutil.copytree(TOY, top / "ixyfwd" / "nic" / "toy", ignore=shutil.ignore_patterns("__pycache__"))
    return top


def forward(
    copy: Path, *how_long: str, b: str, engine: str = "native", forward: str = "", frames: int = FRAMES
) -> dict[str, Any]:
    """The final report of a run with toy port `a` linked to port `b`; its sums were checked."""
    config = LINKED.format(b=b, engine=engine, forward=forward, frames=frames)
    code, out, err = ixyfwd(copy, "start", "-c", "toy.toml", *how_long, "--json", config=config)
    assert code == 0, err
    report = report_of(out)
    check_sums(report)
    return report


def check_sums(report: dict[str, Any]) -> None:
    """The account of the run, that of each port against the workers', and that of each program."""
    assert_sums(report)
    assert report["troubles"] == [] and report["faults"] == 0


def row(report: Mapping[str, Any], port: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in report["ports"] if row["name"] == port)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_two_toys_forward_to_each_other(copy: Path, engine: str) -> None:
    report = forward(copy, "--duration", "2", b=f'"toy:b/{FRAMES}"', engine=engine)
    assert (report["loop"], report["engine"]) == ("python", engine)
    assert {row(report, name)["chip"] for name in "ab"} == {"toy"}
    for to, source in (("a", "b"), ("b", "a")):
        arrived, left = row(report, source), row(report, to)
        assert arrived["rx_packets"] == FRAMES
        # Every 50th frame is broken; whatever else was received has left, but for what a ring had no room for.
        assert left["tx_packets"] <= FRAMES - FRAMES // 50
    assert report["drops"]["rx_error"] == 2 * (FRAMES // 50)
    assert report["tx_packets"] + report["drops"]["tx_full"] == 2 * (FRAMES - FRAMES // 50)
    assert report["in_flight"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_what_a_stuck_toy_was_given_is_in_flight_by_its_own_rule(copy: Path, engine: str) -> None:
    report = forward(copy, "--duration", "2", b=f'"toy:b/0/{FRAMES - 400}"', engine=engine)
    assert report["tx_packets"] == row(report, "b")["tx_packets"] == FRAMES - 400
    queued = FRAMES - FRAMES // 50 - report["drops"]["tx_full"]
    assert report["in_flight"] == queued - (FRAMES - 400) > 0


@pytest.mark.slow
def test_every_worker_has_a_queue_of_every_toy(copy: Path) -> None:
    report = forward(copy, "--duration", "2", b=f'"toy:b/{FRAMES}"', forward="[cpu]\nworkers = 3")
    assert report["rx_packets"] == 2 * FRAMES
    assert [worker["rx_packets"] > 0 for worker in report["workers"]] == [True] * 3
    assert sum(worker["rx_packets"] for worker in report["workers"]) == report["rx_packets"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_a_link_between_two_families_takes_the_way_of_batches(copy: Path, engine: str) -> None:
    """Its ports find the arena at different addresses, have rings of different kinds and different doorbells."""
    report = forward(copy, "--until-done", b=GENERATOR, engine=engine)
    assert report["loop"] == "python"
    toy, other = row(report, "a"), row(report, "b")
    assert (toy["chip"], other["chip"][:5]) == ("toy", "82599")
    assert other["rx_packets"] == 1000
    assert 0 < toy["rx_packets"] <= FRAMES
    lost = report["drops"]["rx_error"] + report["drops"]["tx_full"]
    assert toy["tx_packets"] + other["tx_packets"] + lost == toy["rx_packets"] + other["rx_packets"]


@pytest.mark.slow
def test_a_fused_loop_is_refused_where_there_is_none(copy: Path) -> None:
    config = LINKED.format(b=GENERATOR, engine="native", forward='loop = "fused"', frames=1)
    code, _, err = ixyfwd(copy, "start", "-c", "toy.toml", "--duration", "1", config=config)
    assert code == 2
    assert err.endswith('but the ports are of ixgbe and toy; expected "auto" or "python"\n'), err


@pytest.mark.slow
@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_verdicts_hold_for_toys(copy: Path, engine: str) -> None:
    """Frames are 64 to 1063 bytes with CRC; the program drops what is short, and every third of the rest."""
    wanted = 'program = ["drop", "touch"]\n[program.drop]\nshorter_than = 100\nevery = 3'
    report = forward(copy, "--duration", "2", b=f'"toy:b/{FRAMES}"', engine=engine, forward=wanted)
    drop, touch = report["programs"]
    assert drop["in"] == 2 * (FRAMES - FRAMES // 50)
    assert drop["drops"]["shorter"] > 0 and drop["drops"]["every"] > 0
    assert touch["in"] == drop["passed"] == report["tx_packets"] + report["drops"]["tx_full"]


@pytest.mark.slow
def test_toys_are_captured_from_but_generate_nothing(copy: Path, tmp_path: Path) -> None:
    """The recorder is the engine's; the generator would be the family's."""
    file = tmp_path / "toy.pcap"
    code, out, err = ixyfwd(copy, "capture", "toy:a/200", "-w", str(file), "--count", "100", "--json")
    assert code == 0, err
    report = report_of(out)
    assert report["written"] == 100
    code, _, err = ixyfwd(copy, "generate", "toy:a/0", "--count", "10")
    wanted = "workers generate no frames on ports of family toy; use a port of another family"
    assert (code, err) == (2, f"ixyfwd: port p0 (toy:a/0): {wanted}\n")


@pytest.mark.slow
def test_a_worker_loads_the_rings_of_the_families_in_use_and_nothing_else(copy: Path) -> None:
    code = """
import sys, ixyfwd.worker.main
from array import array
from ixyfwd.engine.contract import CallBell, EngineMemory, EnginePort
from ixyfwd.engine.open import open_engine
from ixyfwd.memory.layout import ARENA_PAGE_BYTES, compute_layout
from ixyfwd.nic.toy.limits import LIMITS
from ixyfwd.pci.function import DmaMap
whole = compute_layout(ports=1, workers=1, ring_size=64, buffers_per_worker=256, ring_format=LIMITS.ring)
pages = DmaMap(ARENA_PAGE_BYTES, tuple(range(0, whole.size, ARENA_PAGE_BYTES)))
port = EnginePort("toy", pages, CallBell(2), CallBell(2))
open_engine("native", EngineMemory(memoryview(bytearray(whole.size)), whole.workers[0], [port]))
print(*sorted(name for name in sys.modules if name.startswith("ixyfwd.nic.")))
"""
    done = run_in(copy, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    loaded = {name for name in done.stdout.split() if name.startswith("ixyfwd.nic.toy") or "ixgbe" in name}
    assert loaded == {f"ixyfwd.nic.toy{name}" for name in ("", ".rings", ".descriptors", ".limits")}


@pytest.mark.slow
def test_the_copy_differs_in_one_folder_only(copy: Path) -> None:
    here = {path.relative_to(ROOT): path.read_bytes() for path in (ROOT / "ixyfwd").rglob("*.py")}
    there = {path.relative_to(copy): path.read_bytes() for path in (copy / "ixyfwd").rglob("*.py")}
    added = {path.parent for path in there if path not in here}
    assert added == {Path("ixyfwd/nic/toy")}
    assert all(there[path] == text for path, text in here.items())
