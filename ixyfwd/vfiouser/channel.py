"""One end of a vfio-user connection: messages in and out of a stream socket, with their file descriptors."""

import array
import contextlib
import os
import socket
from collections import deque
from collections.abc import Sequence

from ixyfwd.vfiouser.protocol import HEADER_BYTES, MAX_MESSAGE_FDS, Header, Message, ProtocolError

OUTBOX_LIMIT_BYTES = 8 << 20
_FD_BYTES = array.array("i").itemsize
_ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_MESSAGE_FDS * _FD_BYTES)


class ChannelClosed(Exception):
    """The peer has closed the connection, or it broke."""


def close_fds(fds: Sequence[int]) -> None:
    """Close descriptors that came with a message and are not used."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


class Channel:
    """One end of a connection. It never blocks; the owner waits for the socket itself.

    Reads stop at message boundaries, so that descriptors surely belong to the message
    that they come with: the kernel delivers them with the first byte of the data that
    they were sent with, and a longer read would also return messages before it.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._buffer = bytearray()
        self._fds: list[int] = []
        self._header: Header | None = None
        self._outbox: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._outbox_bytes = 0

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._socket.fileno()

    @property
    def wants_to_send(self) -> bool:
        """Whether `flush` has work left; the owner then waits for writability."""
        return bool(self._outbox)

    def receive(self) -> Message | None:
        """The next whole message; None if it has not arrived yet.

        Raises ChannelClosed at the end of the stream, ProtocolError for bytes that are
        not a message.
        """
        if self._header is None:
            if not self._fill(HEADER_BYTES):
                return None
            self._header = Header.unpack(bytes(self._buffer))
            self._buffer.clear()
        if not self._fill(self._header.size - HEADER_BYTES):
            return None
        message = Message(self._header, bytes(self._buffer), tuple(self._fds))
        self._buffer.clear()
        self._fds = []
        self._header = None
        return message

    def _fill(self, wanted: int) -> bool:
        while len(self._buffer) < wanted:
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(
                    wanted - len(self._buffer), _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return False
            except OSError as error:
                raise ChannelClosed(str(error)) from None
            self._keep_fds(ancillary)
            if flags & socket.MSG_CTRUNC or len(self._fds) > MAX_MESSAGE_FDS:
                raise ProtocolError(f"a message carries more than {MAX_MESSAGE_FDS} file descriptors")
            if not data:
                raise ChannelClosed("end of stream")
            self._buffer += data
        return True

    def _keep_fds(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % _FD_BYTES])
                self._fds.extend(numbers)

    def send(self, header: Header, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Queue a message and send what the socket takes at once. `fds` stay the caller's.

        Raises ChannelClosed, and ProtocolError if the peer has left too much unread.
        """
        data = memoryview(header.pack() + payload)
        if self._outbox_bytes + len(data) > OUTBOX_LIMIT_BYTES:
            raise ProtocolError(f"the peer leaves more than {OUTBOX_LIMIT_BYTES} bytes of replies unread")
        self._outbox.append((data, tuple(fds)))
        self._outbox_bytes += len(data)
        self.flush()

    def flush(self) -> bool:
        """Send what is queued; returns True when all of it is sent. Raises ChannelClosed."""
        while self._outbox:
            data, fds = self._outbox.popleft()
            try:
                sent = self._send_some(data, fds)
            except BlockingIOError:
                self._outbox.appendleft((data, fds))
                return False
            except OSError as error:
                raise ChannelClosed(str(error)) from None
            self._outbox_bytes -= sent
            if sent < len(data):
                self._outbox.appendleft((data[sent:], ()))
        return True

    def _send_some(self, data: memoryview, fds: tuple[int, ...]) -> int:
        if not fds:
            return self._socket.send(data, socket.MSG_NOSIGNAL)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        return self._socket.sendmsg([data], rights, socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """Close the socket and descriptors that no message took. Harmless when called twice."""
        close_fds(self._fds)
        self._fds = []
        self._socket.close()
