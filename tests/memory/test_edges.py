"""The arena where it is used wrongly or its owner ends badly."""

import fcntl
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.arena import create_arena
from ixyfwd.memory.hugepages import hugepages_free
from ixyfwd.memory.hugetlbfs import sweep
from ixyfwd.memory.layout import ARENA_PAGE_BYTES, POOL_STATE_BYTES, RING_STATE_BYTES, compute_layout
from ixyfwd.memory.pool import NO_BUFFER, reset_worker
from tests.testing.support import ROOT, eventually, run

SIZE = 2 * ARENA_PAGE_BYTES
OWNER = """
import sys, time
from ixyfwd.memory.arena import create_arena
arena = create_arena(4 << 20, sys.argv[1])
print(arena.path, flush=True)
time.sleep(600)
"""


def arena_fds() -> list[str]:
    """Descriptors of this process that are arenas."""
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.islink(link) and "ixyfwd-arena" in os.readlink(link)]


def start_owner(backing: str) -> tuple["subprocess.Popen[str]", str]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, backing], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    return owner, owner.stdout.readline().strip()


def kill(owner: "subprocess.Popen[str]") -> None:
    owner.kill()
    owner.communicate()


def test_plain_pages_are_there_before_use() -> None:
    with create_arena(SIZE, "plain") as arena:
        assert os.fstat(arena.fd).st_blocks * 512 == SIZE
        assert fcntl.fcntl(arena.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK


def test_close_is_possible_again_when_numpy_let_go() -> None:
    import numpy as np

    arena = create_arena(SIZE, "plain")
    held = np.frombuffer(arena.view, np.uint8)
    with pytest.raises(BufferError, match=rf"still held by a view of {SIZE} bytes \(format 'B'\)"):
        arena.close()
    arena.view[0] = 1  # as before
    assert held[0] == 1
    del held
    arena.close()


def test_close_is_possible_again_when_a_reader_of_the_whole_view_let_go() -> None:
    arena = create_arena(SIZE, "plain")
    reader = struct.iter_unpack("Q", arena.view)
    with pytest.raises(BufferError, match="an object made of the whole view"):
        arena.close()
    assert next(reader) == (0,)
    del reader
    arena.close()


def test_what_cannot_be_had_leaves_no_descriptor() -> None:
    before, free = arena_fds(), hugepages_free()
    for backing in ("hugepages", "plain", "auto"):
        with pytest.raises(IxyfwdError, match="arena"):
            create_arena(1 << 42, backing)
    assert arena_fds() == before
    assert hugepages_free() == free


@pytest.mark.root
def test_hugepages_come_back_from_an_error_and_from_a_killed_owner(hugepages: int) -> None:
    with pytest.raises(RuntimeError, match="planned"), create_arena(SIZE, "hugepages"):
        raise RuntimeError("planned")
    assert hugepages_free() == hugepages
    owner, _ = start_owner("hugepages")
    assert hugepages_free() == hugepages - 2
    kill(owner)
    eventually(lambda: hugepages_free() == hugepages, "all pages are back")


@pytest.mark.root
def test_a_sweep_takes_only_what_nobody_holds(tmp_path: Path, hugepages: int) -> None:
    assert run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", str(tmp_path)).returncode == 0
    try:
        dead, left = start_owner(f"hugetlbfs:{tmp_path}")
        alive, kept = start_owner(f"hugetlbfs:{tmp_path}")
        stranger = tmp_path / "somebody-elses"
        stranger.touch()
        kill(dead)
        assert sweep(str(tmp_path)) == [left]
        assert sorted(map(str, tmp_path.iterdir())) == sorted([kept, str(stranger)])
        kill(alive)
        assert sweep(str(tmp_path)) == [kept]
    finally:
        run("umount", str(tmp_path))


def test_reset_frees_every_buffer_and_touches_nothing_else() -> None:
    layout = compute_layout(ports=2, workers=2, ring_size=64, buffers_per_worker=300)
    worker = layout.workers[1]
    memory = bytearray(b"\xaa" * layout.size)
    reset_worker(memoryview(memory), worker)
    words = memoryview(memory).cast("I")
    assert words[worker.pool // 4] == worker.buffers
    stack = worker.pool + POOL_STATE_BYTES
    assert words[stack // 4 : stack // 4 + worker.buffers].tolist() == list(range(worker.buffers))
    written = [(worker.pool, POOL_STATE_BYTES + 4 * worker.buffers)]
    for ring in (*worker.rx, *worker.tx):
        assert words[ring.state // 4 : ring.state // 4 + 16].tolist() == [0] * 16
        assert set(words[ring.ids // 4 : ring.ids // 4 + ring.entries]) == {NO_BUFFER}
        written += [(ring.state, RING_STATE_BYTES), (ring.ids, 4 * ring.entries)]
    for start, size in written:
        memory[start : start + size] = b"\xaa" * size
    assert memory == b"\xaa" * layout.size
