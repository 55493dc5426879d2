"""Clients of a control socket with bad manners, all at once and without end, against a real process."""

import contextlib
import resource
import socket
import struct
import threading
from types import TracebackType
from typing import Self

KEPT = 1000
DEAF = 50
HALVES = 20
ENDLESS_BYTES = 10 << 20
STATUS = b'{"do": "status"}\n{"do": "stats"}\n'  # one for the supervisor, one for the model
LINES = (
    b"\xff\xfe\x00\n" * 50,
    b"[" * 1200 + b"\n",
    b"[" * 1200 + b"]" * 1200 + b"\n",
    b'{"do": "status", "a": ' + b'{"a":' * 1200 + b"\n",
    b"[" * 100_000 + b"\n",
    b"[" * 100_000 + b"]" * 100_000 + b"\n",
    b'{"do": "status", "n": ' + b"9" * 10_000 + b"}\n",
    b'{"do": "inject", "port": "\\ud800", "kind": {}, "parameters": [NaN]}\n',
    b'{"do": "link", "port": [], "up": 1e400}\n',
    b"\n" * 5000,
)


def connected(path: str, timeout_s: float = 10.0) -> socket.socket:
    """A client that does not block any more; connecting waits for its turn, which Python's own timeout would not."""
    client = socket.socket(socket.AF_UNIX)
    try:
        limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        client.connect(path)
        client.setblocking(False)
    except BaseException:
        client.close()
        raise
    return client


class Siege:
    """While entered, a thread plays all of them again and again. `rounds` counts how often it is through."""

    def __init__(self, path: str) -> None:
        self.rounds = 0
        self._path = path
        self._kept: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> Self:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * KEPT), hard), hard))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._forget()

    def _play(self) -> None:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # the process has ended
            while not self._over.is_set():
                for _ in range(HALVES):
                    self._say(b'{"do": "sta')
                for _ in range(DEAF):
                    self._say(STATUS * 5000)
                for line in LINES:
                    self._say(line)
                self._say(b"x" * ENDLESS_BYTES)
                while len(self._kept) < KEPT and not self._over.is_set():
                    self._say(b"")
                self.rounds += 1
                self._forget()

    def _say(self, data: bytes) -> None:
        """As much of it as is taken, from a client that stays and never reads."""
        client = connected(self._path)
        self._kept.append(client)
        client.settimeout(0.05)
        with contextlib.suppress(OSError):
            client.sendall(data)

    def _forget(self) -> None:
        for client in self._kept:
            client.close()
        self._kept.clear()
