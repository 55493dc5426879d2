"""The arena: real pages, found to be missing at once, gone without a trace."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.memory import hugetlbfs
from ixyfwd.memory.arena import attach_arena, create_arena
from ixyfwd.memory.hugepages import POOL, hugepages_free
from ixyfwd.memory.layout import ARENA_PAGE_BYTES
from tests.testing.support import HUGEPAGES, eventually, run

SIZE = 2 * ARENA_PAGE_BYTES


def test_plain_pages_are_zero_writable_and_shared() -> None:
    with create_arena(SIZE, "plain") as arena:
        assert arena.kind == "plain"
        assert arena.notice == ""
        assert bytes(arena.view[:64]) == bytes(64)
        with attach_arena(os.dup(arena.fd), SIZE) as other:
            arena.view[123] = 7
            assert other.view[123] == 7
            other.view[SIZE - 1] = 9
        assert arena.view[SIZE - 1] == 9


def test_the_file_is_private_and_cannot_be_cut() -> None:
    with create_arena(SIZE, "plain") as arena:
        assert stat.S_IMODE(os.fstat(arena.fd).st_mode) == 0o600
        assert not os.get_inheritable(arena.fd)
        with pytest.raises(PermissionError):
            os.ftruncate(arena.fd, 0)


def test_close_twice_and_closed_descriptor() -> None:
    arena = create_arena(SIZE, "plain")
    fd = arena.fd
    arena.close()
    arena.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_close_names_who_holds_a_view() -> None:
    arena = create_arena(SIZE, "plain")
    held = arena.view[:4096]
    with pytest.raises(BufferError, match="view of 4096 bytes"):
        arena.close()
    held.release()
    arena.close()


@pytest.mark.parametrize("size", [0, -ARENA_PAGE_BYTES, 4096, ARENA_PAGE_BYTES + 1])
def test_sizes_are_whole_pages(size: int) -> None:
    with pytest.raises(ValueError, match="multiple"):
        create_arena(size, "plain")


def test_unknown_backing() -> None:
    with pytest.raises(UsageError, match="none of: auto, hugepages, plain"):
        create_arena(SIZE, "swap")


def test_more_memory_than_there_is() -> None:
    with pytest.raises(IxyfwdError, match="use fewer workers, smaller rings"):
        create_arena(1 << 50, "plain")


@pytest.mark.parametrize("what", ["closed", "small", "pipe"])
def test_attaching_to_something_else(what: str, tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(bytes(100))
    fd = os.open(path, os.O_RDWR)
    if what == "closed":
        os.close(fd)
    try:
        with pytest.raises(IxyfwdError, match=str(fd)):
            attach_arena(fd, SIZE)
    finally:
        if what != "closed":
            os.close(fd)


@pytest.mark.root
def test_hugepages_are_taken_and_given_back(hugepages: int) -> None:
    with create_arena(SIZE, "hugepages") as arena:
        assert arena.kind == "hugepages"
        assert hugepages_free() == hugepages - 2
        assert bytes(arena.view[:: 1 << 20]) == bytes(4)
    assert hugepages_free() == hugepages


@pytest.mark.root
def test_auto_prefers_hugepages(hugepages: int) -> None:
    with create_arena(SIZE, "auto") as arena:
        assert (arena.kind, arena.notice) == ("hugepages", "")


@pytest.fixture
def no_hugepages() -> Iterator[None]:
    before = HUGEPAGES.read_text()
    HUGEPAGES.write_text("0")
    yield
    HUGEPAGES.write_text(before)


@pytest.mark.root
def test_without_hugepages(no_hugepages: None) -> None:
    with pytest.raises(
        IxyfwdError, match=rf"needs 2 hugepages of 2 MiB: 0 of .* free; as root: echo .* > {POOL}/nr_hugepages"
    ):
        create_arena(SIZE, "hugepages")
    with create_arena(SIZE, "auto") as arena:
        assert arena.kind == "plain"
        assert "needs 2 hugepages" in arena.notice


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A hugetlbfs mount."""
    point = tmp_path / "huge pages"
    point.mkdir()
    assert run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", str(point)).returncode == 0
    yield point
    run("umount", str(point))


@pytest.mark.root
def test_named_arena(mount: Path, hugepages: int) -> None:
    with create_arena(SIZE, f"hugetlbfs:{mount}") as arena:
        (path,) = mount.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert hugetlbfs.sweep(str(mount)) == []  # its owner lives
        assert arena.path == str(path)
        assert hugepages_free() == hugepages - 2
    assert list(mount.iterdir()) == []
    assert hugepages_free() == hugepages


OWNER = """
import sys, time
from ixyfwd.memory.arena import create_arena
arena = create_arena(4 << 20, "hugetlbfs:" + sys.argv[1])
print("made", flush=True)
time.sleep(600)
"""


@pytest.mark.root
def test_a_killed_owners_file_is_swept_by_the_next(mount: Path, hugepages: int) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(mount)], stdout=subprocess.PIPE)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"made\n"
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    (left,) = mount.iterdir()  # its pages must outlive it: a device might still write to them
    assert hugepages_free() == hugepages - 2
    with create_arena(SIZE, f"hugetlbfs:{mount}"):
        assert not left.exists()
    eventually(lambda: hugepages_free() == hugepages, "all pages are back")


@pytest.mark.root
def test_named_arena_without_pages(mount: Path, no_hugepages: None) -> None:
    with pytest.raises(IxyfwdError, match="needs 2 hugepages"):
        create_arena(SIZE, f"hugetlbfs:{mount}")
    assert list(mount.iterdir()) == []


@pytest.mark.parametrize("place", ["missing", "there"])
def test_a_place_that_is_no_hugetlbfs(place: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(IxyfwdError, match="mount -t hugetlbfs"):
        create_arena(SIZE, f"hugetlbfs:{tmp_path / place}")
