"""Processes that do not go on: said in the status, in a notice and in the tables, until they do."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from ixyfwd.cli.render import totals_grid
from ixyfwd.supervisor.pulse import STUCK_LOOKS, Pulse
from ixyfwd.supervisor.state import held_sentence
from tests.testing.cli_samples import status
from tests.testing.support import (
    IXYFWD,
    Instance,
    assert_exact,
    config_text,
    descendants,
    eventually,
    report_of,
    terminated_for_report,
    write_config,
)

WIRE = '{ kind = "generator", rate = 2_000 }'
END_S = 60.0
FREEZERS = (Path("/sys/fs/cgroup/freezer"), Path("/sys/fs/cgroup"))


class Process:
    """What a pulse asks: a count and a state."""

    def __init__(self) -> None:
        self.count = 0
        self.state: str | None = "R"
        self.pulse = Pulse(1, lambda: self.count, lambda pid: self.state)

    def look(self, moved: bool = False) -> str | None:
        self.count += moved
        return self.pulse.look()


def test_a_process_that_moves_is_not_held_however_slowly() -> None:
    process = Process()
    for number in range(20):
        assert process.look(moved=number % STUCK_LOOKS == 0) is None
    process.state = "T"
    assert process.look(moved=True) is None  # it moved, and was stopped just now


def test_a_stopped_process_is_told_from_a_stuck_one() -> None:
    process = Process()
    process.look(moved=True)
    assert [process.look() for _ in range(STUCK_LOOKS + 1)] == [*[None] * (STUCK_LOOKS - 1), "stuck", "stuck"]
    assert process.look(moved=True) is None
    process.state = "t"
    assert process.look() == "stopped"
    process.state = "R"
    assert process.look() == "stopped"  # continued, and not yet seen to move
    assert process.pulse.glance() == "stopped"
    process.count += 1
    assert process.pulse.glance() is None
    assert process.look() is None or process.look() is None


def test_a_supervisor_that_was_stopped_with_all_others_says_nothing() -> None:
    """Its looks are far apart then; a count of looks knows no time."""
    process = Process()
    process.look(moved=True)
    assert process.look() is None
    assert process.look(moved=True) is None


def test_sentences_and_the_table_say_what_it_means() -> None:
    assert held_sentence("worker 0 (pid 7)", "stopped", "it is late").startswith(
        "worker 0 (pid 7) is stopped, by SIGSTOP"
    )
    assert held_sentence("worker 0 (pid 7)", "stuck", "it is late").endswith("for 3 s: it is late")
    assert held_sentence("worker 0 (pid 7)", None, "it is late") == "worker 0 (pid 7) goes on"
    row = {"cpu": 1, "pid": 7, "state": "stuck", "run_delay_share": None, "steal_share": None}
    text = " ".join(" ".join(totals_grid(status(model_process=row)).lines()).split())
    assert " model stuck (pid 7): its ports as they were last read " in text


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process in the freezer of a cgroup: neither stopped nor running. Skips where there is none."""
    base = next((path for path in FREEZERS if path.is_dir() and os.access(path, os.W_OK)), None)
    if base is None:
        pytest.skip("no cgroup file system that this user can write")
    group = base / f"ixyfwd-test-{os.getpid()}"
    group.mkdir()
    try:
        switch, on, off = group / "freezer.state", "FROZEN", "THAWED"
        if not switch.exists():
            switch, on, off = group / "cgroup.freeze", "1", "0"
        if not switch.exists():
            pytest.skip("this cgroup file system has no freezer")
        (group / "cgroup.procs").write_text(str(pid))
        switch.write_text(on)
        try:
            yield
        finally:
            switch.write_text(off)
            if Path(f"/proc/{pid}").exists():
                (base / "cgroup.procs").write_text(str(pid))
    finally:
        eventually(lambda: not (group / "cgroup.procs").read_text(), "the cgroup is empty")
        group.rmdir()


def worker_state(status: dict[str, Any]) -> str:
    return str(status["workers"][0]["state"])


def model_state(status: dict[str, Any]) -> str:
    return str(status["model_process"]["state"])


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def started(instance: Instance, tmp_path: Path, *more: str, idle: str = "adaptive") -> "subprocess.Popen[str]":
    text = config_text([WIRE, WIRE], cpu="workers = 1", forward=f'idle = "{idle}"')
    return instance.start("-c", write_config(tmp_path / "config.toml", text), "--json", *more)


class Said:
    """What a process writes into a pipe, while it runs."""

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self._fd = stream.fileno()
        self._text = ""

    def wait_for(self, text: str, *, new: bool = False) -> None:
        """Until it has said so; `new`: once more after what it has said by now."""
        if new:
            while self._read(0):
                pass
            self._text = ""
        deadline = time.monotonic() + END_S
        while text not in self._text:
            assert time.monotonic() < deadline, (text, self._text)
            self._read(1)

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return False
        part = os.read(self._fd, 65536)
        assert part, self._text
        self._text += part.decode()
        return True


def at_a_quiet_moment(process: "subprocess.Popen[str]") -> None:
    """Right after a tick: the supervisor touches no port for the rest of a second."""
    Said(process.stderr).wait_for(" Mpps sent", new=True)


@pytest.mark.parametrize(
    ("held", "hold"), [("stopped", stopped), pytest.param("stuck", frozen, marks=[pytest.mark.root, pytest.mark.slow])]
)
def test_a_worker_that_is_held_is_said_and_so_is_its_end(
    instance: Instance, tmp_path: Path, held: str, hold: Callable[[int], Any]
) -> None:
    process = started(instance, tmp_path)
    pid = instance.status()["workers"][0]["pid"]
    with hold(pid):
        eventually(lambda: worker_state(instance.status()) == held, "the state says it", END_S)
        assert f" {held} " in instance.command("workers").stdout
        assert any(f"worker 0 (pid {pid}) is {held}" in text for text in instance.status()["notices"])
    eventually(lambda: worker_state(instance.status()) == "ready", "it goes on", END_S)
    sent = instance.status()["tx_packets"]
    eventually(lambda: instance.status()["tx_packets"] > sent, "frames flow again", END_S)
    at_a_quiet_moment(process)
    at_a_quiet_moment(process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 0, err
    assert_exact(report_of(out))


@pytest.mark.parametrize(
    ("held", "hold"), [("stopped", stopped), pytest.param("stuck", frozen, marks=[pytest.mark.root, pytest.mark.slow])]
)
def test_a_model_that_is_held_is_said_and_the_run_outlives_it(
    instance: Instance, tmp_path: Path, held: str, hold: Callable[[int], Any]
) -> None:
    process = started(instance, tmp_path)
    before = instance.status()
    at_a_quiet_moment(process)
    with hold(before["model_process"]["pid"]):
        eventually(lambda: model_state(instance.status()) == held, "the state says it", END_S)
        found = instance.status()
        assert found["rx_packets"] >= before["rx_packets"]
        assert [port["link"] for port in found["ports"]] == [port["link"] for port in before["ports"]]
        assert any(f"the model (pid {before['model_process']['pid']}) is {held}" in text for text in found["notices"])
        assert f" model {held} (pid " in " ".join(instance.command("status").stdout.split())
        refused = instance.command("inject", "p0", "link-flap")
        assert refused.returncode == 1 and "does not go on" in refused.stderr
    eventually(lambda: model_state(instance.status()) == "running", "it goes on", END_S)
    eventually(lambda: instance.status()["rx_packets"] > found["rx_packets"], "frames flow again", END_S)
    assert_exact(terminated_for_report(process))


def test_what_is_held_and_goes_on_are_notices(instance: Instance, tmp_path: Path) -> None:
    process = started(instance, tmp_path)
    said = Said(process.stderr)
    pid = instance.status()["workers"][0]["pid"]
    with stopped(pid):
        said.wait_for(f"note: worker 0 (pid {pid}) is stopped, by SIGSTOP or a debugger: nothing takes frames")
    said.wait_for(f"note: worker 0 (pid {pid}) goes on")


def test_a_worker_that_sleeps_until_an_interrupt_is_not_stuck(instance: Instance, tmp_path: Path) -> None:
    silent = '{ kind = "none" }'
    text = config_text([silent, silent], cpu="workers = 1", forward='idle = "interrupt"')
    process = instance.start("-c", write_config(tmp_path / "config.toml", text), "--json")
    for _ in range(STUCK_LOOKS + 2):
        at_a_quiet_moment(process)
        assert worker_state(instance.status()) == "ready"
    assert not instance.status()["notices"] or "stuck" not in str(instance.status()["notices"])


def test_a_model_by_itself_is_told_too(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*IXYFWD, "model", "--port", "p0=p0.sock", "--wire", "none", "--verbose"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    said = Said(process.stdout)
    try:
        said.wait_for(" Mpps in")
        (model,) = descendants(process.pid)
        with stopped(model.pid):
            said.wait_for(f"note: the model (pid {model.pid}) is stopped")
        said.wait_for(f"note: the model (pid {model.pid}) goes on")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=END_S)
        assert process.returncode == 0, out + err
    finally:
        process.kill()
        process.communicate()
