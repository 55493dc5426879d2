"""Sessions that are almost right, on the real data path: an errno or the end of the connection, never the model's."""

import contextlib
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.model.datapath.binding import Datapath
from ixyfwd.model.process import Model
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.model.wires.none import NoWire
from ixyfwd.vfiouser.protocol import (
    HEADER_BYTES,
    NO_REPLY,
    Access,
    DmaMapping,
    Header,
    IrqSet,
    VfioUserCommand,
)
from ixyfwd.vfiouser.writes import pack_writes
from tests.testing.model_fakes import MAC
from tests.testing.model_session import PAGE, assert_still_serves, connected, drain, hello
from tests.testing.support import eventually

FILE_PAGES = 16

Fds = tuple[str, ...]
Step = tuple[int, int, bytes, Fds]
"""(command, header flags, payload, kinds of descriptors); command -1: cut the file short."""


class Files:
    """One descriptor of each kind that a client may think of."""

    def __init__(self, folder: Path) -> None:
        path = folder / "plain"
        path.write_bytes(bytes(FILE_PAGES * PAGE))
        self.by_kind = {
            "memory": self._memory(),
            "sealed": self._memory(fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE),
            "short": self._memory(),
            "readonly": os.open(path, os.O_RDONLY),
            "writeonly": os.open(path, os.O_WRONLY),
            "path": os.open(path, os.O_PATH),
            "directory": os.open(folder, os.O_RDONLY),
            "null": os.open("/dev/null", os.O_RDWR),
            "zero": os.open("/dev/zero", os.O_RDWR),
            "event": os.eventfd(0, os.EFD_NONBLOCK),
        }
        self.by_kind["pipe out"], self.by_kind["pipe in"] = os.pipe()
        self._pair = socket.socketpair()
        self.by_kind["socket"] = self._pair[0].fileno()

    @staticmethod
    def _memory(seals: int = 0) -> int:
        fd = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, FILE_PAGES * PAGE)
        if seals:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        return fd

    def cut(self, pages: int) -> None:
        os.ftruncate(self.by_kind["short"], pages * PAGE)

    def close(self) -> None:
        del self.by_kind["socket"]
        for fd in self.by_kind.values():
            os.close(fd)
        for end in self._pair:
            end.close()


KINDS = (
    *("memory", "memory", "memory", "sealed", "short", "short", "readonly", "writeonly", "path", "directory"),
    *("null", "zero", "event", "pipe out", "pipe in", "socket"),
)
fds = st.lists(st.sampled_from(KINDS), max_size=2).map(tuple)
one_fd = st.sampled_from(KINDS).map(lambda kind: (kind,))
pages = st.integers(0, FILE_PAGES + 2).map(lambda n: n * PAGE)
odd = st.one_of(pages, pages, st.sampled_from([1, PAGE - 1, 2**63, 2**64 - PAGE, 2**64 - 1]), st.integers(0, 2**64 - 1))
small = st.one_of(st.integers(0, 70), st.integers(0, 2**32 - 1))
register = st.one_of(
    st.sampled_from([0, 8, 0x1000, 0x1008, 0x1010, 0x1018, 0x1028, 0x3000, 0x6018, 0x6028, 0x4A80, 0x898, 0x42A4]),
    st.integers(0, 512 * 1024 + 8),
)


def access(data: bytes, count: int, region: int, offset: int) -> bytes:
    return struct.pack("=QII", offset & 2**64 - 1, region & 2**32 - 1, count & 2**32 - 1) + data


def step(command: int, payload: st.SearchStrategy[bytes], given_fds: st.SearchStrategy[Fds]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(command), st.sampled_from([0, 0, 0, NO_REPLY]), payload, given_fds)


maps = st.builds(
    lambda a, s, o, f: DmaMapping(a, s, o, f).pack_map(), odd, odd, odd, st.sampled_from([3, 3, 3, 1, 2, 0, 7])
)
unmaps = st.builds(lambda a, s, f: DmaMapping(a, s, 0, f).pack_unmap(), odd, odd, st.sampled_from([0, 0, 0, 2]))
regions = st.sampled_from([0, 0, 0, 4, 7, 7, 1, 6, 8, 9, 2**32 - 1])
counts = st.one_of(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 4096, 2**20, 2**20 + 1]), small)
reads = st.builds(lambda c, r, o: access(b"", c, r, o), counts, regions, register)
writes = st.builds(
    lambda d, more, r, o: access(d, len(d) + more, r, o),
    st.binary(max_size=20),
    st.sampled_from([0, 0, 0, 0, 1, -1]),
    regions,
    register,
)
write = st.builds(lambda r, o, d: Access(r, o, len(d), d), regions, register, st.binary(min_size=1, max_size=8))
many = st.lists(write, max_size=8).map(pack_writes)
irqs = st.builds(
    lambda flags, index, start, count, data: struct.pack("=IIIII", 20 + len(data), flags, index, start, count) + data,
    st.one_of(st.sampled_from([0x21, 0x22, 0x24, 0x09, 0x12, 0x0A, 0x14]), st.integers(0, 0x7F)),
    st.integers(0, 6),
    small,
    small,
    st.binary(max_size=8),
)
steps = st.one_of(
    step(VfioUserCommand.DMA_MAP, maps, one_fd),
    step(VfioUserCommand.DMA_MAP, maps, fds),
    step(VfioUserCommand.DMA_UNMAP, unmaps, st.just(())),
    step(VfioUserCommand.REGION_READ, reads, st.just(())),
    step(VfioUserCommand.REGION_WRITE, writes, st.just(())),
    step(VfioUserCommand.REGION_WRITE_MULTI, many, st.just(())),
    step(
        VfioUserCommand.DEVICE_SET_IRQS,
        irqs,
        st.lists(st.sampled_from([*KINDS, "event", "event"]), max_size=4).map(tuple),
    ),
    step(VfioUserCommand.DEVICE_RESET, st.just(b""), fds),
    step(
        VfioUserCommand.DEVICE_GET_REGION_INFO,
        st.builds(lambda a, i: struct.pack("=III", a, 0, i), small, small),
        st.just(()),
    ),
    st.integers(0, FILE_PAGES).map(lambda n: (-1, 0, bytes([n]), ())),
)


@st.composite
def bent(draw: st.DrawFn) -> Step:
    """A step, at times with a byte changed, its end cut off, or more behind it."""
    command, flags, payload, kinds = draw(steps)
    how = draw(st.integers(0, 11))
    if command >= 0 and payload and how == 0:
        at = draw(st.integers(0, len(payload) - 1))
        payload = payload[:at] + bytes([draw(st.integers(0, 255))]) + payload[at + 1 :]
    elif command >= 0 and how == 1:
        payload = payload[: draw(st.integers(0, len(payload)))]
    elif command >= 0 and how == 2:
        payload += draw(st.binary(max_size=24))
    return command, flags, payload, kinds


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[ModelSpec]:
    """A model with its real data path in a thread."""
    made = ModelSpec(
        (PortSpec("p0", str(tmp_path / "p0.sock"), MAC, NoWire()),), str(tmp_path / "control.sock"), share_cpu=True
    )
    datapath = Datapath(["p0"])
    with Model(made, datapath) as model:
        thread = threading.Thread(target=model.run)
        thread.start()
        yield made
        alive = thread.is_alive()
        model.quit()
        thread.join(10)
    datapath.close()
    assert alive, "the model has ended"


def play(path: str, files: Files, session: Sequence[Step]) -> None:
    with connected(path) as sock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(hello())
        for number, (command, flags, payload, kinds) in enumerate(session):
            if command < 0:
                files.cut(payload[0])
                continue
            data = Header(number, command, HEADER_BYTES + len(payload), flags).pack() + payload
            socket.send_fds(sock, [data], [files.by_kind[kind] for kind in kinds])
        drain(sock)
    files.cut(FILE_PAGES)


@pytest.mark.slow
def test_sessions_that_are_almost_right(spec: ModelSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = Files(tmp_path)
    before = len(os.listdir("/proc/self/fd"))

    @settings(max_examples=300, deadline=None)
    @given(st.lists(bent(), min_size=1, max_size=14))
    def fuzz(session: list[Step]) -> None:
        play(spec.ports[0].socket, files, session)

    fuzz()
    assert_still_serves(spec)
    eventually(lambda: len(os.listdir("/proc/self/fd")) == before, "every descriptor is closed again")
    files.close()
    said = capfd.readouterr().err
    assert "failed:" not in said, "a mistake in the model"
    assert "Traceback" not in said


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
@pytest.mark.parametrize("flags", [1, 2, 3])
def test_each_kind_of_file(spec: ModelSpec, tmp_path: Path, kind: str, flags: int) -> None:
    """Mapped or refused with an errno; either way the session goes on."""
    files = Files(tmp_path)
    fits = kind in ("memory", "short", "zero") or (kind, flags) in {("sealed", 1), ("readonly", 1)}
    with connected(spec.ports[0].socket) as sock:
        sock.sendall(hello())
        greeting = Header.unpack(sock.recv(HEADER_BYTES, socket.MSG_WAITALL))
        sock.recv(greeting.size - HEADER_BYTES, socket.MSG_WAITALL)
        payload = DmaMapping(0, PAGE, 0, flags).pack_map()
        request = Header(2, VfioUserCommand.DMA_MAP, HEADER_BYTES + len(payload)).pack() + payload
        socket.send_fds(sock, [request], [files.by_kind[kind]])
        answer = Header.unpack(sock.recv(HEADER_BYTES, socket.MSG_WAITALL))
        assert (answer.message_id, answer.error == 0) == (2, fits), os.strerror(answer.error)
        drain(sock)
    files.close()


def test_an_interrupt_set_up_needs_an_eventfd(spec: ModelSpec, tmp_path: Path) -> None:
    """A file of another kind in its place: triggering it harms nobody."""
    files = Files(tmp_path)
    give = IrqSet.unpack(struct.pack("=IIIII", 20, 0x24, 2, 0, 1)).pack()
    fire = struct.pack("=IIIII", 20, 0x21, 2, 0, 1)
    for kind in sorted(set(KINDS)):
        play(
            spec.ports[0].socket,
            files,
            [(VfioUserCommand.DEVICE_SET_IRQS, 0, give, (kind,)), (VfioUserCommand.DEVICE_SET_IRQS, 0, fire, ())],
        )
        assert_still_serves(spec)
    files.close()


def test_a_full_eventfd_that_blocks_is_not_waited_for(spec: ModelSpec, tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.by_kind["full"] = os.eventfd(2**32 - 1)
    os.eventfd_write(files.by_kind["full"], 2**64 - 2**32 - 1)
    give = struct.pack("=IIIII", 20, 0x24, 2, 0, 1)
    fire = struct.pack("=IIIII", 20, 0x21, 2, 0, 1)
    play(
        spec.ports[0].socket,
        files,
        [(VfioUserCommand.DEVICE_SET_IRQS, 0, give, ("full",)), (VfioUserCommand.DEVICE_SET_IRQS, 0, fire, ())],
    )
    assert_still_serves(spec)
    assert os.eventfd_read(files.by_kind["full"]) == 2**64 - 2
    files.close()
