"""The client against servers that misbehave; for one that behaves see tests/model/fronts/test_server.py, tests/pci."""

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ixyfwd.errors import DeviceGoneError, DeviceTimeoutError, RefusedError, UsageError
from ixyfwd.vfiouser.channel import Channel, ChannelClosed
from ixyfwd.vfiouser.client import Client
from ixyfwd.vfiouser.protocol import (
    ERROR,
    HEADER_BYTES,
    TYPE_REPLY,
    Access,
    DeviceInfo,
    Header,
    Message,
    ProtocolError,
    RequestError,
    VfioUserCommand,
)
from ixyfwd.vfiouser.version import Version, our_version

Script = Callable[[Channel, Message], None]


def reply(channel: Channel, to: Message, payload: bytes = b"", error: int | None = None, **changes: int) -> None:
    header = to.header
    flags = TYPE_REPLY | (0 if error is None else ERROR)
    fields = {"message_id": header.message_id, "command": header.command, **changes}
    channel.send(Header(size=HEADER_BYTES + len(payload), flags=flags, error=error or 0, **fields), payload)


def well_behaved(channel: Channel, message: Message) -> None:
    if message.header.command == VfioUserCommand.VERSION:
        reply(channel, message, our_version().pack())
    elif message.header.command == VfioUserCommand.DEVICE_GET_INFO:
        reply(channel, message, DeviceInfo(3, 9, 5).pack())


class Server:
    """Accepts one client and hands each message to a script; `script` may be changed between requests."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.script: Script = well_behaved
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._stop, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        import select

        if self._listener not in select.select([self._listener, self._stop], [], [])[0]:
            return
        channel = Channel(self._listener.accept()[0])
        try:
            while not select.select([self._stop], [], [], 0)[0]:
                select.select([channel.fileno(), self._stop.fileno()], [], [])
                while (message := channel.receive()) is not None:
                    self.script(channel, message)
        except ChannelClosed:
            pass
        finally:
            channel.close()

    def close(self) -> None:
        self._wake.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._listener.close()
        self._stop.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "s")
    yield found
    found.close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    found = Client(server.path, "vfio-user:here", timeout_s=0.2)
    yield found
    found.close()


def test_negotiation(client: Client) -> None:
    assert client.version == our_version()
    assert client.device_info() == DeviceInfo(3, 9, 5)


def test_no_such_socket(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"vfio-user:x: there is no socket .*/none"):
        Client(str(tmp_path / "none"), "vfio-user:x")


def test_not_a_socket(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a socket"):
        Client(str(tmp_path / "file"), "vfio-user:x")


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with pytest.raises(DeviceGoneError, match="no process listens"):
        Client(str(tmp_path / "s"), "vfio-user:x")


def test_path_too_long_for_a_socket() -> None:
    with pytest.raises(UsageError, match="vfio-user:x"):
        Client("/tmp/" + "x" * 300, "vfio-user:x")


def test_in_use(server: Server) -> None:
    server.script = lambda channel, message: reply(channel, message, error=errno.EBUSY)
    with pytest.raises(RefusedError, match="vfio-user:x is in use"):
        Client(server.path, "vfio-user:x")


def test_other_major_version(server: Server) -> None:
    server.script = lambda channel, message: reply(channel, message, Version(7).pack())
    with pytest.raises(ProtocolError, match="vfio-user 7, expected 0"):
        Client(server.path, "vfio-user:x")


def test_silence_is_a_timeout_that_names_address_and_request(server: Server, client: Client) -> None:
    server.script = lambda channel, message: None
    with pytest.raises(DeviceTimeoutError, match=r"vfio-user:here: no answer to REGION_READ within 0\.2 s"):
        client.region_read(0, 8, 4)


def test_after_one_silence_nothing_is_waited_for_again(server: Server, client: Client) -> None:
    server.script = lambda channel, message: None
    with pytest.raises(DeviceTimeoutError):
        client.region_read(0, 8, 4)
    server.script = lambda channel, message: reply(channel, message, Access(0, 8, 4, bytes(4)).pack())
    with pytest.raises(DeviceGoneError, match=r"REGION_READ was not answered within 0\.2 s"):
        client.region_read(0, 8, 4)


def test_error_replies_carry_their_reason(server: Server, client: Client) -> None:
    server.script = lambda channel, message: reply(channel, message, error=errno.ENOSPC)
    with pytest.raises(RequestError, match="refused DMA_UNMAP: No space left") as caught:
        client.dma_unmap(0, 4096)
    assert caught.value.errno == errno.ENOSPC


def test_the_answer_to_something_else(server: Server, client: Client) -> None:
    server.script = lambda channel, message: reply(channel, message, message_id=message.header.message_id ^ 1)
    with pytest.raises(ProtocolError, match="another request"):
        client.reset()
    with pytest.raises(DeviceGoneError, match="broke the protocol"):
        client.reset()


def test_a_short_answer(server: Server, client: Client) -> None:
    server.script = lambda channel, message: reply(channel, message, b"1234")
    with pytest.raises(ProtocolError, match=r"vfio-user:here: .*4 bytes, expected at least 16"):
        client.region_read(0, 8, 4)


def test_an_answer_with_too_little_data(server: Server, client: Client) -> None:
    server.script = lambda channel, message: reply(channel, message, Access(0, 8, 4, b"12").pack())
    with pytest.raises(ProtocolError, match="read of 4 bytes was answered with 2"):
        client.region_read(0, 8, 4)


def test_garbage(server: Server, client: Client) -> None:
    def garbage(channel: Channel, message: Message) -> None:
        channel.send(Header(1, 2, 3))

    server.script = garbage
    with pytest.raises(ProtocolError, match="vfio-user:here: in answer to DEVICE_RESET"):
        client.reset()


def test_server_goes_away(server: Server, client: Client) -> None:
    def leave(channel: Channel, message: Message) -> None:
        raise ChannelClosed("bye")

    server.script = leave
    with pytest.raises(DeviceGoneError, match="closed the connection during DEVICE_RESET"):
        client.reset()
    with pytest.raises(DeviceGoneError, match="REGION_READ cannot be sent"):
        client.region_read(0, 0, 4)


def test_a_server_that_asks_for_our_memory_is_told_no(server: Server, client: Client) -> None:
    answers: list[Message] = []

    def ask_back(channel: Channel, message: Message) -> None:
        if message.header.is_reply:
            answers.append(message)
            return
        channel.send(Header(77, VfioUserCommand.DMA_READ, HEADER_BYTES + 16), bytes(16))
        reply(channel, message)

    server.script = ask_back
    client.reset()
    client.reset()
    assert answers[0].header == Header(77, VfioUserCommand.DMA_READ, HEADER_BYTES, TYPE_REPLY | ERROR, errno.ENOTSUP)


def test_descriptors_nobody_wants_are_closed(server: Server, client: Client) -> None:
    before = len(os.listdir("/proc/self/fd"))
    fd = os.memfd_create("x")

    def generous(channel: Channel, message: Message) -> None:
        header = message.header
        channel.send(Header(header.message_id, header.command, HEADER_BYTES, TYPE_REPLY), b"", [fd])

    server.script = generous
    client.reset()
    os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before
