"""Which instances live, what dead ones leave, and stopping: by name, all at once, several times at once."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.config.default import default_config
from ixyfwd.errors import IxyfwdError
from ixyfwd.supervisor import client
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.instances import living_instances, sweep_dead
from ixyfwd.supervisor.modelproc import ModelProcess
from ixyfwd.supervisor.observer import Silent
from ixyfwd.supervisor.run import run_forwarder
from ixyfwd.telemetry.snapshot import Snapshot
from tests.testing.support import IXYFWD, descendants, environment, eventually, last_object, report_of, run

END_S = 60.0
FOREIGN = "keep me"


def killed(name: str) -> None:
    """An instance whose process was killed with everything that it had in its directory."""
    pid = os.fork()
    if pid == 0:
        instance = Instance(name)
        instance.describe("start", "model", ["sim:p0"])
        instance.socket("control").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def test_any_start_sweeps_what_a_killed_one_left(runtime: Path) -> None:
    killed("a")
    assert sorted(path.name for path in (runtime / "a").iterdir()) == ["about.json", "control.sock", "lock"]
    Instance("b").close()
    assert list(runtime.iterdir()) == []


def test_only_what_is_provably_dead_is_swept(runtime: Path) -> None:
    living = Instance("living")
    kept = living.socket("control")
    kept.touch()
    (runtime / "empty").mkdir()  # as of a start that is about to take its lock, and will make it again
    (runtime / "device.lock").touch()
    (runtime / "foreign").mkdir()
    (runtime / "foreign" / "file").write_text(FOREIGN)
    (runtime / "link").symlink_to(runtime / "foreign")
    killed("dead")
    (runtime / "dead" / "notes").write_text(FOREIGN)
    assert sweep_dead(runtime) == ["dead"]
    assert kept.exists()
    assert sorted(path.name for path in runtime.iterdir()) == ["dead", "device.lock", "foreign", "link", "living"]
    assert [path.name for path in (runtime / "dead").iterdir()] == ["notes"]
    living.close()


def test_a_start_waits_for_one_that_sweeps_its_name(runtime: Path) -> None:
    """The lock of a killed owner may be held for a moment by another start; that is no reason to refuse."""
    killed("a")
    with open(runtime / "a" / "lock", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        timer = threading.Timer(0.1, lambda: fcntl.flock(file, fcntl.LOCK_UN))
        timer.start()
        Instance("a").close()
        timer.join()


def test_living_instances_say_what_they_are(runtime: Path) -> None:
    told, starting = Instance("told"), Instance("starting")
    told.describe("capture", "wire", ["0000:03:00.0"])
    killed("dead")
    first, second = living_instances()
    assert (first.name, first.pid, first.command, first.uptime_s) == ("starting", os.getpid(), None, None)
    assert (second.name, second.command, second.device, second.ports) == ("told", "capture", "wire", ("0000:03:00.0",))
    assert second.uptime_s is not None and second.uptime_s >= 0
    (runtime / "told" / "about.json").write_text("{")
    assert [one.command for one in living_instances()] == [None, None]
    told.close()
    starting.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Run-time directory of commands that are started with `alone(folder)`: theirs alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as found:
        yield Path(found)


def alone(folder: Path) -> list[str]:
    """Before a command: as in a mount namespace of its own /run is empty, no other instance is seen or stopped."""
    if os.geteuid() != 0:
        return ["env", f"XDG_RUNTIME_DIR={folder}"]
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {folder} /run && exec "$@"', "sh"]


@pytest.fixture
def together(folder: Path) -> Iterator["Together"]:
    found = Together(folder)
    yield found
    found.clean_up()


class Together:
    """Commands that share a run-time directory which no other command uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run(*alone(self.folder), *IXYFWD, *words)

    def launch(self, *words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*alone(self.folder), *IXYFWD, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self._started.append(process)
        return process

    def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.command("instances", "--json").stdout)["instances"]
        return found

    def clean_up(self) -> None:
        for process in self._started:
            if process.poll() is None:
                for child in descendants(process.pid):
                    child.kill()
                process.kill()
            process.communicate()


def test_instances_of_all_kinds_are_listed_and_stopped_at_once(together: Together) -> None:
    path = str(together.folder / "p0.sock")
    commands = {
        "start": together.launch("start", "--json", "--instance", "one"),
        "generate": together.launch("generate", "sim:p0", "--rate", "1000", "--json"),
        "capture": together.launch("capture", "sim:p0", "--json"),
        "model": together.launch("model", "--port", f"p0={path}", "--wire", "generator", "--json"),
    }
    eventually(lambda: {one["command"] for one in together.listed()} == set(commands), "all are listed", END_S)
    listed = {one["command"]: one for one in together.listed()}
    assert listed["start"]["name"] == "one"
    for command, process in commands.items():
        assert listed[command]["pid"] == process.pid
        assert listed[command]["device"] == "model"
        assert listed[command]["ports"] == {"model": [path], "start": ["sim:p0", "sim:p1"]}.get(command, ["sim:p0"])
        assert process.poll() is None
    table = together.command("instances").stdout
    assert table.startswith("4 instances run") and "one" in table
    answer = together.command("stop", "--all", "--json")
    assert answer.returncode == 0, answer.stderr
    stopped = json.loads(answer.stdout)["stopped"]
    assert {one["name"] for one in listed.values()} == set(stopped)
    for command, process in commands.items():
        out, err = process.communicate(timeout=END_S)
        assert process.returncode == 0, err
        assert report_of(out)["reason"] == "stop command"
        assert stopped[listed[command]["name"]] == last_object(out)  # the command's own report
    assert together.command("instances").stdout == "no instances run\n"
    assert together.command("stop", "--all").stdout == "no instances run\n"


def test_a_killed_run_is_not_listed_and_the_next_one_of_another_name_sweeps_it(together: Together) -> None:
    process = together.launch("start", "--instance", "killed")
    eventually(lambda: together.command("status", "--instance", "killed").returncode == 0, "it runs", END_S)
    process.kill()
    process.communicate()
    left = list(together.folder.rglob("killed"))
    assert left
    assert together.listed() == []
    done = together.command("start", "--duration", "0.2", "--instance", "other")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in left[0].iterdir()] == ["events"]


def test_two_stops_at_once_both_succeed(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The second one comes when the first one's run has stopped and is being taken down."""
    clients: list[socket.socket] = []

    def ask() -> None:
        sock = socket.socket(socket.AF_UNIX)
        request.addfinalizer(sock.close)
        sock.settimeout(END_S)
        sock.connect(str(runtime / "one" / "control.sock"))
        sock.sendall(b'{"do": "stop"}\n')
        clients.append(sock)

    class Asking(Silent):
        def started(self, status: Snapshot) -> None:
            ask()

    end = ModelProcess.end

    def ask_and_end(model: ModelProcess) -> None:
        ask()
        end(model)

    monkeypatch.setattr(ModelProcess, "end", ask_and_end)
    config = default_config(sorted(os.sched_getaffinity(0))).named("one")
    report = run_forwarder(config, duration_s=END_S, until_done=False, observer=Asking())
    assert len(clients) == 2
    for sock in clients:
        with sock.makefile() as file:
            assert json.loads(file.readline())["uptime_s"] == report.uptime_s
    assert living_instances() == []


def test_a_stop_of_a_run_that_is_about_to_start_stops_it(together: Together) -> None:
    process = together.launch("start", "--instance", "one", "--json")
    eventually(lambda: any(one["name"] == "one" for one in together.listed()), "it has its name", END_S)
    answer = together.command("stop", "--instance", "one", "--timeout", "60", "--json")
    assert answer.returncode == 0, answer.stderr
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 0, err
    assert report_of(out)["reason"] == "stop command"


def test_a_command_says_that_the_instance_is_about_to_start(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ixyfwd.supervisor.client.control_socket", lambda name: runtime / name / "control.sock")
    held = Instance("a")
    with pytest.raises(IxyfwdError, match=rf"instance 'a' \(pid {os.getpid()} .+\) is about to start or to end"):
        client.request("a", "status")
    with pytest.raises(IxyfwdError, match=r"neither listens nor ends within 0\.1 s"):
        client.stop("a", 0.1)
    timer = threading.Timer(0.1, held.close)
    timer.start()
    assert client.stop("a", 60) is None
    timer.join()
    with pytest.raises(IxyfwdError, match="no ixyfwd instance 'a' is running"):
        client.stop("a", 60)


def test_stop_takes_a_name_or_all(together: Together) -> None:
    answer = together.command("stop", "--all", "--instance", "x")
    assert answer.returncode == 2
    assert answer.stderr.startswith("ixyfwd: --all: found with --instance")
