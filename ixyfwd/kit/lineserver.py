"""A control socket: one JSON object in, one JSON object out, a line each. It never waits for a client.

A line that is not a request is answered with {"error": "one sentence"} and the
connection goes on. A line that is too long, or that takes too long to arrive, is
answered in the same way and the connection ends. The server hangs up on a client that
reads no answers or sends no request for too long. A client that connects when all
places are taken gets the place of one that never sent a whole line, else of the one
that has been silent for longest.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.kit.jsonlines import ANSWER_BYTES_MAX, REQUEST_BYTES_MAX, LineError, dump_line, parse_object
from ixyfwd.kit.linewaiting import Waiting
from ixyfwd.kit.listener import Listener
from ixyfwd.kit.loop import Loop

CommandHandler = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""A function that takes the request and returns the answer; None: it comes later (`LineServer.detach_waiting`)."""

_ACCEPTED_A_ROUND: Final = 8  # new clients, before those that are connected get their turn


@dataclass(frozen=True)
class ClientLimits:
    """Bounds on what one client may use, and on the number of clients. Times are in seconds."""

    request_bytes: int = REQUEST_BYTES_MAX
    answer_bytes: int = ANSWER_BYTES_MAX
    clients: int = 64
    settle_s: float = 0.25  # for which a new client keeps its place in any case
    line_s: float = 5.0  # from the first byte of a line to its end
    unread_s: float = 5.0  # without a byte of the answer taken
    idle_s: float = 300.0  # between two requests


class _Client:
    """A connection: bytes in, bytes out, and since when. Never blocks."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.accepted_s = self.moved_s = self.line_begun_s = now
        self.requests = 0
        self.waits = False  # for an answer that comes later
        self.ends = False  # its requests are no longer read

    @property
    def has_line(self) -> bool:
        return b"\n" in self.inbox

    def is_unheard(self) -> bool:
        """Whether its first bytes have arrived and the server has not read them yet."""
        if self.requests or self.inbox or self.outbox:
            return False
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def receive(self, most: int, now: float) -> None:
        """Take what has arrived. Raises OSError if the connection broke."""
        try:
            data = self.socket.recv(most)
        except BlockingIOError:
            return
        if not self.inbox:
            self.line_begun_s = now
        self.inbox += data
        self.ends = not data

    def take_line(self, now: float) -> bytes:
        """The next whole line."""
        line, _, rest = bytes(self.inbox).partition(b"\n")
        self.inbox = bytearray(rest)
        self.requests += 1
        self.moved_s = self.line_begun_s = now
        return line

    def flush(self, now: float) -> None:
        """Send what the socket takes. Raises OSError if the connection broke."""
        try:
            while self.outbox:
                del self.outbox[: self.socket.send(self.outbox, socket.MSG_NOSIGNAL)]
                self.moved_s = now
        except BlockingIOError:
            pass


class LineServer:
    """A control socket at `path` (0600); `commands` maps the values of "do" to functions.

    An IxyfwdError that they raise becomes the answer. So does any other exception,
    which `on_failure` is told of, once per command. Each client has one request carried
    out per `loop.dispatch`, and none while it leaves an answer unread.
    """

    def __init__(
        self,
        path: str,
        loop: Loop,
        commands: Mapping[str, CommandHandler],
        on_failure: Callable[[str], None],
        limits: ClientLimits = ClientLimits(),
    ) -> None:
        """Listen at `path`. Raises RefusedError, UsageError and IxyfwdError as `listener.Listener` does."""
        self._loop = loop
        self._commands = commands
        self._on_failure = on_failure
        self._limits = limits
        self._failed: set[str] = set()
        self._listener = Listener(path)
        self._clients: dict[int, _Client] = {}
        self._closed = self._paused = self._sweeping = False
        loop.watch(self._listener.fileno(), self._accept)

    def __len__(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    def _accept(self) -> None:
        """Take clients that wait to be connected, each in the place of another if all are taken."""
        for _ in range(_ACCEPTED_A_ROUND):
            is_full = len(self._clients) >= self._limits.clients
            leaves = self._least_active() if is_full else None
            if is_full and leaves is None:
                self._pause(True)
                return
            try:
                sock = self._listener.accept_one()
            except OSError:  # no descriptor is left
                self._pause(True)
                return
            if sock is None:
                return
            if leaves is not None:
                self._drop(leaves)
            client = _Client(sock, self._loop.clock())
            self._clients[sock.fileno()] = client
            self._loop.watch(sock.fileno(), partial(self._serve, client))
            self._sweep_later()

    def _least_active(self) -> _Client | None:
        """The client that never sent a whole line, else the one silent for longest; None if each is new or waits."""
        now = self._loop.clock()
        settled = [
            client
            for client in self._clients.values()
            if not client.waits and now - client.accepted_s >= self._limits.settle_s and not client.is_unheard()
        ]
        return min(settled, key=lambda client: (client.requests > 0, client.moved_s), default=None)

    def _pause(self, on: bool) -> None:
        """Accept no clients for now, or again; those that connect meanwhile wait in the kernel's queue."""
        self._paused = on
        self._loop.wait_for(self._listener.fileno(), read=not on, write=False)
        self._sweep_later()

    def _sweep_later(self) -> None:
        if not self._sweeping and (self._clients or self._paused):
            self._sweeping = True
            self._loop.call_at(self._loop.clock() + self._limits.settle_s, self._sweep)

    def _sweep(self) -> None:
        """Hang up on clients whose time is over."""
        self._sweeping = False
        if self._closed:
            return
        now, limits = self._loop.clock(), self._limits
        for client in list(self._clients.values()):
            if client.waits:
                continue
            if client.outbox:
                if now - client.moved_s > limits.unread_s:
                    self._drop(client)
            elif client.inbox and not client.has_line:
                if now - client.line_begun_s > limits.line_s:
                    self._refuse(client, f"the end of the line did not come within {limits.line_s:g} s")
                    self._go_on(client)
            elif now - client.moved_s > limits.idle_s:
                self._drop(client)
        if self._paused:
            self._pause(False)
        self._sweep_later()

    def _serve(self, client: _Client) -> None:
        now = self._loop.clock()
        if client.waits:  # it may send nothing while it waits, so this is its end
            self._drop(client)
            return
        try:
            if client.outbox:
                client.flush(now)
            elif not client.has_line:
                client.receive(self._limits.request_bytes, now)
        except OSError:
            self._drop(client)
            return
        if not client.outbox:
            self._carry_out(client, now)
        self._go_on(client)

    def _carry_out(self, client: _Client, now: float) -> None:
        """One request, if there is one."""
        limit = self._limits.request_bytes
        end = client.inbox.find(b"\n")
        if end > limit or (end < 0 and len(client.inbox) > limit):
            self._refuse(client, f"a line is longer than {limit} bytes")
        elif end >= 0:
            answer = self._answer(client.take_line(now))
            client.waits = answer is None
            client.outbox += answer or b""

    def _refuse(self, client: _Client, why: str) -> None:
        client.inbox.clear()
        client.outbox += dump_line({"error": why})
        client.ends = True

    def _go_on(self, client: _Client) -> None:
        """Send what can be sent, and wait for what is next."""
        try:
            client.flush(self._loop.clock())
        except OSError:
            self._drop(client)
            return
        fd = client.socket.fileno()
        if client.outbox or (client.has_line and not client.waits):
            self._loop.wait_for(fd, read=False, write=True)
        elif client.ends and not client.waits:
            self._drop(client)
        else:
            self._loop.wait_for(fd, read=not client.waits, write=False)

    def _answer(self, line: bytes) -> bytes | None:
        try:
            return self._run(parse_object(line))
        except LineError as error:
            example = f'{{"do": "{next(iter(self._commands))}"}}'
            return dump_line({"error": f"expected one JSON object on one line, such as {example}, found {error}"})
        except IxyfwdError as error:
            return dump_line({"error": str(error)})

    def _run(self, request: Mapping[str, Any]) -> bytes | None:
        """The answer to a request. Raises LineError, or IxyfwdError for all that goes wrong in a command."""
        name = request.get("do")
        if not isinstance(name, str):
            raise LineError('no "do" whose value is a string')
        if name not in self._commands:
            raise UsageError(f"unknown command {name!r}, expected one of {', '.join(self._commands)}")
        try:
            answer = self._commands[name](request)
            data = None if answer is None else dump_line(answer)
        except IxyfwdError:
            raise
        except Exception as error:  # a mistake in a command costs an answer, not the process
            raise self._failure(name, f"{type(error).__name__}: {error}") from None
        if data is not None and len(data) > self._limits.answer_bytes:
            raise self._failure(name, f"its answer has {len(data)} bytes")
        return data

    def _failure(self, name: str, why: str) -> IxyfwdError:
        text = f"the command {name!r} failed: {why}"
        if name not in self._failed:
            self._failed.add(name)
            self._on_failure(text)
        return IxyfwdError(text)

    def detach_waiting(self) -> Waiting:
        """The clients whose answer comes later; they are no longer this server's and outlive it."""
        waiting = [client for client in self._clients.values() if client.waits]
        for client in waiting:
            self._forget(client)
        return Waiting([client.socket for client in waiting])

    def _forget(self, client: _Client) -> None:
        fd = client.socket.fileno()
        self._loop.forget(fd)
        del self._clients[fd]

    def _drop(self, client: _Client) -> None:
        self._forget(client)
        client.socket.close()

    def close(self) -> None:
        """Hang up on all clients and remove the socket. Answers that are in the sockets' buffers still arrive."""
        self._closed = True
        for client in list(self._clients.values()):
            self._drop(client)
        self._loop.forget(self._listener.fileno())
        self._listener.close()
