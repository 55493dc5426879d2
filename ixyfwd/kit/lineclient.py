"""The client of a control socket: one request, one answer, one deadline for both."""

import json
import os
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.kit.jsonlines import ANSWER_BYTES_MAX, REQUEST_BYTES_MAX, dump_line

_ATTEMPTS: Final = 3
_CHUNK_BYTES: Final = 65536


@dataclass(frozen=True)
class Peer:
    """The process at the other end of the socket, as messages name it, and the errors for its failures."""

    name: str  # "instance 'a'"
    absent: str  # the beginning of the sentence when nothing listens: "no instance 'a' is running"
    advice: str  # the end of the sentence: what to do about it
    gone: type[IxyfwdError] = IxyfwdError  # nothing listens, or the connection broke
    late: type[IxyfwdError] = IxyfwdError  # no answer came in time


class _BrokenError(Exception):
    """The connection ended before the answer."""


class LineClient:
    """One connection, made when it is needed and made again if the server hung up between two requests.

    Its methods raise `peer.gone` if nothing listens or the connection breaks,
    `peer.late` if no answer comes in time, IxyfwdError with the peer's own sentence if
    the peer could not carry out the request, and UsageError for a request that is too
    long.
    """

    def __init__(self, path: str, peer: Peer, timeout_s: float) -> None:
        """Make a client without a connection. `timeout_s` bounds each request in seconds, connecting included."""
        self._path = path
        self._peer = peer
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._closed = False
        self._inbox = bytearray()

    def connect(self) -> None:
        """Connect now, to find out early whether the peer is there. Harmless when connected."""
        try:
            self._connected(self._timeout_s)
        except OSError as error:
            raise self._no_connection(error) from None

    def _connected(self, timeout_s: float) -> socket.socket:
        """The connection; a new one if there is none. Raises OSError."""
        if self._socket is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                # Blocking with a kernel timeout: a Python timeout would fail at once on a full backlog.
                limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1e6))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
                sock.connect(self._path)
            except BaseException:
                sock.close()
                raise
            self._socket = sock
            self._inbox.clear()
        return self._socket

    def _no_connection(self, error: OSError) -> IxyfwdError:
        peer = self._peer
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return peer.gone(f"{peer.absent} (nothing listens at {self._path}); {peer.advice}")
        if isinstance(error, PermissionError):
            return peer.gone(f"{self._path}: {peer.name} belongs to another user; do this as that user, or as root")
        if isinstance(error, BlockingIOError):
            within = f"within {round(self._timeout_s, 1):g} s"
            return peer.late(f"{peer.name} took no connection {within} (at {self._path}); {peer.advice}")
        return peer.gone(f"{peer.absent} (at {self._path}: {error.strerror or error}); {peer.advice}")

    def request(self, command: str, **more: object) -> dict[str, Any]:
        """The answer to a command; `more` are the other keys of the request.

        The request is sent again, on a new connection, if the server hung up without an
        answer: a server whose places are all taken does that to clients that it has not
        begun to serve. After a request without an answer in time, and after `close`,
        all requests fail at once.
        """
        if self._closed:
            raise self._peer.gone(f"the connection to {self._peer.name} is closed; {self._peer.advice}")
        line = dump_line({"do": command, **more})
        if len(line) > REQUEST_BYTES_MAX:
            raise UsageError(f"the request {command!r} has {len(line)} bytes, expected at most {REQUEST_BYTES_MAX}")
        deadline = time.monotonic() + self._timeout_s
        broken = self._let_stale_go()
        for _ in range(_ATTEMPTS):
            try:
                sock = self._connected(max(0.001, deadline - time.monotonic()))
            except OSError as error:
                if broken and isinstance(error, FileNotFoundError | ConnectionRefusedError):
                    break
                raise self._no_connection(error) from None
            try:
                answer = self._ask(sock, line, deadline)
            except TimeoutError:
                self.close()  # no second wait of this length, and the late answer is not taken for the next one
                within = f"within {round(self._timeout_s, 1):g} s"
                raise self._peer.late(
                    f"{self._peer.name} gave no answer to {command!r} {within}; {self._peer.advice}"
                ) from None
            except _BrokenError as error:
                self._hang_up()
                broken = str(error)
            else:
                return self._judge(command, answer)
        raise self._peer.gone(
            f"{self._peer.name} is gone: it hung up without an answer to {command!r} ({broken}); {self._peer.advice}"
        )

    def _ask(self, sock: socket.socket, line: bytes, deadline: float) -> bytes:
        with suppress(OSError):  # the server may have answered why it hangs up: the answer is read in any case
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            sock.sendall(line)
        return self._read_line(sock, deadline)

    def _read_line(self, sock: socket.socket, deadline: float) -> bytes:
        looked = 0
        while (end := self._inbox.find(b"\n", looked)) < 0:
            looked = len(self._inbox)
            if looked > ANSWER_BYTES_MAX:
                self.close()
                raise IxyfwdError(f"{self._peer.name} answers with a line of more than {ANSWER_BYTES_MAX} bytes")
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            sock.settimeout(left_s)
            try:
                data = sock.recv(_CHUNK_BYTES)
            except TimeoutError:
                raise
            except OSError as error:
                raise _BrokenError(os.strerror(error.errno or 0)) from None
            if not data:
                raise _BrokenError("end of file")
            self._inbox += data
        line = bytes(self._inbox[:end])
        del self._inbox[: end + 1]
        return line

    def _judge(self, command: str, line: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise IxyfwdError(f"{self._peer.name} answered {command!r}, but not with a JSON object")
        if "error" in answer and len(answer) == 1:
            raise IxyfwdError(f"{self._peer.name}: {answer['error']}")
        return answer

    def _let_stale_go(self) -> str:
        """How the connection broke since the last request; empty if it did not."""
        if self._socket is None or not _is_stale(self._socket):
            return ""
        self._hang_up()
        return "end of file"

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Close the connection for good; later requests fail. Harmless when called twice."""
        self._closed = True
        self._hang_up()


def _is_stale(sock: socket.socket) -> bool:
    """Whether the server has hung up, or sent bytes that answer no request."""
    try:
        sock.setblocking(False)
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
