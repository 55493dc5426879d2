"""Messages of vfio-user: what is packed comes out again, what is no message is a ProtocolError and nothing else."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.vfiouser.channel import Channel, ChannelClosed, close_fds
from ixyfwd.vfiouser.protocol import (
    HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_MESSAGE_FDS,
    NO_REPLY,
    TYPE_REPLY,
    Access,
    DeviceInfo,
    DmaMapping,
    Header,
    IrqAction,
    IrqFlag,
    IrqInfo,
    IrqSet,
    Message,
    ProtocolError,
    RegionFlag,
    RegionInfo,
    RequestError,
    pack_region_info_request,
    region_info_argsz,
    unpack_region_info_request,
)
from ixyfwd.vfiouser.version import Version, our_version
from ixyfwd.vfiouser.writes import pack_writes, unpack_writes

U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
AREAS = st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 2**20)), max_size=8).map(tuple)


@given(U16, U16, st.integers(HEADER_BYTES, MAX_MESSAGE_BYTES), st.sampled_from([0, 1, 0x10, 0x21]), U32)
def test_header_round_trip(message_id: int, command: int, size: int, flags: int, error: int) -> None:
    header = Header(message_id, command, size, flags, error)
    assert Header.unpack(header.pack()) == header
    assert len(header.pack()) == HEADER_BYTES


@given(AREAS, U32)
def test_region_info_round_trip(areas: tuple[tuple[int, int], ...], offset: int) -> None:
    flags = RegionFlag.READ | RegionFlag.WRITE | (RegionFlag.MMAP | RegionFlag.CAPS if areas else RegionFlag(0))
    info = RegionInfo(0, 2**33, flags, offset, areas)
    packed = info.pack(1 << 20)
    assert RegionInfo.unpack(packed) == info
    assert region_info_argsz(packed) == len(packed)


def test_region_info_without_room_says_what_it_needs() -> None:
    info = RegionInfo(0, 0x80000, RegionFlag.MMAP | RegionFlag.CAPS, 0, ((0x1000, 0x1000),))
    short = info.pack(32)
    assert len(short) == 32
    assert region_info_argsz(short) == len(info.pack(1000)) == 32 + 8 + 8 + 16
    assert RegionInfo.unpack(short).areas == ()


@given(U32, U64, st.binary(max_size=64))
def test_access_round_trip(region: int, offset: int, data: bytes) -> None:
    access = Access(region, offset, len(data), data)
    assert Access.unpack(access.pack()) == access


@given(st.lists(st.builds(lambda r, o, d: Access(r, o, len(d), d), U32, U64, st.binary(max_size=8)), max_size=20))
def test_multiple_writes_round_trip(writes: list[Access]) -> None:
    assert unpack_writes(pack_writes(writes)) == writes


@given(U64, U64, U64, U32)
def test_dma_mapping_round_trip(address: int, size: int, offset: int, flags: int) -> None:
    mapping = DmaMapping(address, size, offset, flags)
    assert DmaMapping.unpack_map(mapping.pack_map()) == mapping
    assert len(mapping.pack_map()) == 32  # the protocol's figure
    assert DmaMapping.unpack_unmap(mapping.pack_unmap()) == DmaMapping(address, size, 0, flags)


def test_small_structures_round_trip() -> None:
    device = DeviceInfo(3, 9, 5)
    irq = IrqInfo(2, IrqFlag.EVENTFD, 64)
    lines = IrqSet(IrqAction.DATA_BOOL | IrqAction.TRIGGER, 2, 1, 3, b"\1\0\1")
    assert DeviceInfo.unpack(device.pack()) == device
    assert IrqInfo.unpack(irq.pack()) == irq
    assert IrqSet.unpack(lines.pack()) == lines
    assert unpack_region_info_request(pack_region_info_request(7, 32)) == (7, 32)


@given(st.binary(max_size=200))
def test_parsers_raise_nothing_but_their_own_errors(data: bytes) -> None:
    parsers = (
        *(Header.unpack, DeviceInfo.unpack, RegionInfo.unpack, IrqInfo.unpack, IrqSet.unpack, Access.unpack),
        *(DmaMapping.unpack_map, DmaMapping.unpack_unmap, unpack_writes, unpack_region_info_request, Version.unpack),
    )
    for parser in parsers:
        try:
            parser(data)
        except (ProtocolError, RequestError) as error:
            assert str(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda s: (
            st.lists(s)
            | st.dictionaries(st.sampled_from(["capabilities", "max_msg_fds", "max_data_xfer_size", "pgsizes", "x"]), s)
        ),
        max_leaves=10,
    )
)
def test_any_version_json_is_taken_or_refused(data: object) -> None:
    import json

    try:
        Version.unpack(b"\0\0\0\0" + json.dumps(data).encode() + b"\0")
    except ProtocolError as error:
        assert "version message" in str(error) or "capability" in str(error)


def test_version_defaults_are_the_protocols() -> None:
    assert Version.unpack(b"\0\0\0\0") == Version(0, 0, 1, 1 << 20, 65535, 4096, False)
    assert Version.unpack(b"\0\0\1\0{}\0") == Version(0, 1)
    qemu = b'\0\0\0\0{"capabilities":{"max_msg_fds":8,"max_data_xfer_size":1048576,"write_multiple":true}}\0'
    assert Version.unpack(qemu) == Version(0, 0, 8, 1 << 20, write_multiple=True)
    assert Version.unpack(our_version().pack()) == our_version()


def test_a_capability_chain_that_loops_is_refused() -> None:
    packed = bytearray(RegionInfo(0, 0x1000, RegionFlag.CAPS, 0, ((0, 0x1000),)).pack(1000))
    packed[36:40] = (32).to_bytes(4, "little")  # the capability's successor is the capability
    with pytest.raises(ProtocolError, match="does not end"):
        RegionInfo.unpack(bytes(packed))


def test_an_area_behind_the_region_is_refused() -> None:
    packed = RegionInfo(0, 0x1000, RegionFlag.CAPS, 0, ((0x1000, 0x1000),)).pack(1000)
    with pytest.raises(ProtocolError, match=r"0x2000.*0x1000"):
        RegionInfo.unpack(packed)


# Framing


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def message(payload: bytes = b"", message_id: int = 1, flags: int = 0) -> bytes:
    return Header(message_id, 9, HEADER_BYTES + len(payload), flags).pack() + payload


def expect(channel: Channel) -> Message:
    found = channel.receive()
    assert found is not None
    return found


def test_a_message_that_comes_byte_by_byte(ends: tuple[Channel, socket.socket]) -> None:
    channel, peer = ends
    data = message(b"hello", flags=NO_REPLY)
    for byte in data[:-1]:
        peer.send(bytes([byte]))
        assert channel.receive() is None
    peer.send(data[-1:])
    assert expect(channel) == Message(Header(1, 9, len(data), NO_REPLY), b"hello")


def test_messages_that_come_together(ends: tuple[Channel, socket.socket]) -> None:
    channel, peer = ends
    peer.send(message(b"one", 1) + message(b"", 2) + message(b"three", 3))
    assert [expect(channel).payload for _ in range(3)] == [b"one", b"", b"three"]
    assert channel.receive() is None


def test_descriptors_belong_to_their_message(ends: tuple[Channel, socket.socket]) -> None:
    """Also when earlier and later messages without any are in the stream already."""
    channel, peer = ends
    fd = os.memfd_create("x")
    peer.send(message(b"before", 1))
    socket.send_fds(peer, [message(b"with", 2)], [fd, fd])
    peer.send(message(b"after", 3))
    found = [expect(channel) for _ in range(3)]
    assert [len(m.fds) for m in found] == [0, 2, 0]
    assert all(os.fstat(n).st_ino == os.fstat(fd).st_ino for n in found[1].fds)
    assert all(not os.get_inheritable(n) for n in found[1].fds)
    close_fds((fd, *found[1].fds))


def test_too_many_descriptors_are_refused_and_closed(ends: tuple[Channel, socket.socket]) -> None:
    channel, peer = ends
    before = len(os.listdir("/proc/self/fd"))
    fd = os.memfd_create("x")
    socket.send_fds(peer, [message(b"many")], [fd] * (MAX_MESSAGE_FDS + 1))
    os.close(fd)
    with pytest.raises(ProtocolError, match="64 file descriptors"):
        channel.receive()
    channel.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1  # the channel's own socket is gone too


@pytest.mark.parametrize("size", [0, 15, MAX_MESSAGE_BYTES + 1, 2**32 - 1])
def test_impossible_sizes(ends: tuple[Channel, socket.socket], size: int) -> None:
    channel, peer = ends
    peer.send(Header(1, 9, size).pack())
    with pytest.raises(ProtocolError, match=f"announces {size} bytes"):
        channel.receive()


def test_impossible_type(ends: tuple[Channel, socket.socket]) -> None:
    channel, peer = ends
    peer.send(message(flags=2))
    with pytest.raises(ProtocolError, match="type 2"):
        channel.receive()


def test_end_of_stream(ends: tuple[Channel, socket.socket]) -> None:
    channel, peer = ends
    peer.send(message(b"whole") + message(b"half")[:-2])
    peer.close()
    assert expect(channel).payload == b"whole"
    with pytest.raises(ChannelClosed):
        channel.receive()


def test_a_reader_that_is_slow_gets_everything_in_order(ends: tuple[Channel, socket.socket]) -> None:
    channel, peer = ends
    payload = bytes(range(256)) * 400
    header = Header(1, 9, HEADER_BYTES + len(payload), TYPE_REPLY)
    for _ in range(20):
        channel.send(header, payload)
    assert channel.wants_to_send
    got = b""
    while len(got) < 20 * header.size:
        got += peer.recv(65536)
        channel.flush()
    assert got == (header.pack() + payload) * 20
    assert not channel.wants_to_send


def test_a_reader_that_never_reads_is_given_up(ends: tuple[Channel, socket.socket]) -> None:
    channel, _ = ends
    payload = bytes(1 << 20)
    with pytest.raises(ProtocolError, match="unread"):
        for _ in range(20):
            channel.send(Header(1, 9, HEADER_BYTES + len(payload), TYPE_REPLY), payload)
