"""Signals and standard streams of the real commands: how they are started, stopped and read in the field.

Every row ends in bounded time, says so with its exit code, keeps its account and leaves nothing behind. How the
commands do below other programs (`nohup`, `tee`, `su`, ...) is in `tests/e2e/test_matrix.py`.
"""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psutil
import pytest

from tests.testing.running import END_S, RUNS, Make, assert_account, kill
from tests.testing.support import IXYFWD, descendants, environment, eventually, report_of, run

pytestmark = pytest.mark.slow

F_SETPIPE_SZ = 1031
FLOW = "udp 10.0.0.1:1234 10.0.0.2:80"
REPORT_READ = "its reader does not read"


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


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["doctor"], ["rss", FLOW]], ids=" ".join)
def test_a_full_disk_is_one_sentence_of_every_command(words: list[str]) -> None:
    done = shell(">/dev/full", words)
    assert done.returncode == 1
    assert done.stderr == "ixyfwd: the output cannot be written (No space left on device)\n"


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
