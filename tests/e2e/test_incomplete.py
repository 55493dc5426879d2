"""Reports of runs that lost what they count with: each says what is missing, as a number or as unknown."""

import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.bench.throughput import Trial, check_account
from ixyfwd.errors import IxyfwdError
from ixyfwd.model.client import ModelClient
from ixyfwd.supervisor.places import runtime_dir
from tests.testing.support import (
    IXYFWD,
    Instance,
    assert_captured_sum,
    assert_forwarded_sum,
    assert_generated_sum,
    config_text,
    descendants,
    eventually,
    report_of,
    write_config,
)

WIRE = '{ kind = "generator", rate = 10_000 }'
UNREAD = "could not be read at the end"
SINGLE = {
    "generate": ["generate", "sim:p0", "--rate", "10000"],
    "capture": ["capture", "sim:p0"],
}


def started(instance: Instance, tmp_path: Path, *more: str, wires: tuple[str, str] = (WIRE, WIRE)) -> Any:
    config = write_config(tmp_path / "config.toml", config_text(list(wires), cpu="workers = 1"))
    process = instance.start("-c", config, *more)
    eventually(lambda: instance.status()["tx_packets"] > 100, "frames flow")
    return process


def ended(process: "subprocess.Popen[str]") -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    return out, err


def assert_incomplete(report: dict[str, Any], ports: str) -> None:
    assert report["in_flight"] is None and report["uncounted"] is None
    assert report["incomplete"].startswith(ports)
    assert " s old, and what went through since then is not among them" in report["incomplete"]


def test_a_model_that_died_leaves_a_report_that_says_what_is_unknown(instance: Instance, tmp_path: Path) -> None:
    process = started(instance, tmp_path, "--json")
    os.kill(instance.status()["model_process"]["pid"], signal.SIGKILL)
    report = report_of(ended(process)[0])
    assert_incomplete(report, f"ports p0 and p1 {UNREAD}")
    assert report["incomplete"].endswith("the wires and the faults that the model knows of could not be asked for")
    assert report["faults"] is None and report["sink"] is None
    assert [port["name"] for port in report["ports"]] == ["p0", "p1"]
    for port in report["ports"]:
        assert port["rx_packets"] > 0
        assert not port["link"]["up"] and port["link"]["reason"]
    with pytest.raises(IxyfwdError, match="the account is incomplete: ports p0 and p1"):
        check_account(report, Trial("native", "fused", "xconnect", 64, 512, 64, 64, 1))


def test_the_text_says_it_too(instance: Instance, tmp_path: Path) -> None:
    process = started(instance, tmp_path)
    os.kill(instance.status()["model_process"]["pid"], signal.SIGKILL)
    out, _ = ended(process)
    assert f"\nincomplete: ports p0 and p1 {UNREAD}: their counters are " in out
    assert "\n  in flight       -\n" in out


def test_a_port_that_left_the_bus_takes_only_its_own_counts_with_it(instance: Instance, tmp_path: Path) -> None:
    process = started(instance, tmp_path, "--json")
    with closing(ModelClient(str(runtime_dir(instance.name) / "model.sock"))) as model:
        model.inject("p1", "device-gone", {})
    report = report_of(ended(process)[0])
    assert_incomplete(report, f"port p1 {UNREAD}: its counters")
    assert "asked for" not in report["incomplete"]
    assert report["faults"] == 0
    assert report["sink"]["received"] > 0
    first, second = report["ports"]
    assert first["link"]["up"] and not second["link"]["up"]
    assert "left the bus" in second["link"]["reason"]
    # The port that answers was read to the end: no frame of its wire is missing.
    assert first["rx_packets"] == first["wire"]["totals"]["in"]


@pytest.mark.parametrize("command", SINGLE)
def test_an_end_of_the_traffic_says_it_too(instance: Instance, command: str) -> None:
    process = subprocess.Popen(
        [*IXYFWD, *SINGLE[command], "--json", "--instance", instance.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: (instance.running() or {}).get("uptime_s"), "it runs", 60)
        os.kill(instance.status()["model_process"]["pid"], signal.SIGKILL)
        report = report_of(ended(process)[0])
    finally:
        for child in descendants(process.pid) if process.poll() is None else ():
            child.kill()
        process.kill()
    assert_incomplete(report, f"port p0 {UNREAD}: its counters")
    assert report["faults"] is None


@pytest.mark.parametrize("command", SINGLE)
def test_a_worker_that_died_leaves_a_sum_that_closes(instance: Instance, command: str) -> None:
    process = subprocess.Popen(
        [*IXYFWD, *SINGLE[command], "--json", "--instance", instance.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: (instance.running() or {}).get("uptime_s"), "it runs", 60)
    os.kill(instance.status()["workers"][0]["pid"], signal.SIGKILL)
    report = report_of(ended(process)[0])
    (assert_captured_sum if command == "capture" else assert_generated_sum)(report)


def test_lost_is_shown_only_where_something_checks(instance: Instance, tmp_path: Path) -> None:
    """The generator of p0 sends to a wire without a sink, and the sink of p0 is sent nothing."""
    process = started(instance, tmp_path, wires=(WIRE, '{ kind = "none" }'))
    assert instance.status()["sink"]["lost"] is None
    answer = instance.command("stop", "--json")
    report = report_of(answer.stdout)
    assert_forwarded_sum(report)
    assert report["sink"]["sent"] > 0 and report["sink"]["lost"] is None
    out, _ = process.communicate(timeout=60)
    assert "lost 0" not in out
    (row,) = [line.split() for line in out.splitlines() if line.split()[:1] == [f"{report['sink']['sent']:,}"]]
    assert row == [f"{report['sink']['sent']:,}", "0", "-", "0", "0", "0"]


def test_one_checked_direction_of_two_counts_alone(instance: Instance, tmp_path: Path) -> None:
    """Both sides have sinks, but one of them only listens."""
    silent = '{ kind = "generator", count = 1 }'
    process = started(instance, tmp_path, "--json", wires=(WIRE, silent))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    report = report_of(out)
    assert report["sink"]["lost"] == sum(report["drops"].values()) + report["in_flight"]


def test_frames_and_bytes_of_a_port_count_the_same_frames(instance: Instance, tmp_path: Path) -> None:
    """Also of a port whose ring overflows: what is dropped for want of a descriptor has no bytes."""
    process = started(instance, tmp_path, "--json", wires=('{ kind = "generator", rate = 1_000_000 }', WIRE))
    os.kill(instance.status()["workers"][0]["pid"], signal.SIGSTOP)
    eventually(lambda: instance.status()["drops"]["rx_no_descriptor"] > 1000, "a ring overflows")
    for port in instance.status()["ports"]:
        assert port["rx_packets"] == port["rx_delivered"] + port["rx_no_descriptor"] + port["rx_missed"]
        assert port["rx_bytes"] == 60 * port["rx_delivered"]
        assert port["tx_bytes"] == 60 * port["tx_packets"]
    os.kill(instance.status()["workers"][0]["pid"], signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
