"""The control socket: one JSON line in, one JSON line out, on a 0600 Unix socket. Never blocks the supervisor."""

import json
import os
import selectors
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_LONGEST_REQUEST_BYTES = 4096
_MOST_CLIENTS = 16

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


class ControlServer:
    """Listens at `path`; `handle(request)` gives each answer, or None: see `detach_waiting`.

    Broken requests are answered with an error.
    """

    def __init__(self, path: Path, selector: selectors.BaseSelector, handle: Handler) -> None:
        self._path = path
        self._selector = selector
        self._handle = handle
        self._buffers: dict[socket.socket, bytes] = {}
        self._waiting: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)  # the socket is 0600 from its first moment
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(mask)
        self._listener.listen(_MOST_CLIENTS)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if len(self._buffers) >= _MOST_CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._buffers[client] = b""
        self._selector.register(client, selectors.EVENT_READ, lambda: self._read(client))

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(_LONGEST_REQUEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        buffer = self._buffers[client] + data
        if not data or len(buffer) > _LONGEST_REQUEST_BYTES:
            self._drop(client)
            return
        *lines, self._buffers[client] = buffer.split(b"\n")
        for line in lines:
            if not self._answer(client, line):
                self._drop(client)
                return

    def _answer(self, client: socket.socket, line: bytes) -> bool:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("not an object")
        except ValueError as error:
            return _send(client, {"error": f"a request is one JSON object on one line ({error})"})
        answer = self._handle(request)
        if answer is None:
            self._waiting.append(client)
            return True
        return _send(client, answer)

    def detach_waiting(self) -> "Waiting":
        """Those whose request was put off; they are no longer this server's and outlive it."""
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            self._selector.unregister(client)
            del self._buffers[client]
        return Waiting(waiting)

    def _drop(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        del self._buffers[client]
        if client in self._waiting:
            self._waiting.remove(client)
        client.close()

    def close(self) -> None:
        """Hang up on everybody and remove the socket."""
        for client in list(self._buffers):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)


class Waiting:
    """Clients whose answer is still to come."""

    def __init__(self, clients: list[socket.socket]) -> None:
        self._clients = clients

    def answer(self, answer: Mapping[str, Any]) -> None:
        """Give all the same answer and hang up."""
        for client in self._clients:
            _send(client, answer)
            client.close()
        self._clients.clear()


def _send(client: socket.socket, answer: Mapping[str, Any]) -> bool:
    try:
        client.settimeout(0.2)  # an answer is a few KiB: a reader that does not take it is not worth waiting for
        client.sendall(json.dumps(answer).encode() + b"\n")
        client.setblocking(False)
    except OSError:
        return False
    return True
