"""The client of a vfio-user server: requests with an answer within a time limit."""

import errno
import os
import select
import socket
import stat
import struct
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from ixyfwd.errors import DeviceError, DeviceGoneError, DeviceTimeoutError, RefusedError, UsageError
from ixyfwd.vfiouser.channel import Channel, ChannelClosed, close_fds
from ixyfwd.vfiouser.protocol import (
    ERROR,
    HEADER_BYTES,
    NO_REPLY,
    TYPE_COMMAND,
    TYPE_REPLY,
    Access,
    DeviceInfo,
    DmaMapping,
    Header,
    IrqFlag,
    IrqInfo,
    IrqSet,
    Message,
    ProtocolError,
    RegionInfo,
    RequestError,
    VfioUserCommand,
    pack_region_info_request,
    region_info_argsz,
)
from ixyfwd.vfiouser.version import MAJOR, Version, our_version
from ixyfwd.vfiouser.writes import pack_writes, unpack_count

TIMEOUT_S = 2.0
_REGION_INFO_BYTES = 32
_REGION_INFO_LIMIT_BYTES = 4096
_Parsed = TypeVar("_Parsed")


class Client:
    """A connection to one device.

    Every message of an error begins with `name`, the device's address. Requests raise
    RequestError if the server refuses, ProtocolError for an answer that vfio-user does
    not allow, DeviceTimeoutError if no answer comes in time and DeviceGoneError once
    the connection is lost.
    """

    def __init__(self, path: str, name: str, timeout_s: float = TIMEOUT_S) -> None:
        """Connect and negotiate. `timeout_s` bounds each request in seconds.

        Raises UsageError if there is no such socket, RefusedError if another client has
        the device, DeviceGoneError if no process listens, DeviceTimeoutError if the
        server does not answer.
        """
        self._name = name
        self._timeout_s = timeout_s
        self._next_id = 0
        self._broken: str | None = None
        self._channel = Channel(connect(path, name, timeout_s))
        self._readable = select.poll()
        self._readable.register(self._channel.fileno(), select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._channel.fileno(), select.POLLOUT)
        try:
            self.version = self._negotiate()
        except BaseException:
            self.close()
            raise

    def _negotiate(self) -> Version:
        try:
            reply = self._request(VfioUserCommand.VERSION, our_version().pack())
        except RequestError as error:
            if error.errno == errno.EBUSY:
                sentence = f"{self._name} is in use: its server already has a client, which must stop first"
                raise RefusedError(sentence) from None
            raise
        version = self._parse(Version.unpack, reply)
        if version.major != MAJOR:
            raise ProtocolError(f"{self._name}: the server speaks vfio-user {version.major}, expected {MAJOR}")
        return version

    # Requests, one method each

    def device_info(self) -> DeviceInfo:
        """What the device is, and how many regions and interrupt kinds it has."""
        return self._parse(
            DeviceInfo.unpack, self._request(VfioUserCommand.DEVICE_GET_INFO, DeviceInfo(0, 0, 0).pack())
        )

    def region_info(self, index: int) -> RegionInfo:
        """A region with its mappable areas and, if it has some, the file to map them from, which the caller owns."""
        reply = self._ask_region(index, _REGION_INFO_BYTES)
        needed = self._parse(region_info_argsz, reply)
        if needed > _REGION_INFO_BYTES:
            close_fds(reply.fds)
            reply = self._ask_region(index, min(needed, _REGION_INFO_LIMIT_BYTES))
        fd = reply.fds[0] if reply.fds else None
        close_fds(reply.fds[1:])
        try:
            return self._parse(lambda data: RegionInfo.unpack(data, fd), reply)
        except ProtocolError:
            close_fds(reply.fds[:1])
            raise

    def _ask_region(self, index: int, argsz: int) -> Message:
        payload = pack_region_info_request(index, argsz)
        return self._request(VfioUserCommand.DEVICE_GET_REGION_INFO, payload, keep_fds=True)

    def irq_info(self, index: int) -> IrqInfo:
        """An interrupt kind (`Irq`): how many vectors it has."""
        request = IrqInfo(index, IrqFlag(0), 0)
        return self._parse(IrqInfo.unpack, self._request(VfioUserCommand.DEVICE_GET_IRQ_INFO, request.pack()))

    def set_irqs(self, request: IrqSet, fds: Sequence[int] = ()) -> None:
        """Set interrupts up; `fds` are the eventfds that the request speaks of, which stay the caller's."""
        self._request(VfioUserCommand.DEVICE_SET_IRQS, request.pack(), fds)

    def region_read(self, region: int, offset: int, count: int) -> bytes:
        """Read `count` bytes at `offset` of a region. Raises RequestError if the server refuses."""
        reply = self._request(VfioUserCommand.REGION_READ, Access(region, offset, count).pack())
        answer = self._parse(Access.unpack, reply)
        if len(answer.data) != count:
            raise ProtocolError(f"{self._name}: a read of {count} bytes was answered with {len(answer.data)}")
        return answer.data

    def region_write(self, region: int, offset: int, data: bytes, *, posted: bool = False) -> None:
        """Write `data` at `offset` of a region.

        `posted`: without an answer, as a write on PCI Express; the order with later
        requests is kept.
        """
        payload = Access(region, offset, len(data), data).pack()
        if posted:
            self._send(VfioUserCommand.REGION_WRITE, payload, (), NO_REPLY, self._deadline())
        else:
            self._request(VfioUserCommand.REGION_WRITE, payload)

    def region_write_multiple(self, writes: Sequence[Access]) -> None:
        """Write up to 8 bytes each, in order, in one message; for a server with `version.write_multiple`.

        Raises DeviceError if the server carried out some of the writes only.
        """
        reply = self._request(VfioUserCommand.REGION_WRITE_MULTI, pack_writes(writes))
        done = self._parse(unpack_count, reply)
        if done != len(writes):
            raise DeviceError(f"{self._name}: only {done} of {len(writes)} register writes were carried out")

    def dma_map(self, mapping: DmaMapping, fd: int | None) -> None:
        """Let the device reach a part of the file `fd`, which stays the caller's."""
        self._request(VfioUserCommand.DMA_MAP, mapping.pack_map(), () if fd is None else (fd,))

    def dma_unmap(self, address: int, size: int) -> None:
        """Take the mapping of `size` bytes at the device address `address` back."""
        self._request(VfioUserCommand.DMA_UNMAP, DmaMapping(address, size, flags=0).pack_unmap())

    def reset(self) -> None:
        """Reset the device (function-level reset)."""
        self._request(VfioUserCommand.DEVICE_RESET, b"")

    def close(self) -> None:
        """Close the connection; the server then frees all that this client had. Harmless when called twice."""
        if self._broken is None:
            self._broken = "it was closed"
        self._channel.close()

    # How a request travels

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout_s

    def _parse(self, parser: Callable[[bytes], _Parsed], message: Message) -> _Parsed:
        try:
            return parser(message.payload)
        except ProtocolError as error:
            raise ProtocolError(f"{self._name}: {error}") from None

    def _request(
        self, command: VfioUserCommand, payload: bytes, fds: Sequence[int] = (), *, keep_fds: bool = False
    ) -> Message:
        deadline = self._deadline()
        message_id = self._send(command, payload, fds, 0, deadline)
        reply = self._await_reply(command, message_id, deadline)
        if not keep_fds:
            close_fds(reply.fds)
        if reply.header.flags & ERROR:
            if keep_fds:
                close_fds(reply.fds)
            number = reply.header.error
            reason = os.strerror(number) if number else "no reason given"
            raise RequestError(number, f"{self._name}: the server refused {command.name}: {reason}")
        return reply

    def _send(self, command: VfioUserCommand, payload: bytes, fds: Sequence[int], flags: int, deadline: float) -> int:
        self._check_usable(command)
        self._next_id = message_id = (self._next_id + 1) & 0xFFFF
        header = Header(message_id, command, HEADER_BYTES + len(payload), TYPE_COMMAND | flags)
        try:
            self._channel.send(header, payload, fds)
            while not self._channel.flush():
                self._wait(self._writable, command, deadline)
        except ChannelClosed as error:
            raise self._gone(command, error) from None
        return message_id

    def _await_reply(self, command: VfioUserCommand, message_id: int, deadline: float) -> Message:
        while True:
            try:
                message = self._channel.receive()
            except ChannelClosed as error:
                raise self._gone(command, error) from None
            except ProtocolError as error:
                self._broken = "the server broke the protocol"
                raise ProtocolError(f"{self._name}: in answer to {command.name}, {error}") from None
            if message is None:
                self._wait(self._readable, command, deadline)
            elif not message.header.is_reply:
                self._decline(message)
            elif message.header.message_id != message_id or message.header.command != command:
                close_fds(message.fds)
                self._broken = "the server broke the protocol"
                raise ProtocolError(f"{self._name}: the answer to {command.name} belongs to another request")
            else:
                return message

    def _decline(self, message: Message) -> None:
        """All our memory is shared by descriptor, so a server has no reason to ask for DMA_READ or DMA_WRITE."""
        close_fds(message.fds)
        header = message.header
        if not header.flags & NO_REPLY:
            flags = TYPE_REPLY | ERROR
            self._channel.send(Header(header.message_id, header.command, HEADER_BYTES, flags, errno.ENOTSUP))

    def _wait(self, poll: select.poll, command: VfioUserCommand, deadline: float) -> None:
        left_ms = (deadline - time.monotonic()) * 1000
        if left_ms > 0 and poll.poll(left_ms):
            return
        # One missing answer is enough: an orderly stop has dozens of steps; waiting in each would take minutes.
        self._broken = f"{command.name} was not answered within {self._timeout_s:g} s"
        raise DeviceTimeoutError(
            f"{self._name}: no answer to {command.name} within {self._timeout_s:g} s; is its server stopped or stuck?"
        )

    def _check_usable(self, command: VfioUserCommand) -> None:
        if self._broken is not None:
            raise DeviceGoneError(
                f"{self._name}: {command.name} cannot be sent, the connection is lost: {self._broken}"
            )

    def _gone(self, command: VfioUserCommand, error: ChannelClosed) -> DeviceGoneError:
        self._broken = f"{error}"
        return DeviceGoneError(f"{self._name}: the server closed the connection during {command.name} ({error})")


def connect(path: str, name: str, timeout_s: float) -> socket.socket:
    """Connect a stream socket within `timeout_s` seconds.

    Raises UsageError if the path cannot be used, DeviceGoneError if no process listens,
    DeviceTimeoutError.
    """
    _check_socket_file(path, name)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    seconds, rest = divmod(timeout_s, 1)
    # A socket with a Python timeout would fail at once on a full backlog instead of waiting.
    limit = struct.pack("ll", int(seconds), int(rest * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise _connect_error(error, path, name, timeout_s) from None
    return sock


def _check_socket_file(path: str, name: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise UsageError(f"{name}: there is no socket {path}; start its server first, or correct the address") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: the socket {path} cannot be accessed: {error}") from None
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{name}: {path} is not a socket; give the path of a vfio-user server's socket")


def _connect_error(error: OSError, path: str, name: str, timeout_s: float) -> Exception:
    if isinstance(error, PermissionError):
        return UsageError(f"{name}: no permission to connect to {path}; run as the user who owns it")
    if isinstance(error, ConnectionRefusedError):
        return DeviceGoneError(f"{name}: no process listens on {path} any more; start its server again")
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return DeviceTimeoutError(f"{name}: {path} accepted no connection within {timeout_s:g} s; is its server stuck?")
    return UsageError(f"{name}: cannot connect to {path}: {error}")
