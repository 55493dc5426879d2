"""Client and server over a real socket, on a data path that moves nothing: every request, and bad manners."""

import errno
import json
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.errors import DeviceGoneError, DeviceTimeoutError, IxyfwdError, RefusedError
from ixyfwd.kit.loop import Loop
from ixyfwd.model.client import ModelClient
from ixyfwd.model.fronts.server import REST_S, PortServer
from ixyfwd.model.spec import ModelSpec
from ixyfwd.vfiouser.client import Client
from ixyfwd.vfiouser.protocol import (
    HEADER_BYTES,
    NO_REPLY,
    Access,
    DmaMapping,
    Header,
    IrqAction,
    IrqSet,
    Region,
    RegionFlag,
    RequestError,
    VfioUserCommand,
)
from tests.testing.model_fakes import Bench, Clock, FakeDatapath, running_model
from tests.testing.model_session import PAGE, assert_still_serves, connected, drain, hello, read32
from tests.testing.support import eventually, without_descriptors


@pytest.fixture
def model(tmp_path: Path) -> Iterator[tuple[FakeDatapath, ModelSpec]]:
    with running_model(tmp_path) as found:
        yield found


@pytest.fixture
def client(model: tuple[FakeDatapath, ModelSpec]) -> Iterator[Client]:
    found = Client(model[1].ports[0].socket, "vfio-user:p0")
    yield found
    found.close()


@pytest.fixture
def control(model: tuple[FakeDatapath, ModelSpec]) -> Iterator[ModelClient]:
    found = ModelClient(model[1].control)
    yield found
    found.close()


@pytest.fixture
def memory() -> Iterator[int]:
    fd = os.memfd_create("dma")
    os.ftruncate(fd, 16 * PAGE)
    yield fd
    os.close(fd)


def write32(client: Client, offset: int, value: int, posted: bool = False) -> None:
    client.region_write(Region.BAR0, offset, value.to_bytes(4, "little"), posted=posted)


def refused(action: Callable[[], object]) -> int:
    """The errno with which the server refuses."""
    with pytest.raises(RequestError) as caught:
        action()
    return caught.value.errno


# Requests


def test_device_and_regions(client: Client) -> None:
    info = client.device_info()
    assert (info.flags, info.regions, info.irqs) == (3, 9, 5)
    sizes = [client.region_info(n).size for n in range(9)]
    assert sizes == [512 * 1024, 0, 0, 0, 16 * 1024, 0, 0, 4096, 0]
    assert refused(lambda: client.region_info(9)) == errno.EINVAL


def test_doorbell_pages_are_offered(client: Client, model: tuple[FakeDatapath, ModelSpec]) -> None:
    info = client.region_info(Region.BAR0)
    assert info.flags & (RegionFlag.MMAP | RegionFlag.CAPS) == RegionFlag.MMAP | RegionFlag.CAPS
    assert info.areas == ((0x1000, 0x1000), (0x6000, 0x2000), (0xD000, 0x1000))
    assert info.fd is not None
    assert os.fstat(info.fd).st_ino == os.fstat(model[0].ports[0].store_fd).st_ino
    os.close(info.fd)


def test_doorbell_pages_are_kept_back_if_asked(tmp_path: Path) -> None:
    with running_model(tmp_path, offer_mmap=False) as (_, spec):
        client = Client(spec.ports[0].socket, "x")
        info = client.region_info(Region.BAR0)
        assert (info.flags, info.areas, info.fd) == (RegionFlag.READ | RegionFlag.WRITE, (), None)
        client.close()


def test_registers_by_message(client: Client) -> None:
    assert read32(client, 8) & 1 << 19
    write32(client, 0x5200, 0x12345678)
    write32(client, 0x5204, 0x9ABCDEF0, posted=True)
    assert client.region_read(Region.BAR0, 0x5200, 8) == bytes.fromhex("78563412f0debc9a")


def test_many_posted_writes_keep_their_order(client: Client) -> None:
    for value in range(3000):
        write32(client, 0x5200, value, posted=True)
    assert read32(client, 0x5200) == 2999


def test_multiple_writes(client: Client) -> None:
    assert client.version.write_multiple
    client.region_write_multiple([Access(0, 0x5200 + 4 * n, 4, bytes([n] * 4)) for n in range(100)])
    assert [read32(client, 0x5200 + 4 * n) & 0xFF for n in range(100)] == list(range(100))


def test_multiple_writes_stop_at_the_first_that_is_refused(client: Client) -> None:
    writes = [Access(0, 0x5200, 4, b"\1\1\1\1"), Access(3, 0, 4, b"\1\1\1\1"), Access(0, 0x5204, 4, b"\1\1\1\1")]
    with pytest.raises(IxyfwdError, match="only 1 of 3"):
        client.region_write_multiple(writes)
    assert read32(client, 0x5204) == 0


def test_accesses_outside_of_regions(client: Client) -> None:
    for region, offset, count in ((0, 512 * 1024 - 2, 4), (0, 1 << 40, 4), (7, 4095, 2), (4, 16 * 1024, 1), (2, 0, 4)):
        assert refused(lambda r=region, o=offset, c=count: client.region_read(r, o, c)) == errno.EINVAL  # type: ignore[misc]
        data = bytes(count)
        assert refused(lambda r=region, o=offset, d=data: client.region_write(r, o, d)) == errno.EINVAL  # type: ignore[misc]
    assert refused(lambda: client.region_read(0, 0, 0)) == errno.EINVAL
    assert read32(client, 8), "the client may go on"


def test_unsupported_commands(client: Client) -> None:
    for command in (
        VfioUserCommand.DEVICE_FEATURE,
        VfioUserCommand.DIRTY_PAGES,
        VfioUserCommand.DEVICE_GET_REGION_IO_FDS,
    ):
        assert refused(lambda c=command: client._request(c, bytes(32))) == errno.ENOTSUP  # type: ignore[misc]


def test_reset(client: Client, model: tuple[FakeDatapath, ModelSpec], memory: int) -> None:
    client.dma_map(DmaMapping(0, PAGE), memory)
    client.region_write(Region.CONFIG, 4, b"\6\0")
    write32(client, 0x5200, 7)
    assert model[0].ports[0].bus_master
    client.reset()
    assert read32(client, 0x5200) == 0
    assert client.region_read(Region.CONFIG, 4, 2) == b"\0\0"
    assert not model[0].ports[0].bus_master
    assert model[0].ports[0].maps, "a reset unmaps nothing"


def test_dma_mappings(client: Client, model: tuple[FakeDatapath, ModelSpec], memory: int) -> None:
    maps = model[0].ports[0].maps
    client.dma_map(DmaMapping(0x100000, 4 * PAGE, PAGE, flags=1), memory)
    client.dma_map(DmaMapping(0x200000, PAGE, 0), memory)
    assert maps == {(0x100000, 4 * PAGE): (PAGE, True, False), (0x200000, PAGE): (0, True, True)}
    for overlap in (0x100000, 0x103000, 0x0FF000, 0x200000):
        size = 2 * PAGE if overlap != 0x200000 else PAGE
        assert refused(lambda o=overlap, s=size: client.dma_map(DmaMapping(o, s), memory)) == errno.EEXIST  # type: ignore[misc]
    for cut in ((0x100000, PAGE), (0x102000, 2 * PAGE), (0x0FF000, 2 * PAGE), (0x101000, PAGE), (0, 0)):
        assert refused(lambda c=cut: client.dma_unmap(*c)) == errno.EINVAL  # type: ignore[misc]
    assert len(maps) == 2
    client.dma_unmap(0x100000, 4 * PAGE)
    assert maps == {(0x200000, PAGE): (0, True, True)}
    client.dma_map(DmaMapping(0x104000, PAGE), memory)


def test_a_range_unmaps_all_that_lies_in_it(client: Client, model: tuple[FakeDatapath, ModelSpec], memory: int) -> None:
    """QEMU does that when the guest gives up a branch of its IOMMU table: sizes are not those of the mappings."""
    maps = model[0].ports[0].maps
    for page in (0, 1, 5, 6, 300):
        client.dma_map(DmaMapping(page * PAGE, PAGE), None if page == 5 else memory)
    client.dma_unmap(PAGE, 255 * PAGE)
    assert set(maps) == {(0, PAGE), (300 * PAGE, PAGE)}
    client.dma_unmap(PAGE, 255 * PAGE)  # nothing there: nothing to do
    client.dma_map(DmaMapping(5 * PAGE, 2 * PAGE), memory)
    client.dma_unmap(0, 1 << 63)
    assert not maps


def test_dma_mappings_that_cannot_be(client: Client, memory: int) -> None:
    assert refused(lambda: client.dma_map(DmaMapping(0, 0), memory)) == errno.EINVAL
    assert refused(lambda: client.dma_map(DmaMapping(0, 17 * PAGE), memory)) == errno.EINVAL, "beyond the file"
    assert refused(lambda: client.dma_map(DmaMapping(2**64 - PAGE, 2 * PAGE), memory)) == errno.EINVAL
    assert refused(lambda: client.dma_map(DmaMapping(0, PAGE, flags=0), memory)) == errno.EINVAL
    assert refused(lambda: client.dma_map(DmaMapping(1, PAGE), memory)) == errno.EINVAL


def test_memory_without_a_descriptor_is_known_but_out_of_reach(
    client: Client, model: tuple[FakeDatapath, ModelSpec], memory: int
) -> None:
    """A virtual machine maps its ROM so; refusing it would stop the machine."""
    client.dma_map(DmaMapping(0, PAGE), None)
    assert not model[0].ports[0].maps
    assert refused(lambda: client.dma_map(DmaMapping(0, PAGE), memory)) == errno.EEXIST
    client.dma_unmap(0, PAGE)
    client.dma_map(DmaMapping(0, PAGE), memory)


def test_interrupts(client: Client) -> None:
    assert [client.irq_info(n).count for n in range(5)] == [1, 1, 64, 0, 0]
    events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3)]
    give = IrqAction.DATA_EVENTFD | IrqAction.TRIGGER
    client.set_irqs(IrqSet(give, 2, 10, 3), events)
    client.set_irqs(IrqSet(IrqAction.DATA_NONE | IrqAction.TRIGGER, 2, 10, 2))
    client.set_irqs(IrqSet(IrqAction.DATA_BOOL | IrqAction.TRIGGER, 2, 10, 3, b"\0\1\1"))
    assert [os.eventfd_read(event) for event in events] == [1, 2, 1]
    client.set_irqs(IrqSet(give, 2, 11, 1))  # no descriptor: take it away
    client.set_irqs(IrqSet(IrqAction.DATA_NONE | IrqAction.TRIGGER, 2, 10, 3))
    assert select.select(events, [], [], 0)[0] == [events[0], events[2]]
    client.set_irqs(IrqSet(IrqAction.DATA_NONE | IrqAction.TRIGGER, 2, 0, 0))  # all away
    client.set_irqs(IrqSet(IrqAction.DATA_NONE | IrqAction.MASK, 2, 0, 64))
    assert refused(lambda: client.set_irqs(IrqSet(give, 2, 63, 2), events[:2])) == errno.EINVAL
    assert refused(lambda: client.set_irqs(IrqSet(give, 2, 0, 3), events[:2])) == errno.EINVAL
    assert refused(lambda: client.set_irqs(IrqSet(IrqAction.DATA_NONE, 2, 0, 1))) == errno.EINVAL
    for event in events:
        os.close(event)


# Clients come and go


def test_a_second_client_is_refused(client: Client, model: tuple[FakeDatapath, ModelSpec]) -> None:
    for _ in range(20):
        with pytest.raises(RefusedError, match="second is in use"):
            Client(model[1].ports[0].socket, "second")
    assert read32(client, 8)
    Client(model[1].ports[1].socket, "other port").close()


def test_a_client_that_leaves_leaves_nothing(
    client: Client, model: tuple[FakeDatapath, ModelSpec], memory: int
) -> None:
    port = model[0].ports[0]
    before = len(os.listdir("/proc/self/fd"))
    client.dma_map(DmaMapping(0, PAGE), memory)
    event = os.eventfd(0)
    client.set_irqs(IrqSet(IrqAction.DATA_EVENTFD | IrqAction.TRIGGER, 2, 0, 1), [event])
    client.region_write(Region.CONFIG, 4, b"\6\0")
    write32(client, 0x10160, 1)
    write32(client, 0x1028, 1 << 25)
    assert port.running
    port.calls.clear()
    client.close()
    eventually(lambda: not port.maps and not port.bus_master, "the server notices")
    assert port.calls[0] == ("reset", frozenset({(0, PAGE)})), "queues stop before their memory goes"
    assert not port.running
    os.close(event)
    again = Client(model[1].ports[0].socket, "again")
    assert read32(again, 0x1028) == read32(again, 0x10160) == 0
    again.close()
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before - 2, "no descriptor is left")


def test_nobody_else_may_connect(model: tuple[FakeDatapath, ModelSpec]) -> None:
    for path in (model[1].control, *(port.socket for port in model[1].ports)):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_sockets_are_gone_afterwards(tmp_path: Path) -> None:
    with running_model(tmp_path):
        assert len(list(tmp_path.iterdir())) == 3
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_gone(tmp_path: Path) -> None:
    with running_model(tmp_path) as (_, spec):
        client = Client(spec.ports[0].socket, "vfio-user:p0")
        control = ModelClient(spec.control)
    with pytest.raises(DeviceGoneError, match="vfio-user:p0: the server closed the connection during REGION_READ"):
        client.region_read(0, 0, 4)
    with pytest.raises(DeviceGoneError, match="is gone"):
        control.stats()
    client.close()
    control.close()
    with pytest.raises(DeviceGoneError, match=r"does not answer on its control socket .*control\.sock"):
        ModelClient(spec.control)


# Bad manners


BAD = {
    "no version first": Header(1, VfioUserCommand.DEVICE_RESET, HEADER_BYTES).pack(),
    "reply instead of command": hello() + Header(2, VfioUserCommand.DEVICE_RESET, HEADER_BYTES, 1).pack(),
    "size too small": Header(1, 1, 3).pack(),
    "size too large": Header(1, 1, 1 << 31).pack(),
    "version without numbers": Header(1, 1, HEADER_BYTES + 2).pack() + b"\0\0",
    "version with broken JSON": Header(1, 1, HEADER_BYTES + 8).pack() + b"\0\0\0\0{{{\0",
    "deeply nested JSON": Header(1, 1, HEADER_BYTES + 4 + 200_000).pack() + bytes(4) + b"[" * 200_000,
    "read without a body": hello() + Header(2, VfioUserCommand.REGION_READ, HEADER_BYTES).pack(),
    "more writes than bytes": hello()
    + Header(2, VfioUserCommand.REGION_WRITE_MULTI, HEADER_BYTES + 8).pack()
    + b"\xff" * 8,
    "half a header": hello() + b"\1",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_malformed_messages_cost_the_connection_only(
    model: tuple[FakeDatapath, ModelSpec], data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with connected(model[1].ports[0].socket) as sock:
        sock.sendall(data)
        drain(sock)
    assert_still_serves(model[1])
    assert "Traceback" not in capfd.readouterr().err


def test_other_major_version_is_refused(model: tuple[FakeDatapath, ModelSpec]) -> None:
    with connected(model[1].ports[0].socket) as sock:
        sock.sendall(Header(1, 1, HEADER_BYTES + 4).pack() + b"\1\0\0\0")
        answer = Header.unpack(sock.recv(HEADER_BYTES))
        assert (answer.flags & 0x20, answer.error) == (0x20, errno.EINVAL)
        assert sock.recv(1) == b""


def test_no_reply_means_no_reply(model: tuple[FakeDatapath, ModelSpec]) -> None:
    with connected(model[1].ports[0].socket) as sock:
        bad = Access(3, 0, 4, bytes(4)).pack()
        quiet = Header(2, VfioUserCommand.REGION_WRITE, HEADER_BYTES + len(bad), NO_REPLY).pack() + bad
        sock.sendall(hello() + quiet + Header(3, VfioUserCommand.DEVICE_RESET, HEADER_BYTES).pack())
        first = Header.unpack(sock.recv(HEADER_BYTES, socket.MSG_WAITALL))
        sock.recv(first.size - HEADER_BYTES, socket.MSG_WAITALL)
        assert (first.message_id, Header.unpack(sock.recv(HEADER_BYTES, socket.MSG_WAITALL)).message_id) == (1, 3)


def test_a_mistake_in_the_model_is_an_error_reply(
    client: Client, model: tuple[FakeDatapath, ModelSpec], capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(queue: int) -> int:
        raise RuntimeError("planted")

    model[0].ports[0].rx_head = broken  # type: ignore[method-assign]
    write32(client, 0x1028, 1 << 25)
    assert refused(lambda: read32(client, 0x1010)) == errno.EIO
    assert "p0: REGION_READ failed: RuntimeError: planted" in capfd.readouterr().err
    assert read32(client, 8)


def test_connections_that_say_nothing_are_bounded(client: Client, model: tuple[FakeDatapath, ModelSpec]) -> None:
    silent = [connected(model[1].ports[0].socket) for _ in range(30)]
    eventually(lambda: len(select.select(silent, [], [], 0)[0]) >= 20, "the surplus is closed")
    assert read32(client, 8)
    for sock in silent:
        sock.close()


RAW = st.tuples(st.booleans(), st.binary(max_size=300))
FRAMED = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from([0, NO_REPLY]), st.binary(max_size=80), st.integers(0, 3)),
    max_size=12,
)


def test_fuzz_of_raw_bytes(model: tuple[FakeDatapath, ModelSpec]) -> None:
    @settings(max_examples=100, deadline=None)
    @given(RAW)
    def fuzz(case: tuple[bool, bytes]) -> None:
        polite, data = case
        with connected(model[1].ports[0].socket) as sock, suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall((hello() if polite else b"") + data)
            drain(sock)

    fuzz()
    assert_still_serves(model[1])


def test_fuzz_of_well_framed_messages(model: tuple[FakeDatapath, ModelSpec], memory: int) -> None:
    before = len(os.listdir("/proc/self/fd"))

    @settings(max_examples=200, deadline=None)
    @given(FRAMED)
    def fuzz(commands: list[tuple[int, int, bytes, int]]) -> None:
        with connected(model[1].ports[0].socket) as sock, suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(hello())
            for command, flags, payload, fds in commands:
                data = Header(2, command, HEADER_BYTES + len(payload), flags).pack() + payload
                socket.send_fds(sock, [data], [memory] * fds)
            drain(sock)

    fuzz()
    assert_still_serves(model[1])
    eventually(lambda: len(os.listdir("/proc/self/fd")) == before, "every descriptor is closed again")


# Control


def test_control_commands(control: ModelClient, model: tuple[FakeDatapath, ModelSpec]) -> None:
    stats = control.stats()
    assert [port["name"] for port in stats["ports"]] == ["p0", "p1"]
    assert stats["ports"][0]["wire"] == {"kind": "none"}
    assert stats["ports"][0]["faults"] == {"total": 0, "by_kind": {}, "recent": []}
    assert control.flows() == {"3": [1, 2]}
    assert control.feeds_done()
    control.start()
    assert all(port.feeding for port in model[0].ports)
    assert not control.feeds_done()
    control.stop()
    assert not any(port.feeding for port in model[0].ports)


def test_link_by_control(control: ModelClient, client: Client) -> None:
    eventually(lambda: control.stats()["ports"][0]["link"], "the link comes up")
    control.set_link("p0", False)
    stats = control.stats()["ports"]
    assert (stats[0]["link"], stats[0]["connected"]) == (False, True)
    assert not read32(client, 0x42A4) & 1 << 30
    control.set_link("p0", True)
    eventually(lambda: read32(client, 0x42A4) & 1 << 30, "the client sees it come back")
    with pytest.raises(IxyfwdError, match="no port 'p7', expected one of p0, p1"):
        control.set_link("p7", True)


def test_link_comes_up_by_itself_in_time(client: Client) -> None:
    start = time.monotonic()  # before the write, which may take as long as the link does
    write32(client, 0, 1 << 26)
    assert not read32(client, 0x42A4) & 1 << 30 or time.monotonic() - start > 0.01
    eventually(lambda: read32(client, 0x42A4) & 1 << 30, "the link is up again")


def test_register_misuse_shows_in_the_statistics(control: ModelClient, client: Client) -> None:
    write32(client, 8, 1)
    faults = control.stats()["ports"][0]["faults"]
    assert faults["by_kind"] == {"register_misuse": 1}
    assert faults["recent"][0]["detail"] == "STATUS(0): 0x1 written to a read-only register"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"nonsense", "found text that is not JSON"),
        (b"[1]", "found JSON that is not an object"),
        (b'{"do": [1]}', 'found no "do" whose value is a string'),
        (b"[" * 16_000, "found brackets nested more than 32 deep"),
        (
            b'{"do": "fly"}',
            "unknown command 'fly', expected one of start, stop, stats, feeds_done, flows, "
            "restart_latency, link, inject, inject_off",
        ),
        (b'{"do": "link", "port": "p0"}', 'needs "up" as true or false, found none'),
        (b'{"do": "link", "port": 1, "up": true}', 'needs "port" as text, found 1'),
        (b"\xff\xfe", "found text that is not UTF-8"),
    ],
)
def test_wrong_control_lines_are_answered(model: tuple[FakeDatapath, ModelSpec], line: bytes, answer: str) -> None:
    with connected(model[1].control) as sock, sock.makefile("rb") as file:
        sock.sendall(line + b'\n{"do": "start"}\n')
        assert answer in json.loads(file.readline())["error"]
        assert json.loads(file.readline()) == {}


def test_an_endless_control_line_is_cut_off(model: tuple[FakeDatapath, ModelSpec]) -> None:
    with connected(model[1].control) as sock, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(1000):
            sock.sendall(b"x" * 10_000)
    ModelClient(model[1].control).close()


def test_a_silent_model_is_a_timeout(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "s"))
        deaf.listen()
        client = ModelClient(str(tmp_path / "s"), timeout_s=0.1)
        with pytest.raises(DeviceTimeoutError, match=r"no answer to 'stats' within 0\.1 s"):
            client.stats()


def test_without_descriptors_the_port_rests_and_serves_again(tmp_path: Path) -> None:
    clock = Clock()
    loop = Loop(lambda: clock.ns / 1e9)
    served = PortServer(Bench().port, str(tmp_path / "s"), loop)
    with connected(str(tmp_path / "s")), without_descriptors():
        for _ in range(3):
            loop.dispatch()
        assert not select.select([loop.fd], [], [], 0)[0], "it is called again and again"
    clock.ns += int(REST_S * 1e9)
    loop.dispatch()
    loop.dispatch()
    assert served.connected
    served.close()
    clock.ns += int(REST_S * 1e9)
    loop.dispatch()
    loop.close()
