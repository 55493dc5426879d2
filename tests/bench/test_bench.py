"""The scripted tests: what their options accept, what they print, that a failed run is said."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.bench import cores, throughput
from ixyfwd.bench.cost import Case, cases, count_instructions
from ixyfwd.bench.plots import latency_plot
from ixyfwd.bench.result import as_csv, as_table, flat, result, spread
from ixyfwd.bench.turntable import open_turntable
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.programs.registry import programs
from tests.testing.bench_cases import GOOD_REPORT, SPREAD, bench, check_bench_schema
from tests.testing.support import IXYFWD, ROOT, descendants, run


@pytest.mark.alone
def test_cost_has_a_row_for_each_engine_loop_and_batch() -> None:
    found = bench("cost", "--engine", "native,vector,naive", "--program", "touch", "--batch", "1,64", "--runs", "2")
    check_bench_schema(found, "cost")
    kinds = [(row["engine"], row["loop"], row["batch"]) for row in found["rows"]]
    loops = [("native", "fused"), ("native", "python"), ("vector", "python"), ("naive", "python")]
    assert kinds == [(engine, loop, batch) for engine, loop in loops for batch in (1, 64)]
    assert all((row["device"], row["device_note"], row["runs"]) == ("model", "by hand", 2) for row in found["rows"])
    assert all(row["cache"] == "warm" for row in found["rows"])
    cost = {(row["engine"], row["loop"], row["batch"]): row["ns_per_packet"]["median"] for row in found["rows"]}
    assert cost["naive", "python", 64] > 5 * cost["vector", "python", 64] > 5 * cost["native", "fused", 64]
    assert cost["native", "python", 1] > 5 * cost["native", "fused", 1]


@pytest.mark.slow
def test_throughput_measures_both_loops(tmp_path: Path) -> None:
    rows, plot = tmp_path / "rows.csv", tmp_path / "plot.svg"
    found = bench(
        "throughput", "--engine", "native,vector", "--batch", "32,64", "--duration", "0.3", "--runs", "1",
        "--csv", str(rows), "--svg", str(plot),
    )  # fmt: skip
    check_bench_schema(found, "throughput")
    assert [(row["engine"], row["loop"], row["batch"]) for row in found["rows"]] == [
        (engine, loop, batch)
        for engine, loop in (("native", "python"), ("native", "fused"), ("vector", "python"))
        for batch in (32, 64)
    ]
    for row in found["rows"]:
        assert row["device"] == "model"
        assert row["packets_per_burst"]["max"] <= row["batch"]
        assert row["rss_imbalance"]["min"] >= 1
        assert 0 <= row["empty_poll_share"]["min"] <= 1
    lines = list(csv.DictReader(rows.open(encoding="utf-8")))
    assert [float(line["mpps_median"]) for line in lines] == [row["mpps"]["median"] for row in found["rows"]]
    assert ET.parse(plot).getroot().tag.endswith("svg")


@pytest.mark.slow
def test_frame_sizes_and_imix() -> None:
    found = bench("throughput", "--engine", "native", "--loop", "fused", "--batch", "32", "--frame", "imix,1518",
                  "--duration", "0.2", "--runs", "1")  # fmt: skip
    assert [row["frame_bytes"] for row in found["rows"]] == ["imix", 1518]


@pytest.mark.slow
def test_scaling_says_what_it_can_tell() -> None:
    found = bench("scaling", "--workers", "1,3,16", "--duration", "0.5", "--runs", "2")
    check_bench_schema(found, "scaling")
    assert list(dict.fromkeys(row["workers"] for row in found["rows"])) == [1, 3, 16]  # rows are split by distance
    assert found["rows"][0]["efficiency"] == 1
    for key in ("by_hand_ns_per_packet", "by_hand_warm_ns_per_packet"):
        assert all(row[key]["min"] > 0 for row in found["rows"])
    assert "take turns" in found["note"] or found["cores"] > 16


@pytest.mark.slow
def test_scaling_by_hand_has_both_costs_of_both_programs(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    found = bench("scaling", "--by-hand", "--workers", "1,4", "--runs", "2", "--csv", str(rows))
    assert found["problems"] == []
    assert [(row["program"], row["workers"]) for row in found["rows"]] == [
        (program, workers) for program in ("xconnect", "touch") for workers in (1, 4)
    ]
    for row in found["rows"]:
        assert (row["device"], row["device_note"], row["runs"]) == ("model", "by hand", 2)
        assert set(row["by_hand_ns_per_packet"]) == set(row["by_hand_warm_ns_per_packet"]) == SPREAD
        assert row["by_hand_efficiency"] > 0
        assert row["by_hand_warm_efficiency"] > 0
        assert "mpps" not in row
    assert [row["by_hand_warm_efficiency"] for row in found["rows"][::2]] == [1, 1]
    lines = list(csv.DictReader(rows.open(encoding="utf-8")))
    assert [float(line["by_hand_warm_ns_per_packet_median"]) for line in lines] == [
        row["by_hand_warm_ns_per_packet"]["median"] for row in found["rows"]
    ]


def test_a_turn_is_as_long_as_it_is_told_to_be() -> None:
    with open_turntable("native", 16, ring=512, bursts=8) as table:
        assert table.frames == 8 * 16
        assert table.turn() > 0
    with open_turntable("native", 64, ring=128, bursts=8) as table:
        assert table.frames == 64  # no more than the ring holds


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["cost", "--engine", "warp"], "--engine: 'warp' is not one of native, vector, naive"),
        (["cost", "--loop", "auto"], "--loop: 'auto' is not one of python, fused"),
        (["cost", "--batch", "0"], "--batch: '0' is not a whole number from 1 to 2048"),
        (["cost", "--batch", "32,x"], "--batch: 'x' is not a whole number from 1 to 2048"),
        (["cost", "--batch", "512"], "batch 512 does not fit a ring of 512: at most half of it; use --ring"),
        (["throughput", "--ring", "100"], "--ring: 100 is not a power of two from 64 to 4096"),
        (["throughput", "--frame", "63"], "--frame: '63' is not a whole number from 64 to 9728"),
        (["throughput", "--workers", "17"], "--workers: '17' is not a whole number from 1 to 16"),
        (["scaling", "--program", "nat"], f"--program: 'nat' is not one of {', '.join(programs())}"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: list[str], sentence: str) -> None:
    done = run(*IXYFWD, "bench", *arguments)
    assert done.returncode == 2
    assert done.stderr == f"ixyfwd: {sentence}\n"
    assert done.stdout == ""


def test_a_csv_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    done = run(*IXYFWD, "bench", "cost", "--engine", "native", "--batch", "64", "--runs", "1", "--csv", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ixyfwd: {tmp_path}: the rows cannot be written: Is a directory"


def test_a_run_that_fails_is_a_problem_and_the_others_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    good = GOOD_REPORT
    reports = iter([good, {**good, "sink": {"lost": 3}}, {**good, "rx_packets": 7}, {**good, "error": "it broke"}])
    monkeypatch.setattr(cores, "run_forwarder", lambda *_, **__: dict(next(reports)))
    plan = throughput.TrialPlan(["native"], ["fused"], ["touch"], [32], [512], [64], 64, [1], 0.1, 4)
    found = throughput.run_plan("throughput", plan, "x", lambda text: None)
    name = "native (fused), touch, batch 32, ring 512, 64 bytes, 1 worker"
    assert found["problems"] == [
        f"run 2: {name}: the sinks report lost 3",
        f"run 3: {name}: 2 frames are missing from the account",
        f"run 4: {name}: it broke",
    ]
    (row,) = found["rows"]
    assert row["runs"] == 1
    assert "not measured: run 2: native (fused)" in as_table(found, {})


@pytest.mark.slow
def test_a_signal_ends_it_with_what_it_has() -> None:
    command = [*IXYFWD, "bench", "throughput", "--engine", "native", "--loop", "fused",
               "--batch", "64", "--duration", "1.5", "--runs", "50", "--json"]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("run 1/50")
        assert process.stderr.readline().startswith("run 2/50")
        time.sleep(1)
        children = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    found = json.loads(out)
    assert [row["runs"] for row in found["rows"]] == [1]
    assert "SIGINT received" in found["problems"][-1]
    assert not [child for child in children if child.is_running()]


def test_the_fused_loop_is_only_asked_of_engines_that_have_it() -> None:
    kinds = {(case.engine, case.loop) for case in cases(["native", "naive"], ["fused", "python"], ["touch"], [8], [64])}
    assert kinds == {("native", "fused"), ("native", "python"), ("naive", "python")}
    with (
        pytest.raises(UsageError, match="the naive engine cannot fuse"),
        open_turntable("naive", 8, ring=64, loop="fused"),
    ):
        pass
    with pytest.raises(UsageError, match="a batch of 128 does not fit"), open_turntable("native", 128, ring=128):
        pass


def test_instructions_are_counted_in_c_only() -> None:
    with pytest.raises(IxyfwdError, match=r"instructions are counted in C functions only; the vector engine has none"):
        count_instructions(Case("vector", "python", "touch", 32, 512))


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=20))
def test_spread_is_ordered(values: list[float]) -> None:
    found = spread(values)
    assert found["min"] <= found["median"] <= found["max"]


def test_csv_and_table_of_nested_rows() -> None:
    row = {"engine": "native", "mpps": spread([1.0, 3.0]), "list": [1, 2], "none": None}
    assert flat(row)["mpps_median"] == 2.0
    found = result("cost", [row, {"engine": "vector"}])
    first, second = csv.DictReader(io.StringIO(as_csv(found)))
    assert first["mpps_max"] == "3.0"
    assert first["list"] == "1 2"
    assert second["mpps_max"] == ""
    table = as_table(found, {"mpps": ("Mpps", 1)}).splitlines()
    assert "2.0 (1.0-3.0)" in table[3]
    assert len({len(line) for line in table[1:]}) == 1
    with pytest.raises(ValueError, match="nothing was measured"):
        spread([])


def test_the_latency_plot_is_an_svg(tmp_path: Path) -> None:
    path = tmp_path / "latency.svg"
    latency_plot({"native": [(0.5, 2.0), (0.99, 9.0), (0.9999, 20.0), (1.0, 30.0)]}, "model", path)
    assert "percentile" in path.read_text(encoding="utf-8") or ET.parse(path).getroot().tag.endswith("svg")
    with pytest.raises(IxyfwdError, match="the plot cannot be written"):
        latency_plot({"native": [(0.5, 2.0)]}, "model", tmp_path)


def test_a_folder_without_ixy_py_is_named(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "ixyfwd.bench.published", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == f"ixyfwd: {tmp_path} is not a clone of ixy.py: src/ixypy/ixgbe/device.py is not in it\n"


FAKE_IXY_PY = {
    "__init__.py": "",
    "ixgbe/__init__.py": "",
    "register.py": '''
        class MmapRegister:
            def __init__(self, bar0):
                self.words = memoryview(bar0).cast("I")
            def get(self, offset):
                return self.words[offset // 4]
            def set(self, offset, value):
                self.words[offset // 4] = value
    ''',
    "ixgbe/device.py": '''
        from memory import DmaMemory
        class Queue:
            def __init__(self):
                self.memory = memoryview(DmaMemory(512 * 16))
                self.at = 0
        class Frame:
            def touch(self):
                pass
        class IxgbeDevice:
            def __init__(self):
                raise RuntimeError("there is no chip")
            def _init_rx_queue(self, index):
                return Queue()
            def _init_tx_queue(self, index):
                return Queue()
            def _start_rx_queue(self, queue):
                self.reg.set_flags(0x1028, 1 << 25)
                self.reg.wait_set(0x1028, 1 << 25)
                assert self.reg.get(0x1028) == 1 << 25
            def rx_batch(self, queue, n):
                ring = self.rx_queues[queue]
                assert ring.memory[16 * ring.at + 8] == 3, "not finished"
                ring.at = (ring.at + n) % 512
                return [Frame() for _ in range(n)]
            def tx_batch(self, frames, queue):
                ring = self.tx_queues[queue]
                ring.at = (ring.at + len(frames) - LOST) % 512
                self.reg.set(0x6018, ring.at)
                return len(frames) - LOST
    ''',
}  # fmt: skip


@pytest.mark.parametrize(("lost", "exit_code"), [(0, 0), (1, 1)])
def test_a_published_driver_is_turned_beside_naive(tmp_path: Path, lost: int, exit_code: int) -> None:
    for name, text in FAKE_IXY_PY.items():
        path = tmp_path / "src" / "ixypy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"LOST = {lost}\n{dedent(text)}", encoding="utf-8")
    command = (sys.executable, "-m", "ixyfwd.bench.published", str(tmp_path))
    done = run(*command, "--batch", "1,32", "--runs", "2", "--json")
    assert done.returncode == exit_code, done.stderr
    if lost:
        assert done.stderr.endswith("ixyfwd: ixy.py sent 0 of the 480 frames that it was given\n")
        return
    found = json.loads(done.stdout)
    check_bench_schema(found, "published")
    assert [(row["engine"], row["batch"], row["runs"]) for row in found["rows"]] == [
        (engine, batch, 2) for batch in (1, 32) for engine in ("ixy.py", "naive")
    ]
