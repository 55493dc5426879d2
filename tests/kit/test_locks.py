"""Locks on files: who has them, who had them, and a file that goes away under those who wait."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ixyfwd.kit.locks import FileLock, LockHeldError, is_abandoned
from tests.testing.support import ROOT

HOLD = """
import sys, pathlib
from ixyfwd.kit.locks import FileLock
lock = FileLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def holder(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock until its standard input ends."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_held_lock_names_its_holder(path: Path, holder: "subprocess.Popen[str]") -> None:
    name = Path(f"/proc/{holder.pid}/comm").read_text().strip()
    with pytest.raises(LockHeldError) as held:
        FileLock(path)
    assert str(held.value.holder) == f"pid {holder.pid} ({name})"
    assert held.value.holder.pid == holder.pid
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not is_abandoned(path)


@pytest.mark.parametrize("words", [b"", b"\xff\xfe\0", b"pid ", b"pid 12", b"12\n", b"pid 1 (a\nb)", b"pid x (y)"])
def test_words_that_are_no_hint_are_another_process(path: Path, words: bytes) -> None:
    lock = FileLock(path)
    path.write_bytes(words)
    with pytest.raises(LockHeldError, match="another process"):
        FileLock(path)
    lock.release()


def test_a_released_lock_is_free_and_not_abandoned(path: Path, holder: "subprocess.Popen[str]") -> None:
    holder.communicate()
    assert not is_abandoned(path)
    lock = FileLock(path)
    lock.release()
    lock.release()
    assert path.read_bytes() == b""


def test_the_lock_of_a_killed_holder_is_abandoned_and_free(path: Path, holder: "subprocess.Popen[str]") -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert is_abandoned(path)
    FileLock(path).release()
    assert not is_abandoned(path)


def test_a_missing_file_is_not_abandoned(path: Path) -> None:
    assert not is_abandoned(path)
    assert not path.exists()


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        FileLock(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_its_holder_removes_is_never_locked_twice(path: Path) -> None:
    """Threads that take and remove one lock as fast as they can: at most one has it at any time."""
    held: list[int] = []
    most: list[int] = []

    def play(number: int) -> None:
        for _ in range(200):
            try:
                lock = FileLock(path)
            except LockHeldError:
                continue
            held.append(number)
            most.append(len(held))
            held.remove(number)
            lock.remove()
            lock.release()

    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(play, range(8))) == [None] * 8
    assert set(most) == {1}
    assert len(os.listdir("/proc/self/fd")) == before
