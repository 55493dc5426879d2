"""Deaths of workers in real runs: the run goes on, the flows come back, and every frame is accounted for."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.testing.fake_nic import EVERY_ENGINE
from tests.testing.support import (
    IXYFWD,
    Instance,
    assert_sums,
    config_text,
    eventually,
    report_of,
    worker_pids,
    write_config,
)

WIRE = '{ kind = "generator", rate = 20_000, flows = 64 }'
JUMBO = '{ kind = "generator", rate = 5_000, flows = 64, frame = [64, 9018] }'
END_S = 60


def start(
    instance: Instance, folder: Path, *, workers: int = 2, wire: str = WIRE, forward: str = "", more: str = ""
) -> "subprocess.Popen[str]":
    text = config_text([wire, wire], cpu=f"workers = {workers}\nshare = true", forward=forward, more=more)
    process = instance.start("-c", write_config(folder / "config.toml", text), "--json")
    eventually(lambda: all(row["rx_packets"] for row in instance.status()["workers"]), "every worker has frames")
    return process


def row(instance: Instance, worker: int) -> dict[str, Any]:
    found: dict[str, Any] = instance.status()["workers"][worker]
    return found


def is_back(instance: Instance, worker: int, restarts: int) -> Callable[[], bool]:
    """Whether it takes frames again after so many restarts."""

    def found() -> bool:
        now = row(instance, worker)
        return bool(now["restarts"] == restarts and now["state"] == "ready")

    return found


def kill(instance: Instance, worker: int, number: signal.Signals = signal.SIGKILL) -> int:
    pid = worker_pids(instance.status())[worker]
    os.kill(pid, number)
    return pid


def kill_and_await(instance: Instance, worker: int, restarts: int = 1) -> None:
    """And frames through it again."""
    kill(instance, worker)
    eventually(is_back(instance, worker, restarts), "it is back")
    before = row(instance, worker)["rx_packets"]
    eventually(lambda: row(instance, worker)["rx_packets"] > before, "its flows are back")


def end(instance: Instance, process: "subprocess.Popen[str]", code: int = 0, *, others: bool = True) -> dict[str, Any]:
    """The final report, whose sums close and which has no fault of the driver; `others`: some worker always polled."""
    instance.command("stop")
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == code, err
    assert "Traceback" not in err
    report = report_of(out)
    assert_sums(report)
    assert report["faults"] == 0, [port["faults"] for port in report["ports"]]
    assert sum(worker["lost"] for worker in report["workers"]) == report["drops"]["worker_died"]
    check_by_the_sinks(report, others)
    return report


def check_by_the_sinks(report: dict[str, Any], others: bool) -> None:
    """What did not come back was dropped under a cause, and nothing was changed, doubled or late.

    While there is no other worker to take the entries of the redirection table, frames
    also arrive in the moment in which the queue is disabled, and the chip discards
    those without counting them for a queue (82599 datasheet 4.6.7.1).
    """
    sink = report["sink"]
    assert sink["corrupted"] == sink["foreign"] == sink["duplicated"] == 0
    discarded = sink["lost"] - sum(report["drops"].values()) - report["in_flight"]
    assert discarded == 0 or (discarded > 0 and not others)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS])
def test_a_worker_that_dies_is_started_again(instance: Instance, tmp_path: Path, number: signal.Signals) -> None:
    process = start(instance, tmp_path)
    pid = kill(instance, 1, number)
    eventually(is_back(instance, 1, 1), "it is back")
    found = row(instance, 1)
    assert found["pid"] != pid
    assert found["last_death"] == f"worker 1 (pid {pid}) was killed by {number.name}"
    report = end(instance, process)
    assert [worker["restarts"] for worker in report["workers"]] == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("engine", EVERY_ENGINE)
@pytest.mark.parametrize("loop", ["fused", "python"])
def test_every_engine_goes_on_where_a_dead_process_was(
    instance: Instance, tmp_path: Path, engine: str, loop: str
) -> None:
    if engine != "native" and loop == "fused":
        loop = "auto"
    wire = WIRE if engine == "native" else '{ kind = "generator", rate = 2_000, flows = 64 }'
    process = start(instance, tmp_path, wire=wire, forward=f'engine = "{engine}"\nloop = "{loop}"')
    for restarts, worker in ((1, 0), (1, 1), (2, 0)):
        kill_and_await(instance, worker, restarts)
    end(instance, process)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "vector"])
def test_frames_of_several_buffers(instance: Instance, tmp_path: Path, engine: str) -> None:
    process = start(instance, tmp_path, wire=JUMBO, forward=f'engine = "{engine}"\nmax_frame = 9018')
    kill_and_await(instance, 1)
    end(instance, process)


def test_workers_that_sleep_until_an_interrupt(instance: Instance, tmp_path: Path) -> None:
    process = start(instance, tmp_path, forward='idle = "interrupt"')
    kill_and_await(instance, 1)
    end(instance, process)


def test_the_only_worker(instance: Instance, tmp_path: Path) -> None:
    """Its queues drop and count while it is away."""
    process = start(instance, tmp_path, workers=1)
    kill_and_await(instance, 0)
    end(instance, process, others=False)


def test_all_workers_at_once(instance: Instance, tmp_path: Path) -> None:
    process = start(instance, tmp_path, workers=3)
    for pid in worker_pids(instance.status()):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(is_back(instance, worker, 1)() for worker in range(3)), "all are back")
    end(instance, process, others=False)


def test_programs_keep_their_sums(instance: Instance, tmp_path: Path) -> None:
    process = start(instance, tmp_path, forward='program = ["drop", "touch"]', more="[program.drop]\nevery = 3")
    kill_and_await(instance, 1)
    report = end(instance, process)
    assert report["programs"][0]["drops"]["every"] > 0


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_stop_at_that_very_moment(instance: Instance, tmp_path: Path, number: signal.Signals) -> None:
    process = start(instance, tmp_path)
    kill(instance, 1, number)
    report = end(instance, process, code=1 if number == signal.SIGSTOP else 0)
    if number == signal.SIGSTOP:
        assert "worker 1" in report["error"] and "did not drain its rings" in report["error"]


def test_a_worker_that_is_held_is_killed_and_started_again(instance: Instance, tmp_path: Path) -> None:
    process = start(instance, tmp_path, more="[recovery]\nheld_s = 1")
    kill(instance, 0, signal.SIGSTOP)
    eventually(is_back(instance, 0, 1), "it is back")
    end(instance, process)


def test_a_worker_that_dies_again_and_again_is_given_up(instance: Instance, tmp_path: Path) -> None:
    process = start(instance, tmp_path, more="[recovery]\nrestarts = 1")
    kill(instance, 1)
    eventually(is_back(instance, 1, 1), "it is back")
    kill(instance, 1)
    eventually(lambda: any("given up" in text for text in instance.status()["notices"]), "it is given up")
    before = row(instance, 0)["rx_packets"]
    eventually(lambda: row(instance, 0)["rx_packets"] > before + 1000, "the other goes on")
    assert row(instance, 1)["state"] == "dead"
    end(instance, process)


def test_the_run_ends_with_the_last_worker(instance: Instance, tmp_path: Path) -> None:
    process = start(instance, tmp_path, workers=1, more="[recovery]\nrestarts = 1")
    kill(instance, 0)
    eventually(is_back(instance, 0, 1), "it is back")
    kill(instance, 0)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 1
    report = report_of(out)
    assert "no other worker is left" in report["error"] and report["error"] in err
    assert_sums(report)


@pytest.mark.slow
def test_a_device_over_vfio_user(instance: Instance, tmp_path: Path) -> None:
    """The model of another run plays both ports."""
    sockets = [tmp_path / name for name in "ab"]
    ports = [f"--port={path.name}={path}" for path in sockets]
    wires = ["--wire=generator:rate=20000,flows=64"] * 2
    model = subprocess.Popen([*IXYFWD, "model", "--mmap", *ports, *wires])
    try:
        eventually(lambda: all(path.exists() for path in sockets), "the model listens")
        text = "".join(f'[[port]]\nname = "{p.name}"\ndevice = "vfio-user:{p}"\n' for p in sockets)
        text += '[[link]]\nports = ["a", "b"]\n[cpu]\nworkers = 2\nshare = true\n'
        process = instance.start("-c", write_config(tmp_path / "config.toml", text), "--json")
        eventually(lambda: all(one["rx_packets"] for one in instance.status()["workers"]), "every worker has frames")
        kill_and_await(instance, 1)
        instance.command("stop")
        out, err = process.communicate(timeout=END_S)
        assert process.returncode == 0, err
        assert_sums(report_of(out))
    finally:
        model.terminate()
        model.wait(END_S)
