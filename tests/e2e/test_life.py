"""Starts, stops and deaths of the real processes; nothing may be left behind."""

import os
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from ixyfwd.model.client import ModelClient
from ixyfwd.supervisor.places import runtime_dir
from tests.testing.support import (
    HUGEPAGES,
    IXYFWD,
    Instance,
    assert_exact,
    assert_forwarded_sum,
    config_text,
    descendants,
    eventually,
    report_of,
    run,
    start_for_report,
    worker_pids,
    write_config,
)

SLOW_WIRE = '{ kind = "generator", rate = 10_000 }'


@pytest.fixture
def config(tmp_path: Path) -> str:
    return write_config(tmp_path / "config.toml", config_text([SLOW_WIRE, SLOW_WIRE], cpu="workers = 2"))


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def assert_nothing_left(instance: Instance, pids: list[int]) -> None:
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), "all processes are gone")
    assert not list(runtime_dir(instance.name).glob("*.sock"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_in_order(instance: Instance, config: str, number: signal.Signals) -> None:
    process = instance.start("-c", config, "--json")
    pids = [child.pid for child in descendants(process.pid)]
    assert len(pids) == 3  # two workers and the model
    process.send_signal(number)
    code, out, _ = finish(process)
    assert code == 0
    report = report_of(out)
    assert_exact(report)
    assert report["reason"] == f"{number.name} received"
    assert_nothing_left(instance, pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_still_drains(instance: Instance, config: str, number: signal.Signals) -> None:
    """As Ctrl-C, `timeout` or a service manager, and a closed terminal send them."""
    process = instance.start("-c", config, "--json", start_new_session=True)
    os.killpg(process.pid, number)
    code, out, _ = finish(process)
    assert code == 0
    assert_exact(report_of(out))


def test_stop_command_waits_for_the_end(instance: Instance, config: str) -> None:
    process = instance.start("-c", config, "--json")
    stopped = instance.command("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert finish(process)[0] == 0
    again = instance.command("stop")
    assert again.returncode == 1
    assert "is running" in again.stderr


def test_read_commands(instance: Instance, config: str) -> None:
    instance.start("-c", config)
    for command in ("status", "stats", "ports", "workers"):
        for arguments in ([command], [command, "--json"]):
            answer = instance.command(*arguments)
            assert answer.returncode == 0, answer.stderr
            assert answer.stdout.strip()
    status = instance.status()
    assert status["state"] == "running"
    assert len(status["workers"]) == 2
    assert len(set(worker_pids(status))) == 2
    assert all(worker["state"] == "ready" for worker in status["workers"])


def test_workers_are_pinned_and_quiet(instance: Instance, config: str) -> None:
    instance.start("-c", config)
    for worker in instance.status()["workers"]:
        assert psutil.Process(worker["pid"]).cpu_affinity() == [worker["cpu"]]
        assert psutil.Process(worker["pid"]).num_threads() == 1


def test_second_start_is_refused(instance: Instance, config: str) -> None:
    first = instance.start("-c", config)
    second = run(*IXYFWD, "start", "-c", config, "--instance", instance.name)
    assert second.returncode == 3
    assert "already running" in second.stderr
    assert "Traceback" not in second.stderr
    assert instance.running() is not None
    first.send_signal(signal.SIGTERM)
    assert finish(first)[0] == 0


def test_two_instances_side_by_side(instance: Instance, config: str) -> None:
    other = Instance(instance.name + "b")
    try:
        instance.start("-c", config)
        other.start("-c", config)
        assert instance.status()["instance"] != other.status()["instance"]
    finally:
        other.clean_up()


def test_without_restarts_a_killed_worker_is_reported_and_everything_stops(instance: Instance, config: str) -> None:
    with open(config, "a") as file:
        file.write("[recovery]\nrestarts = 0\n")
    process = instance.start("-c", config, "--json")
    pids = [child.pid for child in descendants(process.pid)]
    victim = instance.status()["workers"][1]["pid"]
    os.kill(victim, signal.SIGKILL)
    code, out, err = finish(process)
    assert code == 1
    assert f"worker 1 (pid {victim}) was killed by SIGKILL" in err
    assert "Traceback" not in err
    report = report_of(out)
    assert report["error"].startswith("worker 1")
    assert_forwarded_sum(report)
    assert_nothing_left(instance, pids)


def test_a_worker_that_lost_its_doorbells_is_told_as_a_lost_port(instance: Instance, config: str) -> None:
    """The model's doorbell pages stay when its port leaves the bus; a kernel's do not, and the touch is a SIGBUS."""
    process = instance.start("-c", config, "--json")
    victim = instance.status()["workers"][0]["pid"]
    os.kill(process.pid, signal.SIGSTOP)  # so that the death is the first that the supervisor hears of
    with closing(ModelClient(str(runtime_dir(instance.name) / "model.sock"))) as model:
        model.inject("p1", "device-gone", {})
    os.kill(victim, signal.SIGBUS)
    os.kill(process.pid, signal.SIGCONT)
    code, out, err = finish(process)
    assert code == 1 and "Traceback" not in err
    error = report_of(out)["error"]
    assert error.startswith("port p1 (") and "the device has left the bus" in error
    assert error.endswith(f"; worker 0 (pid {victim}) was killed by SIGBUS at its doorbell")


def test_memory_that_was_taken_away_while_all_ports_answer_is_named(instance: Instance, config: str) -> None:
    with open(config, "a") as file:
        file.write("[recovery]\nrestarts = 0\n")
    process = instance.start("-c", config, "--json")
    victim = instance.status()["workers"][0]["pid"]
    os.kill(victim, signal.SIGBUS)
    code, out, _ = finish(process)
    assert code == 1
    error = report_of(out)["error"]
    assert error.startswith(f"worker 0 (pid {victim}) was killed by SIGBUS: memory that it had mapped was taken away")


def test_a_killed_model_is_reported_and_everything_stops(instance: Instance, config: str) -> None:
    process = instance.start("-c", config, "--json")
    workers = set(worker_pids(instance.status()))
    pids = [child.pid for child in descendants(process.pid)]
    (model,) = set(pids) - workers
    os.kill(model, signal.SIGKILL)
    code, _, err = finish(process)
    assert code == 1
    assert f"the model (pid {model}) was killed by SIGKILL" in err
    assert "Traceback" not in err
    assert_nothing_left(instance, pids)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["model", "worker"])
def test_a_process_that_hangs_does_not_hang_the_stop(instance: Instance, config: str, victim: str) -> None:
    process = instance.start("-c", config, "--json")
    workers = worker_pids(instance.status())
    pids = [child.pid for child in descendants(process.pid)]
    (model,) = set(pids) - set(workers)
    os.kill(model if victim == "model" else workers[0], signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    code, out, err = finish(process)
    assert code == 1
    said = "did not drain its rings" if victim == "worker" else "no answer"
    report = report_of(out)
    assert said in report["error"]
    if victim == "worker":
        assert_forwarded_sum(report)
    assert "Traceback" not in err
    assert_nothing_left(instance, pids)


@pytest.mark.root
def test_a_killed_supervisor_leaves_no_process_and_no_hugepage(
    instance: Instance, tmp_path: Path, hugepages: int
) -> None:
    from ixyfwd.memory.hugepages import hugepages_free

    text = config_text([SLOW_WIRE, SLOW_WIRE], cpu="workers = 2", more='[memory]\nbacking = "hugepages"')
    config = write_config(tmp_path / "config.toml", text)
    process = instance.start("-c", config)
    assert hugepages_free() < hugepages
    pids = [child.pid for child in descendants(process.pid)]
    process.kill()
    process.wait()
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), "workers and model died with it")
    eventually(lambda: hugepages_free() >= hugepages, "the hugepages came back")
    report = start_for_report("-c", config, "--duration", "0.3", instance=instance.name)
    assert_exact(report)
    eventually(lambda: hugepages_free() >= hugepages, "the hugepages came back again")


@pytest.mark.root
@pytest.mark.parametrize("ending", ["duration", "worker", "model"])
def test_hugepages_come_back_however_it_ends(instance: Instance, tmp_path: Path, hugepages: int, ending: str) -> None:
    from ixyfwd.memory.hugepages import hugepages_free

    text = config_text([SLOW_WIRE, SLOW_WIRE], cpu="workers = 1", more='[memory]\nbacking = "hugepages"')
    process = instance.start("-c", write_config(tmp_path / "config.toml", text), "--duration", "3", "--json")
    if ending != "duration":
        workers = set(worker_pids(instance.status()))
        (model,) = {child.pid for child in descendants(process.pid)} - workers
        os.kill(model if ending == "model" else workers.pop(), signal.SIGKILL)
    assert finish(process)[0] == (1 if ending == "model" else 0)  # a worker is started again
    eventually(lambda: hugepages_free() >= hugepages, "the hugepages came back")


@pytest.mark.root
def test_too_few_hugepages(instance: Instance, tmp_path: Path) -> None:
    before = HUGEPAGES.read_text()
    text = config_text([SLOW_WIRE, SLOW_WIRE], more='[memory]\nbacking = "hugepages"')
    config = write_config(tmp_path / "config.toml", text)
    HUGEPAGES.write_text("1")
    try:
        failed = run(*IXYFWD, "start", "-c", config, "--instance", instance.name)
    finally:
        HUGEPAGES.write_text(before)
    assert failed.returncode == 1
    assert "hugepages" in failed.stderr
    assert "nr_hugepages" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(runtime_dir(instance.name).glob("*.sock"))


def test_link_changes_while_it_runs(instance: Instance, tmp_path: Path) -> None:
    """Link down: nothing is sent, what cannot leave is counted; link up: frames flow again, and the sum closes."""
    from ixyfwd.model.client import ModelClient

    config = write_config(tmp_path / "config.toml", config_text([SLOW_WIRE, SLOW_WIRE], cpu="workers = 1"))
    process = instance.start("-c", config, "--json")
    model = ModelClient(str(runtime_dir(instance.name) / "model.sock"))
    try:
        model.set_link("p1", False)
        eventually(lambda: not instance.status()["ports"][1]["link"]["up"], "the driver sees the link go")
        time.sleep(1.1)  # at least one tick of the supervisor
        model.set_link("p1", True)
        eventually(lambda: instance.status()["ports"][1]["link"]["up"], "the driver sees the link come")
        before = instance.status()["tx_packets"]
        eventually(lambda: instance.status()["tx_packets"] > before, "frames flow again")
        time.sleep(1.1)
    finally:
        model.close()
    process.send_signal(signal.SIGTERM)
    code, out, err = finish(process)
    report = report_of(out)
    assert code == 0, report["error"]
    assert "port p1: link down" in err
    assert "port p1: link up" in err
    assert report["faults"] == 0
    assert_forwarded_sum(report)


def test_a_stop_without_a_link_is_orderly_too(instance: Instance, tmp_path: Path) -> None:
    """What waits for a link that does not come back is in flight, not lost from the account, and no failure."""
    from ixyfwd.model.client import ModelClient

    config = write_config(tmp_path / "config.toml", config_text([SLOW_WIRE, SLOW_WIRE], cpu="workers = 1"))
    process = instance.start("-c", config, "--json")
    model = ModelClient(str(runtime_dir(instance.name) / "model.sock"))
    model.set_link("p1", False)
    eventually(lambda: instance.status()["drops"]["tx_full"] > 0, "the ring of the port without a link is full")
    process.send_signal(signal.SIGTERM)
    code, out, err = finish(process)
    model.close()
    report = report_of(out)
    assert code == 0, err
    assert report["in_flight"] > 400
    assert any("p1 has no link" in notice for notice in report["notices"])
    assert_exact(report)


def test_a_busy_device_socket_is_refused(instance: Instance, config: str, tmp_path: Path) -> None:
    """A vfio-user device that already serves somebody: in use, hands off."""
    instance.start("-c", config)
    busy = runtime_dir(instance.name)
    other = write_config(
        tmp_path / "other.toml",
        f'[[port]]\nname = "x"\ndevice = "vfio-user:{busy}/p0.sock"\n'
        f'[[port]]\nname = "y"\ndevice = "vfio-user:{busy}/p1.sock"\n[[link]]\nports = ["x", "y"]\n',
    )
    second = run(*IXYFWD, "start", "-c", other, "--instance", instance.name + "b")
    assert second.returncode == 3, second.stderr
    assert "in use" in second.stderr
    assert "Traceback" not in second.stderr
    assert instance.running() is not None


def test_a_socket_without_a_listener(instance: Instance, tmp_path: Path) -> None:
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(dead))
    config = write_config(
        tmp_path / "config.toml",
        f'[[port]]\nname = "x"\ndevice = "vfio-user:{dead}"\n[[port]]\nname = "y"\ndevice = "vfio-user:{dead}2"\n'
        '[[link]]\nports = ["x", "y"]\n',
    )
    failed = run(*IXYFWD, "start", "-c", config, "--instance", instance.name)
    assert failed.returncode in (1, 2)
    assert str(dead) in failed.stderr
    assert "Traceback" not in failed.stderr


UNPRIVILEGED = ("unshare", "--user", "--map-user", "1000", "--map-group", "1000")


def test_as_an_ordinary_user(instance: Instance) -> None:
    """Without privileges: simulated ports in ordinary pages, what is missing is said, nothing fails.

    A user namespace of its own takes all privileges away, whoever runs the test.
    """
    if run(*UNPRIVILEGED, "true").returncode != 0:
        pytest.skip("user namespaces are not available here")
    done = run(
        *UNPRIVILEGED,
        *IXYFWD,
        "start",
        "--json",
        "--duration",
        "0.5",
        "--instance",
        instance.name,
    )
    assert done.returncode == 0, done.stderr
    assert_exact(report_of(done.stdout))


def test_a_tap_without_permission(instance: Instance, tmp_path: Path) -> None:
    if run(*UNPRIVILEGED, "true").returncode != 0:
        pytest.skip("user namespaces are not available here")
    config = write_config(
        tmp_path / "config.toml", config_text(['{ kind = "tap", interface = "ixt0" }', '{ kind = "none" }'])
    )
    failed = run(
        *UNPRIVILEGED,
        *IXYFWD,
        "start",
        "-c",
        config,
        "--instance",
        instance.name,
    )
    assert failed.returncode == 1, failed.stderr
    assert "ixt0" in failed.stderr
    assert "Traceback" not in failed.stderr
