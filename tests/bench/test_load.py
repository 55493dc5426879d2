"""`bench latency`, `rfc2544` and `soak` on the model: what they print, what they refuse, how they end."""

import csv
import io
import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from ixyfwd.bench import rfc2544, soak
from ixyfwd.bench.cli_load import _trial, seconds
from ixyfwd.bench.loaded import Load, line_rate
from ixyfwd.bench.throughput import Trial
from ixyfwd.errors import IxyfwdError, UsageError
from tests.testing.bench_cases import bench, check_bench_schema
from tests.testing.support import IXYFWD, Instance, assert_forwarded_sum, descendants, run

PERCENTILES = ["p50", "p90", "p99", "p99_9", "p99_99", "p99_999", "max"]
TRIAL = Trial("native", "fused", "xconnect", 64, 512, 64, 64, 1)


@pytest.mark.alone
def test_latency_has_percentiles_by_direction_and_the_models_own_share(tmp_path: Path) -> None:
    rows, plot = tmp_path / "rows.csv", tmp_path / "plot.svg"
    found = bench(
        "latency", "--rate", "1e5", "--duration", "0.3", "--runs", "1", "--gc", "off,on", "--loop", "python",
        "--csv", str(rows), "--svg", str(plot),
    )  # fmt: skip
    check_bench_schema(found, "latency")
    assert [(row["gc"], row["idle"], row["loop"]) for row in found["rows"]] == [
        ("off", "spin", "python"),
        ("on", "spin", "python"),
    ]
    for row in found["rows"]:
        assert set(row["directions"]) == {"p0-p1", "p1-p0"}
        for spreads in (row["latency_us"], *row["directions"].values()):
            assert list(spreads) == PERCENTILES
            medians = [spreads[name]["median"] for name in PERCENTILES]
            assert medians == sorted(medians) and medians[0] > 0
        alone = list(row["model_alone_us"].values())
        assert alone == sorted(alone) and 0 < alone[0] < row["latency_us"]["p50"]["median"]
        machine = row["machine_alone_us"]
        assert list(machine) == PERCENTILES and list(machine.values()) == sorted(machine.values())
        assert row["sampled_every"] == 1 and row["rate_pps"] == 1e5
        # Those of the first second, which warms up, do not count.
        assert 0 < row["frames"] < 1.2 * 0.3 * 1e5 + 1000
    assert len(list(csv.DictReader(io.StringIO(rows.read_text())))) == 2
    assert plot.read_text().startswith("<?xml")


def report(sent: int, received: int, shortfall: int = 0) -> dict[str, Any]:
    return {
        "device": "model",
        "rate_mpps": 1.0,
        "sink": {"sent": sent, "received": received, "shortfall": shortfall},
        "workers": [{"rx_packets": 1, "busy_ns_per_packet": 10.0}],
    }


def forwarder(capacity: float, generator: float) -> Any:
    """A forwarder of that capacity, by a generator that is no faster than that; frames a second and direction."""

    def run_load(load: Load, duration_s: float | None, instance: str) -> dict[str, Any]:
        if duration_s is None:
            assert load.count is not None
            return report(load.count, load.count if load.count <= 5000 else load.count - 1)
        assert isinstance(load.rate, float)
        asked, able = round(2 * load.rate * duration_s), round(2 * generator * duration_s)
        sent = min(asked, able)
        return report(sent, min(sent, round(2 * capacity * duration_s)), asked - sent)

    return run_load


def test_ndr_pdr_and_bursts_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfc2544, "run_load", forwarder(4e6, 1e9))
    found = rfc2544.run([TRIAL], rfc2544.NORMAL, "spin", "x", lambda text: None)
    assert not found["problems"]
    ndr, pdr = found["rows"]
    assert (ndr["goal"], pdr["goal"]) == ("ndr", "pdr")
    assert 8 / 1.0051 <= ndr["load_mpps"] <= 8 < pdr["load_mpps"] <= 8 / 0.995
    assert ndr["loss_share"] == 0 < pdr["loss_share"] <= 0.005
    assert 5000 / 1.06 <= ndr["back_to_back_frames"] <= 5000
    assert ndr["limited_by"] is None


def test_a_generator_that_falls_behind_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfc2544, "run_load", forwarder(1e9, 5e6))
    found = rfc2544.run([TRIAL], rfc2544.QUICK, "spin", "x", lambda text: None)
    assert all(row["limited_by"] == "generator" and 9.7 <= row["load_mpps"] <= 10.3 for row in found["rows"])
    bench = rfc2544.LoadTester(TRIAL, "spin", "x", lambda text: None)
    with pytest.raises(IxyfwdError, match=r"the generators sent 50\.0% less than 10\.00 Mpps a direction"):
        bench.measure(1.0, 10e6)
    assert not bench.reports


def test_what_loses_at_any_rate_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfc2544, "run_load", forwarder(0, 1e9))
    found = rfc2544.run([TRIAL], rfc2544.QUICK, "spin", "x", lambda text: None)
    assert found["rows"] == []
    assert "more than 0.0% of the frames were lost even at 10000 a second" in found["problems"][0]


@pytest.mark.alone
@pytest.mark.slow
def test_rfc2544_on_the_model(instance: Instance) -> None:
    """Shorter than the quick one: what it finds says nothing, but it finds something."""
    effort = rfc2544.Effort((0.05, 0.1), 0.5, 1, 0.01, attempts=1)
    found = rfc2544.run([replace(TRIAL, frame=1518)], effort, "spin", instance.name, lambda text: None)
    check_bench_schema(found, "rfc2544")
    for row in found["rows"]:
        assert row["loss_share"] <= {"ndr": 0, "pdr": 0.005}[row["goal"]]
        assert row["load_mpps"] <= 2 * line_rate(1518) / 1e6 + 1e-3


@pytest.mark.alone
def test_soak_samples_and_adds_up(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    found = bench("soak", "--duration", "3s", "--csv", str(rows))
    check_bench_schema(found, "soak")
    assert len(found["rows"]) == len(list(csv.DictReader(io.StringIO(rows.read_text())))) >= 1
    final = found["summary"]["final"]
    assert_forwarded_sum(final)
    assert final["sink"]["lost"] == 0 and final["sink"]["touched"] == final["sink"]["received"] > 0
    assert {"supervisor", "model", "worker_0"} == set(found["rows"][-1]["memory_mib"])


def status(**changes: Any) -> dict[str, Any]:
    sink = {"sent": 1000, "received": 990, "lost": 0, "duplicated": 0, "reordered": 0, "corrupted": 0, "foreign": 0}
    plain = {
        "uptime_s": 7.0, "rx_packets": 1000, "tx_packets": 990, "drops": {"tx_full": 0}, "faults": 0,
        "rate_mpps": 0.0, "rate_rx_mpps": 0.0, "sink": sink, "workers": [{"index": 0, "pid": 9, "state": "ready"}],
    }  # fmt: skip
    return {**plain, **changes, "sink": {**sink, **changes.get("sink", {})}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rx_packets": 4000}, "4000 frames received, 990 sent, 0 dropped: 3010 are in flight"),
        ({"sink": {"duplicated": 2}}, "the sinks report duplicated 2"),
        ({"sink": {"received": 1001}}, "the sinks received 1001 frames, but only 1000 were sent"),
        ({"sink": {"lost": 1}}, "1 lost, though the wires wait"),
        ({"drops": {"tx_full": 5}}, "5 frames dropped"),
        ({"faults": 1}, "the model recorded 1 faults"),
    ],
)
def test_soak_tells_what_is_wrong_with_a_status(changes: dict[str, Any], words: str) -> None:
    soak.check_status(status(), 2048, True)
    with pytest.raises(IxyfwdError, match=words):
        soak.check_status(status(**changes), 2048, True)


def test_soak_tells_of_counters_workers_and_memory() -> None:
    with pytest.raises(IxyfwdError, match="tx_packets went back from 990 to 1"):
        soak.check_growing(status(), status(tx_packets=1))
    with pytest.raises(IxyfwdError, match=r"worker 0 \(pid 9\) is gone"):
        soak.check_growing(status(), status(workers=[{"index": 0, "pid": 9, "state": "dead"}]))
    soak.check_memory({"model": 20.0}, {"model": 27.0, "worker 0": 90.0})
    with pytest.raises(IxyfwdError, match=r"the model has grown from 20.0 to 29.0 MiB"):
        soak.check_memory({"model": 20.0}, {"model": 29.0})


def test_times() -> None:
    assert [seconds(text, "--duration") for text in ("30s", "10m", "8h", "5")] == [30, 600, 28800, 5]
    for text in ("", "s", "0s", "-1s", "nan", "1d", "inf"):
        with pytest.raises(UsageError, match="--duration"):
            seconds(text, "--duration")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["latency", "--rate", "fast"], "'fast' is not a number of frames per second"),
        (["latency", "--rate", "1e6", "--load", "50"], "give one of them"),
        (["latency", "--engine", "vector", "--loop", "fused"], "has no fused loop"),
        (["latency", "--batch", "512"], "does not fit a ring of 512"),
        (["latency", "--frame", "64,128"], "found 2 values, expected one"),
        (["latency", "--gc", "maybe"], "'maybe' is not one of off, on"),
        (["rfc2544", "--quick", "--full"], "give one of them"),
        (["rfc2544", "--frame", "63"], "'63' is not a whole number"),
        (["soak", "--duration", "soon"], "'soon' is not a time"),
    ],
)
def test_wrong_options_are_refused_with_a_sentence(arguments: list[str], words: str) -> None:
    done = run(*IXYFWD, "bench", *arguments)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_long_frames_are_measured_in_the_loop_that_takes_them() -> None:
    def loop(engine: str, wanted: str, frame: str) -> str:
        return _trial(engine, wanted, "xconnect", 64, 512, frame, 64, 1).loop

    assert [loop("native", "auto", frame) for frame in ("64", "imix", "9018")] == ["fused", "fused", "python"]
    assert loop("vector", "auto", "9018") == "python"
    for engine, wanted in (("native", "fused"), ("naive", "auto")):
        with pytest.raises(UsageError, match="9018 bytes fill several buffers"):
            loop(engine, wanted, "9018")


@pytest.mark.parametrize("command", ["latency", "rfc2544", "soak"])
def test_ctrl_c_ends_in_order_with_what_there_is(command: str) -> None:
    process = subprocess.Popen(
        [*IXYFWD, "bench", command, "--json", *(("--duration", "60s") if command == "soak" else ())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    children: list[psutil.Process] = []
    while len(children) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        children = descendants(process.pid)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1 and "Traceback" not in err
    assert "SIGINT received" in json.loads(out)["problems"][-1]
    assert not psutil.wait_procs(children, timeout=5)[1]
