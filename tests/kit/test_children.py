"""Child processes: started, settled, ready or failed with a reason and an exit code, ended."""

import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.kit.children import Child, wait_until
from ixyfwd.kit.process import Words, run_child, settle, stop_signals_held, tie_to_parent
from tests.testing.support import eventually

LONG_S = 60.0
PROLOGUE = """
import os, signal, sys, time
from ixyfwd.errors import *
from ixyfwd.kit.process import *
order, words = read_order(int(sys.argv[1])), Words(int(sys.argv[2]))
"""


@pytest.fixture
def started() -> Iterator[list[Child]]:
    children: list[Child] = []
    yield children
    for one in children:
        one.end(0)
        one.end(0)


@pytest.fixture
def child(started: list[Child]) -> Any:
    """Starts `code` as "worker 2", with `order` and `words` at hand."""

    def start(code: str, order: Any = None) -> Child:
        def arguments(order_fd: int, words_fd: int) -> list[str]:
            return ["-c", PROLOGUE + code, str(order_fd), str(words_fd)]

        started.append(Child("worker 2", arguments, order or {}))
        return started[-1]

    return start


def failing(code: str) -> str:
    return f"def body():\n    {code}\nsys.exit(run_child('worker', words, body))"


# Ready


def test_a_child_gets_its_order_and_says_that_it_is_ready(child: Any) -> None:
    found = child("if order['n'] == 7: words.ready()\ntime.sleep(60)", {"n": 7})
    found.wait_ready(LONG_S)
    assert found.alive()
    assert found.obituary() == "is still running"


def test_what_ready_means_can_be_seen_from_outside(child: Any, tmp_path: Any) -> None:
    flag = tmp_path / "flag"
    found = child("open(order['flag'], 'w').close()\ntime.sleep(60)", {"flag": str(flag)})
    found.wait_ready(LONG_S, flag.exists)
    assert flag.exists()


def test_a_child_that_is_never_ready_is_a_timeout_that_names_it(child: Any) -> None:
    found = child("time.sleep(60)")
    with pytest.raises(IxyfwdError, match=rf"^worker 2 \(pid {found.pid}\) was not ready after 0\.1 s$"):
        found.wait_ready(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_is_left_to_the_parent_from_the_first_instruction(child: Any, number: signal.Signals) -> None:
    """Before Python runs: the signal may come in the same moment as the fork."""
    found = child("words.ready()\ntime.sleep(60)")
    os.kill(found.pid, number)
    found.wait_ready(LONG_S)
    os.kill(found.pid, number)
    assert not found.wait(0.1)
    found.end(0)
    assert found.killed_by() == signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_that_comes_while_a_child_is_started_is_not_lost(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda number, frame: heard.append(number))
    try:
        with stop_signals_held():
            signal.raise_signal(number)
            assert not heard
        assert heard == [number]
    finally:
        signal.signal(number, before)


# Failed


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("sys.exit(7)", "ended with exit code 7"),
        ("sys.exit(0)", "ended with exit code 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", f"was killed by signal {signal.SIGRTMIN + 3}"),
        ("os.write(words._fd, b'nonsense\\n[1]\\n7\\n{')\nsys.exit(9)", "ended with exit code 9"),
    ],
)
def test_a_child_that_ends_without_a_word_is_told_with_its_exit_code_or_signal(child: Any, code: str, how: str) -> None:
    found = child(code)
    with pytest.raises(IxyfwdError) as caught:
        found.wait_ready(LONG_S)
    assert str(caught.value) == f"worker 2 (pid {found.pid}) {how} before it was ready"
    assert found.obituary() == how


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ("IxyfwdError('no ring')", IxyfwdError, 1),
        ("UsageError('no ring')", UsageError, 2),
        ("RefusedError('no ring')", RefusedError, 3),
        ("DeviceGoneError('no ring')", IxyfwdError, 1),
    ],
)
def test_a_child_that_fails_is_told_with_its_exit_code_and_sentence(
    child: Any, error: str, kind: type[IxyfwdError], code: int
) -> None:
    found = child(failing(f"raise {error}"))
    with pytest.raises(IxyfwdError) as caught:
        found.wait_ready(LONG_S)
    assert type(caught.value) is kind
    assert str(caught.value) == f"worker 2 (pid {found.pid}) ended with exit code {code}: no ring"


def test_a_mistake_is_a_sentence_with_the_place_and_no_traceback(child: Any, capfd: Any) -> None:
    found = child(failing("[][3]"))
    with pytest.raises(IxyfwdError, match=r"exit code 1: IndexError: list index out of range \(<string>, line \d+\)$"):
        found.wait_ready(LONG_S)
    assert capfd.readouterr().err == ""


def test_a_child_that_fails_and_does_not_end_is_told_nevertheless(child: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ixyfwd.kit.children._FAILED_END_S", 0)
    found = child("words.failed('stuck', 3)\ntime.sleep(60)")
    with pytest.raises(RefusedError, match=r"failed with exit code 3: stuck$"):
        found.wait_ready(LONG_S)


def test_a_failure_after_it_was_ready_is_in_the_obituary(child: Any) -> None:
    found = child(failing("words.ready(); raise IxyfwdError('it broke')"))
    assert found.wait(LONG_S)
    assert found.obituary() == "ended with exit code 1: it broke"
    found.end(0)
    assert found.obituary() == "ended with exit code 1: it broke"


def test_a_long_sentence_does_not_hold_the_child_up(child: Any) -> None:
    found = child(failing("raise IxyfwdError('\\U0001f600' * 1_000_000)"))
    assert found.wait(LONG_S)
    assert found.obituary().startswith("ended with exit code 1: \U0001f600\U0001f600")


# Ended


def test_the_end_makes_the_pidfd_readable(child: Any) -> None:
    found = child("time.sleep(60)")
    assert found.alive() and found.killed_by() is None
    os.kill(found.pid, signal.SIGKILL)
    with selectors.DefaultSelector() as selector:
        selector.register(found.pidfd, selectors.EVENT_READ)
        assert selector.select(10)
    assert found.killed_by() == signal.SIGKILL
    assert found.obituary() == "was killed by SIGKILL"


def test_end_kills_a_child_that_does_not_listen(child: Any) -> None:
    found = child("time.sleep(60)")
    assert not found.wait(0)
    found.end(0.01)
    eventually(lambda: not os.path.exists(f"/proc/{found.pid}"), "the child is gone")


def test_no_descriptor_is_left(child: Any) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    found = child("pass")
    found.end(LONG_S)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_is_left_where_nothing_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Child("worker 2", lambda order_fd, words_fd: [], {})
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_wait_until_is_bounded() -> None:
    begun = time.monotonic()
    assert not wait_until(lambda: False, 0.02)
    assert wait_until(lambda: True, 0)
    assert time.monotonic() - begun >= 0.02


# In the child


def test_a_nice_value_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, who: int, priority: int) -> None:
        assert (which, who, priority) == (os.PRIO_PROCESS, 0, -20)
        raise PermissionError

    monkeypatch.setattr("os.setpriority", refuse)
    with pytest.raises(UsageError) as caught:
        settle(None, -20)
    assert str(caught.value) == "[cpu] nice = -20 needs root or CAP_SYS_NICE"


def test_a_cpu_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="CPU 1000 cannot be used: Invalid argument"):
        settle(1000, 0)


def test_a_parent_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ixyfwd.kit.process._prctl", lambda option, argument: None)
    with pytest.raises(IxyfwdError, match="the process that started this one is gone"):
        tie_to_parent(1 << 30)


def test_what_cannot_be_told_to_the_parent_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    def body() -> None:
        raise RefusedError("busy")

    assert run_child("model", Words(writing), body) == 3
    assert capsys.readouterr().err == "ixyfwd model: busy\n"
    with pytest.raises(BrokenPipeError):
        Words(writing).ready()
    os.close(writing)


def test_words_are_one_line_of_json_each() -> None:
    reading, writing = os.pipe()
    Words(writing).ready()
    assert Words(writing).failed("two\nlines", 2)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        assert [json.loads(line) for line in pipe] == [{"ready": True}, {"error": "two\nlines", "exit_code": 2}]
