"""The supervisor's parts, each for itself: instance lock, control client, signals."""

import os
import signal
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ixyfwd.errors import IxyfwdError, RefusedError
from ixyfwd.supervisor.client import request
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.signals import StopSignals


def test_one_instance_per_name(runtime: Path) -> None:
    first = Instance("a")
    with pytest.raises(RefusedError, match=rf"'a' is already running as pid {os.getpid()} \(.+\);"):
        Instance("a")
    Instance("b").close()
    first.close()
    Instance("a").close()


def test_instance_directory_is_private_and_swept(runtime: Path) -> None:
    first = Instance("a")
    assert stat.S_IMODE(first.dir.stat().st_mode) == 0o700
    left = first.socket("p0")
    left.touch()
    first.close()
    assert not left.exists()
    left.parent.mkdir(mode=0o700)
    left.touch()  # as a killed owner would leave it
    Instance("a").close()
    assert not left.exists()


def test_instance_leaves_nothing_behind(runtime: Path) -> None:
    Instance("a").close()
    assert list(runtime.iterdir()) == []


def test_starters_and_enders_never_share_a_name(runtime: Path) -> None:
    """Eight threads start and end one name as fast as they can: at most one has it at any time."""
    holders: list[int] = []
    most: list[int] = []

    def play(number: int) -> None:
        for _ in range(100):
            try:
                held = Instance("a")
            except RefusedError:
                continue
            holders.append(number)
            most.append(len(holders))
            holders.remove(number)
            held.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(play, range(8))) == [None] * 8  # what a thread raises is raised here
    assert set(most) == {1}


def test_instance_refuses_a_directory_others_can_write(runtime: Path) -> None:
    (runtime / "a").mkdir(parents=True)
    (runtime / "a").chmod(0o777)
    with pytest.raises(RefusedError, match="only this user can write"):
        Instance("a")


def test_instance_says_that_a_path_is_too_long(runtime: Path) -> None:
    with pytest.raises(IxyfwdError, match="too long for a Unix socket"):
        Instance("x" * 90)


def test_request_says_that_nobody_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ixyfwd.supervisor.client.control_socket", lambda name: tmp_path / "none.sock")
    with pytest.raises(IxyfwdError, match="no ixyfwd instance 'x' is running"):
        request("x", "status")


def test_request_says_that_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deaf.sock"
    monkeypatch.setattr("ixyfwd.supervisor.client.control_socket", lambda name: path)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        with pytest.raises(IxyfwdError, match="gave no answer to 'status' within"):
            request("x", "status", timeout_s=0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_only_noted(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received == number.name
        assert os.read(signals.fd, 1) == b"!"
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_ignored_stays_ignored(number: signal.Signals) -> None:
    """`nohup`, `trap '' INT`, a background job of a shell."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), number)
            assert signals.received is None
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_sigterm_stops_even_where_it_was_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == "SIGTERM"
    finally:
        signal.signal(signal.SIGTERM, before)
