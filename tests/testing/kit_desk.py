"""A control server that a test turns by hand, and the clients it has to bear."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.lineserver import ClientLimits, LineServer
from ixyfwd.kit.loop import Loop
from tests.testing.siege import connected

LONG_ANSWER = "x" * (1 << 19)  # more than a socket buffer takes


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Desk:
    """A server with the commands echo, long, later, refuse and break."""

    def __init__(self, path: Path, limits: ClientLimits | None = None) -> None:
        self.path = path
        self.limits = limits or ClientLimits()
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.requests: list[Mapping[str, Any]] = []
        self.failures: list[str] = []
        self.clients: list[socket.socket] = []
        commands = {
            "echo": self.echo,
            "long": lambda request: {"long": LONG_ANSWER},
            "later": lambda request: None,
            "refuse": self.refuse,
            "break": lambda request: {"ratio": 1 // 0},
        }
        self.server = LineServer(str(path), self.loop, commands, self.failures.append, self.limits)

    def echo(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.requests.append(request)
        return {"echo": request}

    def refuse(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise IxyfwdError("not today")

    def turn(self, rounds: int = 4) -> None:
        """Rounds of the loop that owns the server."""
        for _ in range(rounds):
            self.loop.dispatch()

    def wait(self, seconds: float) -> None:
        """Time passes, the loop turns."""
        self.clock.now_s += seconds
        self.turn()

    def connect(self) -> socket.socket:
        """A client that does not block."""
        self.clients.append(connected(str(self.path)))
        return self.clients[-1]

    def connected(self, data: bytes = b"") -> socket.socket:
        """A client that has been accepted and has said `data`."""
        client = self.connect()
        if data:
            client.sendall(data)
        self.turn()
        return client

    def heard(self, client: socket.socket) -> bytes | None:
        """What a client has been told since the last time; None if it was hung up on."""
        found = b""
        while True:
            try:
                part = client.recv(1 << 16)
            except BlockingIOError:
                return found
            except ConnectionResetError:
                part = b""
            if not part:
                return found or None
            found += part

    def ask(self, data: bytes, rounds: int = 4) -> list[Any]:
        """What a client is answered that says `data` and no more."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            client.setblocking(False)
            self.turn(rounds)
            return [json.loads(line) for line in (self.heard(client) or b"").splitlines()]

    def works(self) -> bool:
        """Whether a well-behaved client is served."""
        return self.ask(b'{"do": "echo", "n": 7}\n') == [{"echo": {"do": "echo", "n": 7}}]

    def close(self) -> None:
        self.server.close()
        self.loop.close()
        for client in self.clients:
            client.close()
