"""idle = "interrupt" from end to end: workers sleep until the model's MSI-X messages wake them."""

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.testing.support import Instance, assert_exact, config_text, report_of, start_for_report, write_config

TRICKLE = '{ kind = "generator", rate = 1000, count = 1000, full = "wait" }'


def config_of(tmp_path: Path, wire: str, idle: str, cpu: str = "workers = 1", more: str = "") -> str:
    text = config_text([wire, wire], cpu=cpu, forward=f'idle = "{idle}"\n{more}')
    return write_config(tmp_path / f"{idle}.toml", text)


@pytest.mark.parametrize(
    ("cpu", "more"),
    [
        ("workers = 1", ""),
        ("workers = 4", 'engine = "vector"\ninterrupt_interval_us = 0'),
        ("workers = 16", "interrupt_interval_us = 1022"),
    ],
)
def test_every_frame_of_a_trickle_is_forwarded(tmp_path: Path, instance: Instance, cpu: str, more: str) -> None:
    config = config_of(tmp_path, TRICKLE, "interrupt", cpu, more)
    report = start_for_report("-c", config, "--until-done", instance=instance.name)
    assert_exact(report)
    assert report["tx_packets"] == 2000
    assert sum(report["drops"].values()) == 0
    for worker in report["workers"]:
        assert (worker["wakeups"] > 0) == (worker["rx_packets"] > 0), worker
        assert worker["wakeups"] <= worker["sleeps"]


def test_commands_and_heartbeats_while_nothing_comes(tmp_path: Path, instance: Instance) -> None:
    """A worker that sleeps is no worker that hangs."""
    process = instance.start("-c", config_of(tmp_path, '{ kind = "none" }', "interrupt", "workers = 2"), "--json")
    before = instance.status()["workers"]
    time.sleep(0.5)
    after = instance.status()["workers"]
    assert all(new["sleeps"] > old["sleeps"] for old, new in zip(before, after, strict=True))
    assert all(worker["state"] == "ready" for worker in after)
    stopped = instance.command("stop")
    assert stopped.returncode == 0, stopped.stderr
    report = report_of(process.communicate(timeout=30)[0])
    assert_exact(report)
    assert report["troubles"] == []


def cpu_share(tmp_path: Path, instance: Instance, idle: str) -> float:
    """Seconds of CPU that a worker takes per second of forwarding."""
    wire = TRICKLE.replace(", count = 1000", "")
    process = instance.start("-c", config_of(tmp_path, wire, idle), "--json")
    worker = psutil.Process(instance.status()["workers"][0]["pid"])

    def used() -> tuple[float, float]:
        times = worker.cpu_times()
        return times.user + times.system, time.monotonic()

    cpu, at = used()
    time.sleep(2)
    cpu_after, at_after = used()
    assert instance.command("stop").returncode == 0
    assert_exact(report_of(process.communicate(timeout=30)[0]))
    return (cpu_after - cpu) / (at_after - at)


@pytest.mark.alone
@pytest.mark.slow
def test_a_trickle_costs_little_of_the_cpu(tmp_path: Path, instance: Instance) -> None:
    """Even where the spinning worker cannot have a whole CPU."""
    assert 2 * cpu_share(tmp_path, instance, "interrupt") < cpu_share(tmp_path, instance, "spin")


@pytest.mark.alone
@pytest.mark.slow
def test_full_rate_is_polled(tmp_path: Path, instance: Instance) -> None:
    """The worker hardly ever sleeps, and the rate is of the same class: the model pays for the messages."""
    wire = '{ kind = "generator", rate = "max" }'
    reports: dict[str, dict[str, Any]] = {}
    for idle in ("adaptive", "interrupt"):
        path = config_of(tmp_path, wire, idle)
        reports[idle] = start_for_report("-c", path, "--duration", "2", instance=instance.name)
        assert_exact(reports[idle])
    worker = reports["interrupt"]["workers"][0]
    assert worker["wakeups"] * 1000 < worker["rx_packets"]
    assert 4 * reports["interrupt"]["tx_packets"] > reports["adaptive"]["tx_packets"]
