"""The server side of vfio-user: one client's session with one device."""

import errno
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

from ixyfwd.vfiouser.channel import Channel, ChannelClosed, close_fds
from ixyfwd.vfiouser.protocol import (
    DEVICE_FLAG_PCI,
    DEVICE_FLAG_RESET,
    ERROR,
    HEADER_BYTES,
    IRQS,
    MAX_TRANSFER_BYTES,
    NO_REPLY,
    REGIONS,
    TYPE_REPLY,
    Access,
    DeviceInfo,
    DmaMapping,
    Header,
    IrqInfo,
    IrqSet,
    Message,
    ProtocolError,
    RegionInfo,
    RequestError,
    VfioUserCommand,
    unpack_region_info_request,
)
from ixyfwd.vfiouser.version import MAJOR, Version, our_version
from ixyfwd.vfiouser.writes import pack_count, unpack_writes

MESSAGES_AT_A_TIME = 256  # then other sockets get their turn


class ServedDevice(Protocol):
    """The device that a session serves. Every method may raise RequestError, which becomes the error reply."""

    def region_info(self, index: int) -> RegionInfo:
        """The region `index` (`Region`)."""

    def irq_info(self, index: int) -> IrqInfo:
        """The interrupt kind `index` (`Irq`)."""

    def region_read(self, region: int, offset: int, count: int) -> bytes:
        """Read `count` bytes at `offset` of a region."""

    def region_write(self, region: int, offset: int, data: bytes) -> None:
        """Write `data` at `offset` of a region."""

    def dma_map(self, mapping: DmaMapping, fd: int | None) -> None:
        """Map memory for DMA. `fd` stays the session's; a device that keeps it duplicates it."""

    def dma_unmap(self, address: int, size: int) -> None:
        """Take the mapping of `size` bytes at the device address `address` back."""

    def dma_unmap_all(self) -> None:
        """Take all mappings back."""

    def set_irqs(self, request: IrqSet, fds: tuple[int, ...]) -> None:
        """Set interrupts up. `fds` stay the session's; a device that keeps one duplicates it."""

    def reset(self) -> None:
        """Reset the device (function-level reset)."""


class Session:
    """A session that answers a client's messages; `device` None: its only answer is that the device is busy."""

    def __init__(self, channel: Channel, device: ServedDevice | None, name: str) -> None:
        self.channel = channel
        self._device = device
        self._name = name
        self._negotiated = False
        self._reply_fds: tuple[int, ...] = ()

    def serve(self) -> bool:
        """Answer the messages that have arrived. False: the connection is over (the owner closes it). Never raises."""
        try:
            self.channel.flush()
            for _ in range(MESSAGES_AT_A_TIME):
                message = self.channel.receive()
                if message is None:
                    return True
                try:
                    if not self._answer(message):
                        return False
                finally:
                    close_fds(message.fds)
        except ChannelClosed:
            return False
        except ProtocolError as error:
            sys.stderr.write(f"ixyfwd model: {self._name}: client dropped: {error}\n")
            return False
        return True

    def _answer(self, message: Message) -> bool:
        header = message.header
        if header.is_reply:
            raise ProtocolError("a reply came to no request")
        if not self._negotiated:
            return self._negotiate(message)
        self._reply_fds = ()
        try:
            payload = self._handle(message)
        except RequestError as error:
            self._reply(header, error=error.errno)
        else:
            self._reply(header, payload)
        return True

    def _handle(self, message: Message) -> bytes:
        handler = _HANDLERS.get(message.header.command)
        if handler is None or self._device is None:
            raise RequestError(errno.ENOTSUP, f"command {message.header.command} is not supported")
        try:
            return handler(self, message, self._device)
        except (RequestError, ProtocolError):
            raise
        except Exception as error:  # a mistake in the model must cost an answer, not the process
            name = VfioUserCommand(message.header.command).name
            sys.stderr.write(f"ixyfwd model: {self._name}: {name} failed: {type(error).__name__}: {error}\n")
            raise RequestError(errno.EIO, f"{name} failed") from error

    def _reply(self, header: Header, payload: bytes = b"", error: int | None = None) -> None:
        if header.flags & NO_REPLY:
            return
        flags = TYPE_REPLY | (0 if error is None else ERROR)
        answer = Header(header.message_id, header.command, HEADER_BYTES + len(payload), flags, error or 0)
        self.channel.send(answer, payload, self._reply_fds if error is None else ())

    def _negotiate(self, message: Message) -> bool:
        if message.header.command != VfioUserCommand.VERSION:
            raise ProtocolError(f"the first message is command {message.header.command}, expected VERSION")
        asked = Version.unpack(message.payload)
        if self._device is None:
            self._reply(message.header, error=errno.EBUSY)
            return False
        if asked.major != MAJOR:
            self._reply(message.header, error=errno.EINVAL)
            return False
        # Capabilities of an answer are a subset of those proposed; the limits are ours to state.
        self._reply(message.header, our_version(write_multiple=asked.write_multiple).pack())
        self._negotiated = True
        return True

    # Requests, one method each: take the message, give the reply's payload

    def _device_info(self, message: Message, device: ServedDevice) -> bytes:
        return DeviceInfo(DEVICE_FLAG_RESET | DEVICE_FLAG_PCI, REGIONS, IRQS).pack()

    def _region_info(self, message: Message, device: ServedDevice) -> bytes:
        index, argsz = unpack_region_info_request(message.payload)
        if index >= REGIONS:
            raise RequestError(errno.EINVAL, f"there is no region {index}")
        info = device.region_info(index)
        payload = info.pack(argsz)
        if info.fd is not None and argsz >= len(info.pack(1 << 32)):
            self._reply_fds = (info.fd,)
        return payload

    def _irq_info(self, message: Message, device: ServedDevice) -> bytes:
        index = IrqInfo.unpack(message.payload).index
        if index >= IRQS:
            raise RequestError(errno.EINVAL, f"there is no interrupt kind {index}")
        return device.irq_info(index).pack()

    def _set_irqs(self, message: Message, device: ServedDevice) -> bytes:
        device.set_irqs(IrqSet.unpack(message.payload), message.fds)
        return b""

    def _region_read(self, message: Message, device: ServedDevice) -> bytes:
        access = Access.unpack(message.payload)
        _check_count(access.count)
        data = device.region_read(access.region, access.offset, access.count)
        return Access(access.region, access.offset, len(data), data).pack()

    def _region_write(self, message: Message, device: ServedDevice) -> bytes:
        access = Access.unpack(message.payload)
        _check_count(access.count)
        if len(access.data) < access.count:
            raise RequestError(errno.EINVAL, f"a write of {access.count} bytes carries {len(access.data)}")
        device.region_write(access.region, access.offset, access.data[: access.count])
        return Access(access.region, access.offset, access.count).pack()

    def _region_write_multiple(self, message: Message, device: ServedDevice) -> bytes:
        writes = unpack_writes(message.payload)
        for done, write in enumerate(writes):
            try:
                device.region_write(write.region, write.offset, write.data)
            except RequestError:
                if done == 0:
                    raise
                return pack_count(done)
        return pack_count(len(writes))

    def _dma_map(self, message: Message, device: ServedDevice) -> bytes:
        if len(message.fds) > 1:
            raise RequestError(errno.EINVAL, f"a DMA mapping came with {len(message.fds)} files, expected at most one")
        device.dma_map(DmaMapping.unpack_map(message.payload), message.fds[0] if message.fds else None)
        return b""

    def _dma_unmap(self, message: Message, device: ServedDevice) -> bytes:
        mapping = DmaMapping.unpack_unmap(message.payload)
        if mapping.unmaps_all:
            device.dma_unmap_all()
        else:
            device.dma_unmap(mapping.address, mapping.size)
        return mapping.pack_unmap()

    def _reset(self, message: Message, device: ServedDevice) -> bytes:
        device.reset()
        return b""


# Outside of the class, so that a session is not a reference cycle: the model runs without the garbage collector.
_HANDLERS: Mapping[int, Callable[[Session, Message, ServedDevice], bytes]] = {
    VfioUserCommand.DMA_MAP: Session._dma_map,
    VfioUserCommand.DMA_UNMAP: Session._dma_unmap,
    VfioUserCommand.DEVICE_GET_INFO: Session._device_info,
    VfioUserCommand.DEVICE_GET_REGION_INFO: Session._region_info,
    VfioUserCommand.DEVICE_GET_IRQ_INFO: Session._irq_info,
    VfioUserCommand.DEVICE_SET_IRQS: Session._set_irqs,
    VfioUserCommand.REGION_READ: Session._region_read,
    VfioUserCommand.REGION_WRITE: Session._region_write,
    VfioUserCommand.REGION_WRITE_MULTI: Session._region_write_multiple,
    VfioUserCommand.DEVICE_RESET: Session._reset,
}


def _check_count(count: int) -> None:
    if not 0 < count <= MAX_TRANSFER_BYTES:
        raise RequestError(errno.EINVAL, f"an access has {count} bytes, expected 1 to {MAX_TRANSFER_BYTES}")
