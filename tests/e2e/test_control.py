"""Real runs whose control sockets are besieged: the run goes on, `status` and `stop` answer, the account closes."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ixyfwd.supervisor.places import runtime_dir
from ixyfwd.supervisor.serve import STATUS_KEPT_S
from tests.testing.siege import Siege, connected
from tests.testing.support import Instance, assert_exact, config_text, eventually, report_of, write_config

SLOW_WIRE = '{ kind = "generator", rate = 10_000 }'
TICKS = 2
END_S = 120.0  # generous: a hang is the fault, not a slow machine


class Watched:
    """A run with `--json`; `ticks` are the lines that it writes about once a second."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        config = write_config(folder / "config.toml", config_text([SLOW_WIRE, SLOW_WIRE], cpu="workers = 1"))
        self.process = instance.start("-c", config, "--json")
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    @property
    def ticks(self) -> int:
        return len([line for line in self.lines if "Mpps" in line])

    def end(self) -> None:
        """It must end by itself, with an account that closes exactly."""
        assert self.process.stdout is not None
        code = self.process.wait(END_S)  # a report is a few KB, which the pipe takes
        out = self.process.stdout.read()
        self._reader.join(30)
        assert code == 0, out + "".join(self.lines)
        assert "Traceback" not in "".join(self.lines)
        report = report_of(out)
        assert_exact(report)
        assert report["reason"] == "stop command"
        assert report["tx_packets"] > 0


@pytest.fixture
def watched(instance: Instance, tmp_path: Path) -> Watched:
    return Watched(instance, tmp_path)


@pytest.mark.alone
@pytest.mark.parametrize("name", ["control", "model"])
def test_a_besieged_run_goes_on_and_stops_when_it_is_told(instance: Instance, watched: Watched, name: str) -> None:
    path = runtime_dir(instance.name) / f"{name}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Siege(str(path)) as siege:
        eventually(lambda: siege.rounds >= 1, "all misbehaved at once", timeout_s=120)
        before, sent = watched.ticks, instance.status()["tx_packets"]
        eventually(lambda: watched.ticks >= before + TICKS, "the supervisor's clock ticks on", timeout_s=60)
        assert instance.status()["tx_packets"] > sent, "frames flow on"
        stopped = instance.command("stop", "--json")
        assert stopped.returncode == 0, stopped.stderr
        assert report_of(stopped.stdout)["error"] is None
        watched.end()
    assert not path.exists()


def test_a_besieged_run_obeys_signals(instance: Instance, watched: Watched) -> None:
    with Siege(str(runtime_dir(instance.name) / "control.sock")) as siege:
        eventually(lambda: siege.rounds >= 1, "all misbehaved at once", timeout_s=120)
        watched.process.send_signal(signal.SIGTERM)
        assert watched.process.stdout is not None
        assert watched.process.wait(END_S) == 0
        report = report_of(watched.process.stdout.read())
    assert report["reason"] == "SIGTERM received"
    assert_exact(report)


@pytest.mark.parametrize("said", [b"", b'{"do": "sta', b'{"do": "status"}\n' * 20_000])
def test_a_socket_that_is_full_of_one_kind_has_a_place_for_stop(
    instance: Instance, watched: Watched, said: bytes
) -> None:
    path = str(runtime_dir(instance.name) / "control.sock")
    crowd: list[socket.socket] = []
    try:
        for _ in range(200):
            crowd.append(connected(path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # hung up on already
                crowd[-1].send(said)
        stopped = instance.command("stop", "--json")
        assert stopped.returncode == 0, stopped.stderr
        watched.end()
    finally:
        for client in crowd:
            client.close()


def test_a_crowd_that_asks_for_the_status_shares_one_for_a_tenth_of_a_second(
    instance: Instance, watched: Watched
) -> None:
    with connected(str(runtime_dir(instance.name) / "control.sock")) as client:
        client.settimeout(60)
        answers = client.makefile("rb")
        begun = time.monotonic()
        client.sendall(b'{"do": "status"}\n' * 100)
        told = {answers.readline() for _ in range(100)}
        assert len(told) <= (time.monotonic() - begun) / STATUS_KEPT_S + 2
        client.sendall(b'{"do": "status"}\n{"do": "inject", "port": "?", "kind": "?"}\n{"do": "status"}\n')
        before, _, after = (answers.readline() for _ in range(3))
        assert before != after, "an injection shows in the next status"
    instance.command("stop")
    watched.end()


def test_a_stopped_reader_of_stop_does_not_hold_the_end_up(instance: Instance, watched: Watched) -> None:
    """Who asked for the stop and never reads, and who asked and is gone, cost the others nothing."""
    path = str(runtime_dir(instance.name) / "control.sock")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(path)
        with socket.socket(socket.AF_UNIX) as gone:
            gone.connect(path)
            gone.sendall(b'{"do": "status"}\n{"do": "stop"}\n')
        deaf.sendall(b'{"do": "stop"}\n')
        watched.end()


def test_the_model_sends_away_nobody_it_needs(instance: Instance, watched: Watched) -> None:
    """The supervisor's own connection to the model is the one that is silent for longest while it is stopped."""
    path = str(runtime_dir(instance.name) / "model.sock")
    before = watched.ticks
    watched.process.send_signal(signal.SIGSTOP)
    crowd: list[socket.socket] = []
    try:
        for _ in range(130):
            crowd.append(connected(path))
            crowd[-1].settimeout(10)
            crowd[-1].sendall(b'{"do": "feeds_done"}\n')
            assert crowd[-1].recv(100) == b'{"feeds_done":false}\n'
        os.kill(watched.process.pid, signal.SIGCONT)
        eventually(lambda: watched.ticks > before + 1, "the supervisor reaches its model again")
        assert instance.command("stop").returncode == 0
        watched.end()
    finally:
        for client in crowd:
            client.close()


def test_who_asks_for_the_stop_while_it_goes_on_gets_the_report_too(instance: Instance, watched: Watched) -> None:
    path = str(runtime_dir(instance.name) / "control.sock")
    with connected(path) as first, connected(path) as second:
        for client in (first, second):
            client.settimeout(60)
            client.sendall(b'{"do": "status"}\n')
            assert report_of(client.makefile().readline())["state"] == "running"
        os.kill(watched.process.pid, signal.SIGSTOP)
        watched.process.send_signal(signal.SIGTERM)
        for client in (first, second):
            client.sendall(b'{"do": "stop"}\n')
        os.kill(watched.process.pid, signal.SIGCONT)
        reports = [report_of(client.makefile().readline()) for client in (first, second)]
    assert [report["state"] for report in reports] == ["stopped"] * 2
    assert reports[0] == reports[1]
    assert watched.process.wait(30) == 0


def test_status_and_stop_by_hand(instance: Instance, watched: Watched) -> None:
    """As a script would without ixyfwd: one line in, one line back, bad lines answered in between."""
    path = str(runtime_dir(instance.name) / "control.sock")
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as answers:
        client.settimeout(60)
        client.connect(path)
        client.sendall(b'nonsense\n{"do": "fly"}\n{"do": "status"}\n{"do": "stop"}\n')
        assert b"expected one JSON object on one line" in answers.readline()
        assert b"unknown command 'fly', expected one of status, stop, inject" in answers.readline()
        assert report_of(answers.readline().decode())["state"] == "running"
        assert report_of(answers.readline().decode())["state"] == "stopped"
    watched.end()


def test_a_client_learns_what_is_wrong_with_an_instance(instance: Instance, watched: Watched) -> None:
    watched.process.send_signal(signal.SIGSTOP)
    try:
        late = instance.command("stop", "--timeout", "0.5")
    finally:
        watched.process.send_signal(signal.SIGCONT)
    assert late.returncode == 1
    assert late.stderr == (
        f"ixyfwd: instance '{instance.name}' gave no answer to 'stop' within 0.5 s; "
        f"see what `ixyfwd start --instance {instance.name}` says\n"
    )
    watched.end()  # it was asked all the same
    gone: subprocess.CompletedProcess[str] = instance.command("status")
    assert gone.returncode == 1
    assert f"no ixyfwd instance '{instance.name}' is running (nothing listens at " in gone.stderr
