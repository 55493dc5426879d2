"""Where the results of `ixyfwd bench` go, and what is left of them when something stands in the way."""

import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.bench import cores, cost, scaling, throughput
from ixyfwd.bench.environment import tsc_mhz
from ixyfwd.bench.options import check_outputs
from ixyfwd.bench.result import as_table, device_of, result, spread
from ixyfwd.bench.turntable import open_turntable
from ixyfwd.errors import IxyfwdError
from tests.testing.bench_cases import quiet
from tests.testing.support import IXYFWD, ROOT, run

SHORT_COST = ("bench", "cost", "--engine", "native", "--loop", "fused", "--batch", "32,64", "--runs", "1")
CASE = cost.Case("native", "fused", "touch", 32, 512)
OUTPUTS = {"--csv": "rows", "--svg": "plot"}
WRITING = [
    *((command, "--csv") for command in ("throughput", "latency", "rfc2544", "soak")),
    *((command, "--svg") for command in ("throughput", "latency")),
]


def ixyfwd(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run(*IXYFWD, *arguments)


def test_rows_as_csv_on_standard_output() -> None:
    done = ixyfwd(*SHORT_COST, "--csv", "-")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["engine"], row["device"], row["device_note"], row["batch"]) for row in rows] == [
        ("native", "model", "by hand", "32"),
        ("native", "model", "by hand", "64"),
    ]


def test_a_reader_that_has_gone_costs_no_file(tmp_path: Path) -> None:
    """`| head` of the table, and the rows in a file."""
    rows = tmp_path / "rows.csv"
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "ixyfwd", *SHORT_COST, "--csv", str(rows)]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert len(rows.read_text().splitlines()) == 3


def test_files_are_the_owners_own(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows, plot = tmp_path / "rows.csv", tmp_path / "plot.svg"
    assert ixyfwd(*SHORT_COST, "--csv", str(rows), "--svg", str(plot)).returncode == 0
    assert [stat.S_IMODE(path.stat().st_mode) for path in (rows, plot)] == [0o600, 0o600]


@pytest.mark.parametrize(("command", "option"), WRITING)
@pytest.mark.parametrize(("name", "reason"), [("", "Is a directory"), ("no/file", "there is no directory")])
def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(
    tmp_path: Path, command: str, option: str, name: str, reason: str
) -> None:
    done = ixyfwd("bench", command, option, str(tmp_path / name))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / name) in line and f"the {OUTPUTS[option]} cannot be written: {reason}" in line
    assert "Traceback" not in line
    assert done.stdout == ""


def test_a_missing_matplotlib_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    check_outputs(tmp_path / "rows.csv", None)
    with pytest.raises(IxyfwdError, match=r"plots need matplotlib: pip install 'ixyfwd\[bench\]'"):
        check_outputs(None, tmp_path / "plot.svg")


def test_problems_are_sentences_on_standard_error(tmp_path: Path) -> None:
    """A run that is too short for any frame: the object is whole, the exit code 1."""
    code = (
        "import sys\nfrom ixyfwd.bench import cost\nfrom ixyfwd.errors import IxyfwdError\n"
        "def fail(case): raise IxyfwdError('it broke')\ncost._run = fail\n"
        "from ixyfwd.cli.app import run\nsys.exit(run(sys.argv[1:]))"
    )
    done = run(sys.executable, "-c", code, *SHORT_COST, "--json", cwd=ROOT)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["rows"] == []
    assert len(found["problems"]) == 2
    assert done.stderr.splitlines()[-2:] == [f"ixyfwd: {problem}" for problem in found["problems"]]


def test_ctrl_c_leaves_cost_what_it_measured() -> None:
    command = [*IXYFWD, *SHORT_COST[:-1], "100000", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for _ in range(4):
            process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=30)
    assert process.returncode == 1
    found = json.loads(out)
    assert [row["batch"] for row in found["rows"]] == [32, 64]
    assert found["problems"][-1].endswith("interrupted")
    assert "Traceback" not in said


def test_an_interrupt_between_runs_keeps_the_runs_before(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def measure(trial: throughput.Trial, duration_s: float, instance: str, patience: object) -> dict[str, Any]:
        calls.append(str(trial))
        if len(calls) == 2:
            raise KeyboardInterrupt
        worker = {"rx_packets": 5, "busy_ns_per_packet": 10.0, "packets_per_burst": 2.0, "empty_poll_share": 0.5}
        return {"reason": "duration over", "device": "model", "rate_mpps": 1.0, "workers": [{**worker, "rss_mib": 0.0}]}

    monkeypatch.setattr(throughput, "measure", measure)
    plan = throughput.TrialPlan(["native"], ["fused"], ["touch"], [32], [512], [64], 64, [1, 2], 0.1, 4)
    found = scaling.measure(plan, "x", quiet)
    assert found["interrupted"]
    assert [(row["workers"], row["runs"], row["efficiency"]) for row in found["rows"]] == [(1, 1, 1.0)]
    assert found["problems"] == [f"run 1: {calls[1]}: SIGINT received"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(KeyboardInterrupt(), "by hand: interrupted"), (IxyfwdError("no memory"), "touch, batch 32, ring 512: no memory")],
)
def test_by_hand_keeps_the_rounds_before_a_failure(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, sentence: str
) -> None:
    rounds: Iterator[tuple[float, float] | BaseException] = iter([(5.0, 2.0), (6.0, 2.0), error])

    def by_hand(workers: int, row: dict[str, Any]) -> tuple[float, float]:
        found = next(rounds)
        if isinstance(found, BaseException):
            raise found
        return found

    monkeypatch.setattr(scaling, "by_hand", by_hand)
    plan = throughput.TrialPlan(["native"], ["fused"], ["touch"], [32], [512], [64], 64, [16], 0.1, 3)
    found = scaling.measure_by_hand(plan, quiet)
    (row,) = found["rows"]
    assert (row["runs"], row["workers"]) == (2, 16)
    assert row["by_hand_ns_per_packet"] == spread([5.0, 6.0])
    assert row["by_hand_warm_ns_per_packet"] == spread([2.0])
    assert found["problems"][0].endswith(sentence)
    assert found["interrupted"] == isinstance(error, KeyboardInterrupt)


def test_a_run_without_a_frame_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    silent: dict[str, Any] = {"error": None, "sink": {}, "rx_packets": 0, "tx_packets": 0, "drops": {}, "in_flight": 0,
              "device": "model", "rate_mpps": 0.0, "reason": "duration over", "workers": []}  # fmt: skip
    monkeypatch.setattr(cores, "run_forwarder", lambda *_, **__: dict(silent))
    plan = throughput.TrialPlan(["native"], ["fused"], ["touch"], [32], [512], [64], 64, [1], 0.1, 1)
    found = throughput.run_plan("throughput", plan, "x", quiet)
    assert found["rows"] == []
    assert "no frame came in 0.1 s" in found["problems"][0]


def test_efficiency_compares_what_is_alike() -> None:
    def row(engine: str, workers: int, ns: float) -> dict[str, Any]:
        names = {"loop": "python", "program": "touch", "batch": 32, "ring": 512, "frame_bytes": 64}
        return {**names, "engine": engine, "workers": workers, "ns_per_packet": spread([ns])}

    rows = [row("native", 1, 10.0), row("native", 4, 12.5), row("vector", 2, 100.0), row("vector", 4, 100.0)]
    scaling._compare(rows)
    assert [r["efficiency"] for r in rows] == [1.0, 0.8, 1.0, 1.0]
    assert all("by_hand_efficiency" not in r for r in rows)


def test_a_driver_that_keeps_frames_gives_no_cost() -> None:
    with open_turntable("vector", 32, ring=128) as table:
        assert table.turn() > 0
        table._turn = lambda empty: (0, 0)
        with pytest.raises(IxyfwdError, match="the driver sent or dropped 0 of the 96 frames that it was given"):
            table.turn()


def test_a_failed_case_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def once(case: cost.Case) -> float:
        if case.batch == 64:
            raise IxyfwdError("it broke")
        return 5.0

    monkeypatch.setattr(cost, "_run", once)
    other = cost.Case("native", "fused", "touch", 64, 512)
    rows, problems = cost.measure([CASE, other], 2, quiet)
    assert [(case.batch, row["runs"], row["mpps"]["median"]) for case, row in rows.items()] == [(32, 2, 200.0)]
    assert problems == [f"run {number}: {other}: it broke" for number in (1, 2)]


def test_the_device_and_the_note_are_in_the_table() -> None:
    assert device_of({"device": "wire"}) == "wire"
    found = result("scaling", [{"device": "model", "device_note": "by hand"}], note="two of them took turns")
    lines = as_table(found, {}).splitlines()
    assert "model, by hand" in lines[3]
    assert lines[-1] == "two of them took turns"


def test_the_time_stamp_counters_frequency_is_plausible() -> None:
    mhz = tsc_mhz()
    assert mhz is None or 500 < mhz < 10_000


def test_the_script_explains_itself() -> None:
    done = run(str(ROOT / "scripts" / "bench"), "--help")
    assert done.returncode == 2
    assert "./scripts/bench [DIRECTORY [COMMAND...]]" in done.stderr


@pytest.mark.slow
def test_the_script_leaves_json_csv_and_a_plot(tmp_path: Path) -> None:
    script, results = str(ROOT / "scripts" / "bench"), tmp_path / "results"
    environment = os.environ | {"IXYFWD_BENCH_ARGS": "--engine native --loop fused --batch 32,64 --runs 1"}
    done = run(script, str(results), "cost", env=environment)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in results.iterdir()) == ["cost.csv", "cost.json", "cost.svg"]
    assert [row["batch"] for row in json.loads((results / "cost.json").read_text())["rows"]] == [32, 64]
    refused = run(script, str(results), env=environment)
    assert refused.returncode == 1
    assert "IXYFWD_BENCH_ARGS are options of one COMMAND" in refused.stderr
