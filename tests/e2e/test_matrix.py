"""Every command that runs for a while below everything that it is started with in the field.

A row is a way to start and to end a command, a column one of the commands. Each cell ends in bounded time with the exit
code that its row says, its account closes, and nothing is left behind.
"""

import fcntl
import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from ixyfwd.supervisor.instances import Running as Living
from ixyfwd.supervisor.instances import living_instances
from tests.testing.running import END_S, RUNS, Make, Running, assert_account, kill
from tests.testing.support import IXYFWD, environment, eventually, last_object, report_of, run

FULL = "ixyfwd: the output cannot be written (No space left on device)"
SECONDS = 1.5
CGROUPS = Path("/sys/fs/cgroup")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@dataclass
class Cell:
    """One command of one row. What it writes goes to the files `out` and `err`, unless the row has another place."""

    running: Running
    folder: Path
    children: list[psutil.Process] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def err(self) -> Path:
        return self.folder / "err"

    def command(self, *more: str, duration_s: float | None = None) -> list[str]:
        return [*IXYFWD, *self.running.words(duration_s), *more]

    def launch(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
        """In the background, in a session of its own."""
        with open(self.out, "w") as out, open(self.err, "w") as err:
            more = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, "start_new_session": True, **options}
            process = subprocess.Popen(command, text=True, **more)
        self.running.stack.callback(kill, process)
        return process

    def await_run(self, process: "subprocess.Popen[str]") -> Living:
        """Until it runs, under whatever process; by the lock on its name."""

        def found() -> Living | None:
            assert process.poll() is None, self.said()
            family = {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
            return next((one for one in living_instances() if one.pid in family and one.command), None)

        one: Living = eventually(found, "it has a name", END_S)
        self.running.instance = one.name
        assert one.pid is not None
        leader = psutil.Process(one.pid)
        wanted = 1 if self.running.command == "model" else 2
        eventually(lambda: len(leader.children(recursive=True)) >= wanted, "its children run", END_S)
        if self.running.command == "model":
            eventually((self.running.folder / "p0.sock.control").exists, "the model listens", END_S)
        else:
            status = (*IXYFWD, "status", "--json", "--instance", one.name)
            eventually(lambda: '"running"' in run(*status).stdout, "frames flow", END_S)
        self.children = leader.children(recursive=True)
        return one

    def said(self) -> str:
        return self.out.read_text() + self.err.read_text()

    def stop(self) -> dict[str, Any]:
        """By `ixyfwd stop` from this environment; the report that it prints."""
        answer = run(*IXYFWD, "stop", "--json", "--timeout", "60", "--instance", self.running.instance)
        assert answer.returncode == 0, answer.stderr
        return last_object(answer.stdout)


@dataclass
class Outcome:
    """How a cell ended. `report` None: the row leaves no place where it could be read."""

    code: int
    reason: str
    report: dict[str, Any] | None
    expected: int | None = None  # exit code; None: that of `reason`


def ended(cell: Cell, process: "subprocess.Popen[str]", reason: str) -> Outcome:
    return Outcome(process.wait(END_S), reason, last_object(cell.out.read_text()))


def terminated(cell: Cell, command: Sequence[str], **options: Any) -> Outcome:
    """Ended by SIGTERM to ixyfwd itself."""
    process = cell.launch(command, **options)
    os.kill(cell.await_run(process).pid or 0, signal.SIGTERM)
    return ended(cell, process, "SIGTERM received")


def of_a_duration(cell: Cell, before: Sequence[str]) -> Outcome:
    process = cell.launch([*before, *cell.command("--json", duration_s=SECONDS)])
    return ended(cell, process, "duration over")


# Rows: programs that start other programs


def timeout(cell: Cell) -> Outcome:
    """It passes a signal on to the command and then to the group, as at the end of its time."""
    process = cell.launch(["timeout", "--preserve-status", "1000", *cell.command("--json")])
    cell.await_run(process)
    process.send_signal(signal.SIGTERM)
    return ended(cell, process, "SIGTERM received")


def nohup(cell: Cell) -> Outcome:
    process = cell.launch(["nohup", *cell.command("--json")])
    one = cell.await_run(process)
    os.killpg(process.pid, signal.SIGHUP)
    assert_goes_on(cell, process)
    os.kill(one.pid or 0, signal.SIGTERM)
    return ended(cell, process, "SIGTERM received")


def setsid(cell: Cell) -> Outcome:
    """From an ssh session that dies: no SIGHUP comes, and every write to the terminal fails."""
    master, slave = pty.openpty()
    process = cell.launch(["setsid", "--wait", *cell.command("--json")], stdin=slave, stderr=slave)
    os.close(slave)
    one = cell.await_run(process)
    os.close(master)
    assert_goes_on(cell, process)
    os.kill(one.pid or 0, signal.SIGTERM)
    return ended(cell, process, "SIGTERM received")


def assert_goes_on(cell: Cell, process: "subprocess.Popen[str]") -> None:
    """For a tick and more."""
    time.sleep(1.3)
    assert process.poll() is None, cell.said()
    assert all(child.is_running() for child in cell.children)


def systemd_run(cell: Cell) -> Outcome:
    state = run("systemctl", "is-system-running").stdout.strip() if shutil.which("systemctl") else "missing"
    if state not in {"running", "degraded"} or not shutil.which("systemd-run"):
        pytest.skip(f"no systemd runs here ({state})")
    return terminated(cell, ["systemd-run", "--scope", "--quiet", *cell.command("--json")])


def cron(cell: Cell) -> Outcome:
    """An empty environment, no terminal; ended by a command from another environment."""
    names = ("HOME=/root", "LOGNAME=root", "SHELL=/bin/sh", "PATH=/usr/bin:/bin")
    process = cell.launch(["env", "-i", *names, "sh", "-c", shlex.join(cell.command("--json"))])
    cell.await_run(process)
    cell.stop()
    return ended(cell, process, "stop command")


def sudo(cell: Cell) -> Outcome:
    """Where there is no sudo, `setpriv` makes what it would: another environment, and of root's capabilities none."""
    if shutil.which("sudo"):
        return terminated(cell, ["sudo", "-n", *cell.command("--json")])
    if not shutil.which("setpriv"):
        pytest.skip("neither sudo nor setpriv is installed")
    return terminated(
        cell, ["setpriv", "--reset-env", "--inh-caps=-all", "--bounding-set=-all", *cell.command("--json")]
    )


def su(cell: Cell) -> Outcome:
    """A login shell: another directory, another environment."""
    return terminated(cell, ["su", "-", "root", "-s", "/bin/sh", "-c", shlex.join(cell.command("--json"))])


def ssh(cell: Cell) -> Outcome:
    """A session that dies: its terminal goes, and the kernel sends SIGHUP to what was in the foreground."""
    master, slave = pty.openpty()

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = cell.launch(
        cell.command("--json"), stdin=slave, stderr=slave, start_new_session=False, preexec_fn=lead, pass_fds=(slave,)
    )
    os.close(slave)
    cell.await_run(process)
    os.close(master)
    return ended(cell, process, "SIGHUP received")


# Rows: groups of processes with limits


@contextmanager
def cgroup(controller: str, values: dict[str, str], unified: dict[str, str]) -> Iterator[Path]:
    """A new cgroup with such limits: of the controller's own hierarchy, or of the unified one."""
    own = CGROUPS / controller
    base = own if own.is_dir() else CGROUPS
    if not (base / "cgroup.procs").exists():
        pytest.skip("no cgroup file system is mounted")
    group = base / f"ixyfwd-matrix-{os.getpid()}"
    try:
        if base is CGROUPS:
            (base / "cgroup.subtree_control").write_text(f"+{controller}")
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup of {controller} can be made here ({error.strerror})")
    try:
        for name, value in (unified if base is CGROUPS else values).items():
            (group / name).write_text(value)
        yield group
    finally:
        eventually(lambda: not (group / "cgroup.procs").read_text(), "the cgroup is empty")
        group.rmdir()


def inside(group: Path) -> list[str]:
    return ["sh", "-c", 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"', "sh", str(group)]


def quota(cell: Cell) -> Outcome:
    """Containers' `--cpus 0.5`: all processes together are stopped for half of each tenth of a second."""
    limits = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
    with cgroup("cpu", limits, {"cpu.max": "50000 100000"}) as group:
        return of_a_duration(cell, inside(group))


def cpuset(cell: Cell) -> Outcome:
    """Containers' `--cpuset-cpus`: one CPU for all."""
    cpu = str(min(os.sched_getaffinity(0)))
    with cgroup("cpuset", {"cpuset.cpus": cpu, "cpuset.mems": "0"}, {"cpuset.cpus": cpu}) as group:
        return of_a_duration(cell, inside(group))


# Rows: what reads, and what does not


def piped(command: Sequence[str], reader: str) -> list[str]:
    """The exit code is the command's."""
    return ["bash", "-o", "pipefail", "-c", f"{shlex.join(command)} | {reader}"]


def head(cell: Cell) -> Outcome:
    """It goes after the first line. What a run is then stopped by is its own SIGTERM."""
    process = cell.launch(piped(cell.command(duration_s=2.0 if cell.running.command == "bench" else None), "head -n 1"))
    code = process.wait(END_S)
    assert len(cell.out.read_text().splitlines()) == 1
    return Outcome(code, "the reader has gone", None, expected=0)


def tee(cell: Cell) -> Outcome:
    return terminated(cell, piped(cell.command("--json"), f"tee {shlex.quote(str(cell.folder / 'copy'))}"))


def less(cell: Cell) -> Outcome:
    """It reads a screenful and no more."""
    master, slave = pty.openpty()
    options = {"stdin": slave, "stdout": slave, "env": environment(TERM="xterm", LESS="")}
    process = cell.launch(piped(cell.command(), "less"), **options)
    os.close(slave)
    cell.await_run(process)
    report = cell.stop()
    eventually(lambda: not any(child.is_running() for child in cell.children), "its children are gone", END_S)
    os.write(master, b"q")
    code = process.wait(END_S)
    os.close(master)
    return Outcome(code, "stop command", report)


def dev_full(cell: Cell) -> Outcome:
    """The run is not touched; that its result went nowhere is the failure."""
    with open("/dev/full", "w") as full:
        process = cell.launch(cell.command(duration_s=SECONDS), stdout=full)
    code = process.wait(END_S)
    sentences = cell.err.read_text().splitlines()
    assert sentences[-1] == FULL
    if cell.running.command != "bench":  # which says how it goes on standard error
        assert sentences == [f"{FULL}; the run goes on without it", FULL]
    return Outcome(code, "duration over", None, expected=1)


def full_disk(cell: Cell) -> Outcome:
    """A file system without room, in a mount namespace of its own; both streams go there."""
    place = cell.folder / "full"
    place.mkdir()
    fill = f"mount -t tmpfs -o size=4k none {place} && head -c 4096 /dev/zero >{place}/filled"
    into = f'exec "$@" >{place}/out 2>&1'
    before = ["unshare", "--mount", "sh", "-c", f"{fill} && {into}", "sh"]
    process = cell.launch([*before, *cell.command("--json", duration_s=SECONDS)])
    return Outcome(process.wait(END_S), "duration over", None, expected=1)


ROWS: dict[str, tuple[Callable[[Cell], Outcome], bool]] = {
    "timeout": (timeout, False),
    "nohup": (nohup, False),
    "setsid": (setsid, False),
    "systemd-run": (systemd_run, True),
    "cgroup-quota": (quota, True),
    "cgroup-cpuset": (cpuset, True),
    "cron": (cron, False),
    "sudo": (sudo, True),
    "su": (su, True),
    "ssh": (ssh, False),
    "head": (head, False),
    "tee": (tee, False),
    "less": (less, False),
    "dev-full": (dev_full, False),
    "full-disk": (full_disk, True),
}
"""Each with whether it needs root."""


@pytest.mark.slow
@pytest.mark.parametrize("command", [*RUNS, "bench"])
@pytest.mark.parametrize(
    "row", [pytest.param(name, marks=needs_root) if root else name for name, (_, root) in ROWS.items()]
)
def test_matrix(make: Make, tmp_path: Path, row: str, command: str) -> None:
    cell = Cell(make(command), tmp_path)
    outcome = ROWS[row][0](cell)
    interrupted = outcome.reason != "duration over"
    expected = int(command == "bench" and interrupted) if outcome.expected is None else outcome.expected
    assert outcome.code == expected, cell.said()
    said = cell.err.read_text()
    assert "Traceback" not in said and "bug" not in said
    if outcome.report is not None:
        judge(outcome, command)
    cell.running.assert_nothing_left(cell.children)


def judge(outcome: Outcome, command: str) -> None:
    """The account, and why it ended."""
    report = outcome.report
    assert report is not None
    if command == "bench" and "problems" in report:
        if outcome.code:
            assert outcome.reason in report["problems"][-1]
        else:
            assert not report["problems"]
            final = report["summary"]["final"]
            assert final["rx_packets"] == final["tx_packets"] + sum(final["drops"].values()) + final["in_flight"]
        return
    assert report["reason"] == outcome.reason
    assert_account(report_of(json.dumps(report)))


@pytest.mark.slow
@pytest.mark.parametrize("command", RUNS)
def test_a_stop_says_in_one_line_what_it_stopped(make: Make, tmp_path: Path, command: str) -> None:
    """Also of a model, whose report is another."""
    cell = Cell(make(command), tmp_path)
    process = cell.launch(cell.command())
    name = cell.await_run(process).name
    answer = run(*IXYFWD, "stop", "--timeout", "60", "--instance", name)
    assert answer.returncode == 0, answer.stderr
    (line,) = answer.stdout.splitlines()
    assert line.startswith(f"{name}: stopped")
    assert process.wait(END_S) == 0
