"""The control socket of a model process: one JSON object a line, one line back for each.

Commands: {"do": "start"}, {"do": "stop"}, {"do": "stats"}, {"do": "feeds_done"}, {"do": "flows"},
{"do": "restart_latency"}, {"do": "link", "port": NAME, "up": BOOL},
{"do": "inject", "port": NAME, "kind": KIND, "parameters": {KEY: VALUE}},
{"do": "inject_off", "port": NAME, "kind": KIND} (without a kind: everything), {"do": "quit"}.
An answer is an object; {"error": "one sentence"} if the command was not carried out.
"""

import json
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.model.listener import Listener
from ixyfwd.model.loop import Loop

LINE_LIMIT_BYTES = 64 * 1024
UNREAD_LIMIT_BYTES = 16 << 20
Command = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class _Connection:
    """Bytes in, lines out; never blocks."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._inbox = bytearray()
        self.outbox = bytearray()

    def receive(self) -> list[bytes] | None:
        """Whole lines that have arrived; None at the end, or when a line is too long."""
        try:
            data = self.socket.recv(LINE_LIMIT_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        self._inbox += data
        *lines, rest = self._inbox.split(b"\n")
        self._inbox = bytearray(rest)
        return [bytes(line) for line in lines] if data and len(rest) <= LINE_LIMIT_BYTES else None

    def flush(self) -> bool:
        """Send what the socket takes; False if the peer is gone or reads nothing."""
        try:
            while self.outbox:
                del self.outbox[: self.socket.send(self.outbox, socket.MSG_NOSIGNAL)]
        except BlockingIOError:
            return len(self.outbox) <= UNREAD_LIMIT_BYTES
        except OSError:
            return False
        return True


class ControlServer:
    """`commands` maps the values of "do" to functions; what they raise as IxyfwdError becomes the answer."""

    def __init__(self, path: str, loop: Loop, commands: Mapping[str, Command]) -> None:
        """Raises what Listener raises."""
        self._loop = loop
        self._commands = commands
        self._listener = Listener(path)
        self._connections: dict[int, _Connection] = {}
        loop.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for sock in self._listener.accept():
            self._take(_Connection(sock))

    def _take(self, connection: _Connection) -> None:
        fd = connection.socket.fileno()
        self._connections[fd] = connection
        self._loop.watch(fd, lambda: self._serve(connection))

    def _serve(self, connection: _Connection) -> None:
        lines = connection.receive()
        for line in lines or ():
            connection.outbox += json.dumps(self._answer(line), separators=(",", ":")).encode() + b"\n"
        if connection.flush() and lines is not None:
            self._loop.wait_to_write(connection.socket.fileno(), bool(connection.outbox))
        else:
            self._end(connection)

    def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            request = json.loads(line)
            command = self._commands.get(request["do"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": 'a control line is no JSON object with a "do", such as {"do": "stats"}'}
        if command is None:
            return {"error": f"unknown command {request['do']!r}, expected one of {', '.join(self._commands)}"}
        try:
            return command(request)
        except IxyfwdError as error:
            return {"error": str(error)}
        except Exception as error:  # a mistake in the model must cost an answer, not the process
            print(f"ixyfwd model: {request['do']} failed: {type(error).__name__}: {error}", file=sys.stderr)
            return {"error": f"{request['do']} failed in the model: {type(error).__name__}: {error}"}

    def _end(self, connection: _Connection) -> None:
        fd = connection.socket.fileno()
        self._loop.forget(fd)
        del self._connections[fd]
        connection.socket.close()

    def close(self) -> None:
        """Send what can be sent, drop the connections, remove the socket."""
        for connection in list(self._connections.values()):
            connection.flush()
            self._end(connection)
        self._loop.forget(self._listener.fileno())
        self._listener.close()


def required(request: Mapping[str, Any], key: str, kind: type) -> Any:
    """A value of a request. Raises UsageError if it is missing or of another type."""
    value = request.get(key)
    if type(value) is not kind:
        raise UsageError(f'the command "{request["do"]}" needs "{key}" as a JSON {kind.__name__}, found {value!r}')
    return value
