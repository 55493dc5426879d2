"""The client of a control socket: deadlines, a server that hangs up, and errors that say what to do."""

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ixyfwd.errors import DeviceGoneError, DeviceTimeoutError, IxyfwdError, UsageError
from ixyfwd.kit.lineclient import LineClient, Peer
from tests.testing.kit_desk import LONG_ANSWER, Desk
from tests.testing.support import eventually

PEER = Peer("the desk 'a'", "no desk 'a' is open", "open it", gone=DeviceGoneError, late=DeviceTimeoutError)
LONG_S = 30.0
Talk = Callable[[socket.socket], None]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


class Server:
    """A thread that treats one connection after the other as `talks` say, then closes it; the last one for ever."""

    def __init__(self, path: str, *talks: Talk) -> None:
        self.connections = 0
        self._talks = talks
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._talks[min(self.connections, len(self._talks) - 1)](connection)
            self.connections += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def hang_up(connection: socket.socket) -> None:
    """As when the place is needed for another client: without having read."""


def hear_and_hang_up(connection: socket.socket) -> None:
    connection.recv(1000)


def say(data: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(data)

    return talk


OK = say(b'{"ok":true}\n')


def asked(path: str, timeout_s: float = LONG_S) -> object:
    with closing(LineClient(path, PEER, timeout_s)) as client:
        return client.request("stats", port="p0")


# A real server


@pytest.fixture
def desk(path: str) -> Iterator[Desk]:
    """Turned by a thread, with real time."""
    found = Desk(Path(path))
    over = threading.Event()

    def turn() -> None:
        while not over.is_set():
            found.loop.dispatch(0.001)
            found.clock.now_s = 1000 + time.monotonic() - begun

    begun = time.monotonic()
    thread = threading.Thread(target=turn)
    thread.start()
    yield found
    over.set()
    thread.join()
    found.close()


def test_request_and_answer(desk: Desk, path: str) -> None:
    with closing(LineClient(path, PEER, LONG_S)) as client:
        assert client.request("echo", n=1) == {"echo": {"do": "echo", "n": 1}}
        assert client.request("long") == {"long": LONG_ANSWER}
        with pytest.raises(IxyfwdError, match=r"^the desk 'a': not today$"):
            client.request("refuse")
        assert client.request("echo") == {"echo": {"do": "echo"}}


def test_a_client_that_lost_its_place_between_two_requests_does_not_notice(desk: Desk, path: str) -> None:
    with closing(LineClient(path, PEER, LONG_S)) as client:
        assert client.request("echo", n=1)
        crowd = []
        for number in range(2 * desk.limits.clients):
            crowd.append(LineClient(path, PEER, LONG_S))
            assert crowd[-1].request("echo", n=number)
        assert client.request("echo", n=2) == {"echo": {"do": "echo", "n": 2}}
        for other in crowd:
            other.close()


# Servers that are not


def test_nothing_listens(path: str) -> None:
    said = rf"^no desk 'a' is open \(nothing listens at {path}\); open it$"
    with pytest.raises(DeviceGoneError, match=said):
        asked(path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(DeviceGoneError, match=said):
        LineClient(path, PEER, LONG_S).connect()


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DeviceGoneError, match="no desk 'a' is open"):
        asked(str(tmp_path / ("x" * 200)))


@pytest.mark.root
def test_the_socket_of_another_user() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = f"{folder}/s"
        with closing(Server(path, OK)):
            os.chmod(path, 0o600)
            os.chmod(folder, 0o755)
            os.seteuid(65534)
            try:
                with pytest.raises(DeviceGoneError, match=r"/s: the desk 'a' belongs to another user; do this as that"):
                    asked(path)
            finally:
                os.seteuid(0)


def test_a_silent_server_is_a_timeout_and_is_not_waited_for_again(path: str) -> None:
    held = threading.Event()

    def hold(_: socket.socket) -> None:
        held.wait(LONG_S)

    with closing(Server(path, hold)):
        client = LineClient(path, PEER, 0.1)
        with pytest.raises(DeviceTimeoutError, match=r"the desk 'a' gave no answer to 'stats' within 0\.1 s; open it"):
            client.request("stats")
        with pytest.raises(DeviceGoneError, match=r"^the connection to the desk 'a' is closed; open it$"):
            client.request("stats")
        held.set()


def test_a_server_that_trickles_is_a_timeout_too(path: str) -> None:
    def trickle(connection: socket.socket) -> None:
        while True:
            connection.sendall(b" ")
            time.sleep(0.01)

    with closing(Server(path, trickle)), pytest.raises(DeviceTimeoutError, match="gave no answer"):
        asked(path, 0.2)


def test_a_full_queue_is_a_timeout(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with closing(LineClient(path, PEER, LONG_S)) as first:
            first.connect()
            with pytest.raises(DeviceTimeoutError, match=r"the desk 'a' took no connection within 0\.1 s"):
                asked(path, 0.1)


@pytest.mark.parametrize("rude", [hang_up, hear_and_hang_up])
def test_a_server_that_hangs_up_is_asked_again(path: str, rude: Talk) -> None:
    with closing(Server(path, rude, rude, OK)) as server:
        assert asked(path) == {"ok": True}
        assert server.connections >= 2


@pytest.mark.parametrize("rude", [hang_up, hear_and_hang_up, say(b'{"half')])
def test_a_server_that_always_hangs_up_is_gone(path: str, rude: Talk) -> None:
    with closing(Server(path, rude)), pytest.raises(DeviceGoneError) as caught:
        asked(path)
    assert str(caught.value).startswith("the desk 'a' is gone: it hung up without an answer to 'stats' (")
    assert str(caught.value).endswith("); open it")


def test_a_server_that_ends_before_it_answers_is_gone(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        client = LineClient(path, PEER, LONG_S)
        client.connect()
    with pytest.raises(DeviceGoneError, match="is gone: it hung up without an answer to 'stats'"):
        client.request("stats")


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b"[1]\n", b"7\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_an_answer_that_is_none(path: str, line: bytes) -> None:
    with closing(Server(path, say(line))), pytest.raises(IxyfwdError, match="but not with a JSON object"):
        asked(path)


def test_an_answer_without_end(path: str) -> None:
    with (
        closing(Server(path, say(b" " * (17 << 20)))),
        pytest.raises(IxyfwdError, match="a line of more than 16777216"),
    ):
        asked(path)


def test_what_the_server_says_unasked_is_not_the_answer(path: str) -> None:
    """Why it hung up, for example."""

    def refuse(connection: socket.socket) -> None:
        connection.sendall(b'{"error":"too late"}\n')

    with closing(Server(path, refuse, OK)) as server:
        client = LineClient(path, PEER, LONG_S)
        client.connect()
        eventually(lambda: server.connections, "the server has hung up")
        assert client.request("stats") == {"ok": True}
        client.close()


def test_a_request_that_is_too_long_is_not_sent(path: str) -> None:
    with closing(Server(path, OK)) as server, closing(LineClient(path, PEER, LONG_S)) as client:
        with pytest.raises(UsageError, match="the request 'inject' has 200"):
            client.request("inject", text="x" * 20_000)
        assert server.connections == 0


def test_errors_of_an_answer_with_more_in_it_are_data(path: str) -> None:
    report = {"error": "worker 1 died", "exit_code": 1}
    with closing(Server(path, say(json.dumps(report).encode() + b"\n"))):
        assert asked(path) == report
