"""Drops that are the machine's and drops that are the forwarder's: told apart by real runs that lose frames."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ixyfwd.cli.loss import loss_rows
from ixyfwd.memory.layout import SMALLEST_FRAME_PS
from ixyfwd.telemetry.plain import from_plain
from ixyfwd.telemetry.snapshot import Report
from tests.testing.support import (
    Instance,
    assert_exact,
    busy_with,
    config_text,
    start_for_report,
    terminated_for_report,
    worker_pids,
    write_config,
)

pytestmark = pytest.mark.alone

GENERATOR = '{ kind = "generator" }'
RING = 512
STOPS = 12
STOP_S = 0.05
TOO_FEW_CPUS = len(os.sched_getaffinity(0)) < 2


def lost(report: dict[str, Any]) -> int:
    return int(report["drops"]["rx_no_descriptor"] + report["drops"]["tx_full"])


def unlimited_estimate(report: dict[str, Any]) -> float:
    """What `drops_in_pauses` would be if it were not at most what was dropped; of the only worker."""
    (worker,) = report["workers"]
    ring_s = RING * SMALLEST_FRAME_PS / 1e12
    overrun_s = worker["paused_share"] * report["uptime_s"] - worker["pauses"] * ring_s
    return float(report["rx_packets"] / report["uptime_s"] * overrun_s)


def config_of(tmp_path: Path, forward: str = "", wire: str = GENERATOR) -> str:
    return write_config(tmp_path / "config.toml", config_text([wire, wire], forward=forward, cpu="workers = 1"))


@pytest.mark.slow
@pytest.mark.skipif(TOO_FEW_CPUS, reason="with one CPU worker and model share it, and no pauses are counted")
@pytest.mark.parametrize("forward", ['loop = "fused"', 'loop = "python"', 'engine = "vector"'])
def test_frames_that_a_stopped_worker_loses_fell_into_pauses(tmp_path: Path, instance: Instance, forward: str) -> None:
    """The model goes on at line rate while the worker is stopped for a thousand rings' time."""
    process = instance.start("--json", "-c", config_of(tmp_path, forward))
    (pid,) = worker_pids(instance.status())
    worker = psutil.Process(pid)
    for _ in range(STOPS):
        worker.send_signal(signal.SIGSTOP)
        time.sleep(STOP_S)
        worker.send_signal(signal.SIGCONT)
        time.sleep(2 * STOP_S)
    report = terminated_for_report(process)
    (row,) = report["workers"]
    assert row["pauses"] >= STOPS
    assert row["longest_pause_us"] >= STOP_S * 1e6
    assert row["paused_share"] * report["uptime_s"] >= STOPS * STOP_S
    assert lost(report) > 0
    assert 0 < report["drops_in_pauses"] <= lost(report)
    if "vector" not in forward:  # an engine that is too slow at line rate loses as much without any pause
        assert report["drops_in_pauses"] > 0.5 * lost(report)
        assert 0.5 < unlimited_estimate(report) / lost(report) < 2


@pytest.mark.slow
@pytest.mark.skipif(TOO_FEW_CPUS, reason="with one CPU worker and model share it, and no pauses are counted")
def test_a_busy_process_on_the_workers_cpu_explains_the_loss(tmp_path: Path, instance: Instance) -> None:
    process = instance.start("--json", "-c", config_of(tmp_path))
    with busy_with(instance.status()["workers"][0]["cpu"]):
        time.sleep(2)
        status = instance.status()
    report = terminated_for_report(process)
    for found in (status, report):
        (row,) = found["workers"]
        assert row["run_delay_share"] > 0.1
        assert row["paused_share"] > 0.1
        assert found["drops_in_pauses"] > 0.5 * lost(found) > 0
    assert 0.5 < unlimited_estimate(report) / lost(report) < 2
    text = " ".join(line for _, line in loss_rows(from_plain(Report, report), 56))
    assert "behind other processes" in text and "`ixyfwd doctor --measure`" in text
    assert "was busy" not in text


@pytest.mark.slow
@pytest.mark.skipif(TOO_FEW_CPUS, reason="with one CPU worker and model share it, and no pauses are counted")
def test_what_a_slow_engine_loses_is_not_put_down_to_pauses(tmp_path: Path, instance: Instance) -> None:
    """At line rate it loses nearly all; only while the CPU was really away that may have been for a pause."""
    report = start_for_report("-c", config_of(tmp_path, 'engine = "naive"'), "--duration", "2", instance=instance.name)
    assert_exact(report)
    (row,) = report["workers"]
    assert lost(report) > 0.5 * report["rx_packets"]
    away = row["run_delay_share"] + row["steal_share"]
    assert report["drops_in_pauses"] / lost(report) < away + 0.2


def test_where_nothing_is_lost_nothing_fell_into_pauses(tmp_path: Path, instance: Instance) -> None:
    path = config_of(tmp_path, wire='{ kind = "generator", rate = "max", count = 20_000 }')
    report = start_for_report("-c", path, "--until-done", instance=instance.name)
    assert lost(report) == 0
    assert report["drops_in_pauses"] in (0, None)


def test_workers_that_share_a_cpu_count_no_pauses(tmp_path: Path, instance: Instance) -> None:
    cpu = f"workers = {2 * len(os.sched_getaffinity(0))}"
    path = write_config(tmp_path / "config.toml", config_text([GENERATOR, GENERATOR], cpu=cpu))
    report = start_for_report("-c", path, "--duration", "0.5", instance=instance.name)
    assert report["drops_in_pauses"] is None
    for row in report["workers"]:
        assert (row["pauses"], row["longest_pause_us"], row["paused_share"]) == (None, None, None)
