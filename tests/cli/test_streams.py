"""Signals and standard streams of the real commands: how they are started, stopped and read in the field.

Every row ends in bounded time, says so with its exit code, keeps its account and leaves nothing behind.
"""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from ixyfwd.model.client import ModelClient
from ixyfwd.supervisor.places import runtime_dir
from tests.testing.support import (
    IXYFWD,
    Instance,
    assert_captured_sum,
    assert_forwarded_sum,
    assert_generated_sum,
    descendants,
    environment,
    eventually,
    report_of,
    run,
)

pytestmark = pytest.mark.slow

END_S = 60.0  # generous: a hang is the fault, not a slow machine
F_SETPIPE_SZ = 1031
FLOW = "udp 10.0.0.1:1234 10.0.0.2:80"
RUNS = ("start", "generate", "capture", "model")
REPORT_READ = "its reader does not read"


@dataclass
class Running:
    """A command under test. `words` are its arguments without a duration."""

    command: str
    folder: Path
    instance: str
    stack: ExitStack = field(default_factory=ExitStack)

    def words(self) -> list[str]:
        match self.command:
            case "start":
                return ["start", "--instance", self.instance]
            case "generate":
                return ["generate", "sim:p0", "--rate", "1000", "--instance", self.instance]
            case "capture":
                return ["capture", "sim:p0", "--instance", self.instance]
            case "model":
                return ["model", "--port", f"p0={self.folder}/p0.sock", "--wire", "generator", "--verbose"]
        return ["bench", "soak", "--duration", "60s", "--rate", "1e4"]

    def launch(self, *more: str, before: Sequence[str] = (), **options: Any) -> "subprocess.Popen[str]":
        """In the background, in a session of its own, by the command `before`; killed with everything below it when
        the test ends."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True, **options}
        process = subprocess.Popen([*before, *IXYFWD, *self.words(), *more], text=True, **options)
        self.stack.callback(kill, process)
        if self.command == "bench":
            self.instance = f"bench-{process.pid}"  # the name that it takes: it has no option for one
        return process

    def wait_for_the_run(self, process: "subprocess.Popen[str]") -> list[psutil.Process]:
        """Until its children forward; returns them."""

        def children() -> list[psutil.Process]:
            assert process.poll() is None, process.communicate()
            return descendants(process.pid)

        wanted = 1 if self.command == "model" else 2
        eventually(lambda: len(children()) >= wanted, "its children run", END_S)
        if self.command == "model":
            eventually((self.folder / "p0.sock.control").exists, "the model listens", END_S)
            ModelClient(str(self.folder / "p0.sock.control")).close()
        else:
            eventually(Instance(self.instance).running, "the instance runs", END_S)
        return children()

    def assert_nothing_left(self, children: Sequence[psutil.Process]) -> None:
        eventually(lambda: not any(child.is_running() for child in children), "its children are gone")
        assert not list(self.folder.glob("*.sock*"))
        assert not list(runtime_dir(self.instance).glob("*.sock"))


def kill(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        for child in descendants(process.pid):
            child.kill()
        process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


Make = Callable[[str], Running]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def one(command: str) -> Running:
            running = Running(command, tmp_path, f"s{os.getpid()}-{command}")
            stack.enter_context(running.stack)
            return running

        yield one


def assert_account(report: dict[str, Any]) -> None:
    """Every frame is in one place."""
    assert report["error"] is None
    if "received" in report:
        assert_captured_sum(report)
    elif "asked" in report:
        assert_generated_sum(report)
    elif "rx_packets" in report:
        assert_forwarded_sum(report)


@pytest.fixture
def stuck() -> Iterator[int]:
    """The writing end of a pipe that is full and is not read."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x")
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


# Signals


@pytest.mark.parametrize("command", RUNS)
def test_a_sigterm_to_the_whole_group_stops_in_order(make: Make, command: str) -> None:
    """`timeout`, systemd's control-group."""
    running = make(command)
    process = running.launch("--json")
    children = running.wait_for_the_run(process)
    os.killpg(process.pid, signal.SIGTERM)
    os.killpg(process.pid, signal.SIGTERM)  # `timeout` sends it to the command and then to the group
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 0, err
    report = report_of(out)
    assert report["reason"] == "SIGTERM received"
    assert_account(report)
    running.assert_nothing_left(children)


def test_a_signal_to_the_group_of_a_bench_ends_it_with_what_it_has(make: Make) -> None:
    running = make("bench")
    process = running.launch("--json")
    children = running.wait_for_the_run(process)
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 1
    assert "SIGTERM received" in report_of(out)["problems"][-1], err
    running.assert_nothing_left(children)


def test_timeout_of_coreutils_sees_an_orderly_end(make: Make) -> None:
    """It passes a signal on to the command, then to the group, as at the end of its time."""
    running = make("start")
    process = running.launch("--json", before=["timeout", "--preserve-status", "1000"])
    children = running.wait_for_the_run(process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 0, err
    assert_account(report_of(out))
    running.assert_nothing_left(children)


@pytest.mark.parametrize("command", RUNS)
def test_signals_that_were_ignored_stop_no_run(make: Make, command: str) -> None:
    """`nohup`, `trap '' INT`, a background job of a shell: through a real shell."""
    running = make(command)
    process = running.launch("--json", before=["sh", "-c", "trap '' HUP INT; exec \"$@\"", "sh"])
    children = running.wait_for_the_run(process)
    for number in (signal.SIGHUP, signal.SIGINT):
        os.killpg(process.pid, number)
    time.sleep(0.3)
    assert process.poll() is None
    assert all(child.is_running() for child in children)
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 0, err
    report = report_of(out)
    assert report["reason"] == "SIGTERM received"
    assert_account(report)
    running.assert_nothing_left(children)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_moment_of_the_beginning_leaves_nothing_behind(make: Make, number: signal.Signals) -> None:
    """At moments spread over the time that a start takes: 128 + the number before there is a run, then 0; by the
    signal itself before Python has begun."""
    running = make("start")
    codes = set()
    for step in range(8):
        process = running.launch("--quiet")
        time.sleep(0.03 + 0.08 * step)
        family = [psutil.Process(process.pid), *descendants(process.pid)]
        process.send_signal(number)
        out, err = process.communicate(timeout=END_S)
        codes.add(process.returncode)
        assert process.returncode in {0, 128 + number, -number}, err
        if process.returncode > 0:
            assert (out, err) == ("", "")
        running.assert_nothing_left(family[1:])
    assert codes & {128 + number, -number}


# A reader that does not read


@pytest.mark.parametrize(
    ("end", "streams"), [("duration", ("stdout",)), ("duration", ("stderr",)), ("SIGTERM", ("stdout", "stderr"))]
)
@pytest.mark.parametrize("command", RUNS)
def test_a_reader_that_does_not_read_holds_up_no_run(
    make: Make, stuck: int, command: str, end: str, streams: Sequence[str]
) -> None:
    running = make(command)
    more = ["--duration", "2.5"] if end == "duration" else []
    filled: dict[str, Any] = dict.fromkeys(streams, stuck)
    process = running.launch(*more, **filled)
    if end == "SIGTERM":
        children = running.wait_for_the_run(process)
        time.sleep(2.2)  # two ticks that are not read
        process.send_signal(signal.SIGTERM)
    else:
        eventually(lambda: psutil.Process(process.pid).children(), "its children run")
        children = descendants(process.pid)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 0, err
    if "stdout" not in streams:
        assert "(duration over)" in out or "SIGTERM received" in out or "worker" in out
    elif "stderr" not in streams:
        assert REPORT_READ in err
    running.assert_nothing_left(children)


def test_ixyfwd_stop_reaches_a_run_whose_reader_does_not_read(make: Make, stuck: int) -> None:
    running = make("start")
    process = running.launch(stdout=stuck, stderr=stuck)
    children = running.wait_for_the_run(process)
    time.sleep(1.2)
    answer = run(*IXYFWD, "stop", "--json", "--instance", running.instance)
    assert answer.returncode == 0, answer.stderr
    assert_account(report_of(answer.stdout))
    assert process.wait(END_S) == 0
    running.assert_nothing_left(children)


@pytest.mark.parametrize("how", [["-v"], ["-w", "-"]], ids=" ".join)
def test_a_capture_whose_reader_does_not_read_ends(make: Make, stuck: int, how: list[str]) -> None:
    """Frames are data: that they did not arrive is a failure, but one that ends."""
    running = make("capture")
    process = running.launch(*how, "--duration", "1.5", stdout=stuck)
    _, err = process.communicate(timeout=END_S)
    assert process.returncode == 1
    assert "ixyfwd: " in err and "bug" not in err
    running.assert_nothing_left([])


def test_what_was_left_out_is_counted_where_reading_goes_on(make: Make) -> None:
    """No line is torn: every line is one that was written whole."""
    running = make("model")
    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, 4096)
    program = (
        "import sys, time; from ixyfwd.kit.outlet import Outlet; from ixyfwd.cli.output import Lines\n"
        "out = Outlet(1); out.patience_s = 0.0; lines = Lines(out)\n"
        "for number in range(3000): lines.write(f'{number:05}' * 20)\n"
        "sys.stdin.read(1); time.sleep(0.3); out.patience_s = 30.0; lines.write('the end')"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=writing, text=True)
    running.stack.callback(kill, process)
    os.close(writing)
    assert process.stdin is not None
    time.sleep(0.5)
    process.stdin.write("x")
    process.stdin.close()
    with os.fdopen(reading) as file:
        lines = file.read().splitlines()
    assert process.wait(END_S) == 0
    assert lines.pop() == "the end"
    gaps = [line for line in lines if line.startswith("note: not read in time and left out here: ")]
    kept = [line for line in lines if line not in gaps]
    assert all(line == line[:5] * 20 for line in kept)
    assert gaps and len(kept) + sum(int(line.split(": ")[2].split()[0]) for line in gaps) == 3000


def test_a_terminal_that_was_stopped_holds_up_no_run(make: Make) -> None:
    """Ctrl-S under the live table: the other end of the terminal is not read."""
    running = make("start")
    master, slave = pty.openpty()
    process = running.launch("--duration", "4", stdin=slave, stdout=slave, env=environment(TERM="xterm"))
    os.close(slave)
    try:
        children = running.wait_for_the_run(process)
        _, err = process.communicate(timeout=END_S)
        assert process.returncode == 0, err
        running.assert_nothing_left(children)
    finally:
        os.close(master)


def test_a_terminal_that_is_gone_ends_no_run_of_another_session(make: Make) -> None:
    """`setsid` from an ssh session that dies: no SIGHUP, and every write fails."""
    running = make("start")
    master, slave = pty.openpty()
    process = running.launch(stdin=slave, stdout=slave, env=environment(TERM="xterm"))
    os.close(slave)
    children = running.wait_for_the_run(process)
    os.close(master)
    time.sleep(2.5)
    assert process.poll() is None
    answer = run(*IXYFWD, "stop", "--json", "--instance", running.instance)
    assert answer.returncode == 0, answer.stderr
    assert_account(report_of(answer.stdout))
    process.communicate(timeout=END_S)
    running.assert_nothing_left(children)


# Closed streams, full disks, readers that go


def shell(redirection: str, words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """The command with a redirection of the shell."""
    return run("sh", "-c", f'exec "$@" {redirection}', "sh", *IXYFWD, *words, **options)


@pytest.mark.parametrize("redirection", ["<&- >&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", RUNS)
def test_a_closed_stream_ends_no_run(make: Make, command: str, redirection: str) -> None:
    running = make(command)
    done = shell(redirection, [*running.words(), "--duration", "1.2"])
    assert done.returncode == 0, done.stderr
    assert "bug" not in done.stderr and "Traceback" not in done.stderr
    running.assert_nothing_left([])


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["doctor"],
        ["doctor", "--json"],
        ["devices"],
        ["rss", FLOW],
        ["config", "check", "config.toml"],
        ["capture", "sim:p0", "-w", "-", "--duration", "1"],
        ["bench", "throughput", "--runs", "1000"],
        ["bench", "cost", "--json"],
    ],
    ids=" ".join,
)
def test_a_command_that_must_print_says_that_it_cannot(words: list[str]) -> None:
    closed = shell(">&-", words)
    assert closed.returncode == 1
    assert closed.stderr == "ixyfwd: the output cannot be written (it is closed)\n"
    silent = shell(">&- 2>&-", words)
    assert silent.returncode == 1


@pytest.mark.parametrize("command", RUNS)
def test_a_report_that_has_nowhere_to_go_is_a_failure_after_an_orderly_run(make: Make, command: str) -> None:
    running = make(command)
    for redirection, why in ((">&-", "it is closed"), (">/dev/full", "No space left on device")):
        done = shell(redirection, [*running.words(), "--duration", "1.2", "--json"])
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == f"ixyfwd: the output cannot be written ({why})"
        running.assert_nothing_left([])


@pytest.mark.parametrize("command", RUNS)
def test_a_full_disk_costs_the_output_and_not_the_run(make: Make, command: str) -> None:
    running = make(command)
    done = shell(">/dev/full", [*running.words(), "--duration", "2.3"])
    assert done.returncode == 1
    sentence = "ixyfwd: the output cannot be written (No space left on device)"
    assert done.stderr.splitlines() == [f"{sentence}; the run goes on without it", sentence]
    both = shell(">/dev/full 2>&1", [*running.words(), "--duration", "1.2"])
    assert both.returncode == 1
    running.assert_nothing_left([])


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["doctor"], ["rss", FLOW]], ids=" ".join)
def test_a_full_disk_is_one_sentence_of_every_command(words: list[str]) -> None:
    done = shell(">/dev/full", words)
    assert done.returncode == 1
    assert done.stderr == "ixyfwd: the output cannot be written (No space left on device)\n"


@pytest.mark.parametrize("command", RUNS)
def test_a_reader_that_goes_stops_a_run_in_order(make: Make, command: str) -> None:
    """`| head -1`."""
    running = make(command)
    process = running.launch()
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    children = descendants(process.pid)
    _, err = process.communicate(timeout=END_S)
    assert process.returncode == 0, err
    assert err == ""
    running.assert_nothing_left(children)


# Escape sequences


def in_a_terminal(words: Sequence[str], **changes: str) -> tuple[int, str]:
    """Exit code and output of a command whose streams are a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*IXYFWD, *words], stdin=slave, stdout=slave, stderr=slave, env=environment(**changes), start_new_session=True
    )
    os.close(slave)
    said = b""
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.1)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    os.close(master)
    return process.wait(END_S), said.decode()


@pytest.mark.parametrize(
    "words",
    [
        ["doctor"],
        ["start", "--duration", "1.2", "--instance", f"s{os.getpid()}-tty"],
        ["bench", "cost", "--engine", "native", "--loop", "fused", "--batch", "64", "--runs", "1"],
        ["--help"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_knows_no_escape_sequences_gets_none(words: list[str], term: str) -> None:
    _, said = in_a_terminal(words, TERM=term)
    assert said and "\x1b" not in said


def test_no_color_is_respected_and_a_real_terminal_has_colours() -> None:
    assert "\x1b[3" in in_a_terminal(["doctor"], TERM="xterm", NO_COLOR="")[1]
    assert "\x1b" not in in_a_terminal(["doctor"], TERM="xterm", NO_COLOR="1")[1]
    live = ["start", "--duration", "1.2", "--instance", f"s{os.getpid()}-tty"]
    colours = ("\x1b[3", "\x1b[1;3", "\x1b[9")
    assert not any(colour in in_a_terminal(live, TERM="xterm-256color", NO_COLOR="1")[1] for colour in colours)
