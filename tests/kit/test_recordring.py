"""Rings of records in a file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.errors import RefusedError
from ixyfwd.kit.recordring import CONTENT_BYTES_MAX, RECORD_BYTES, SLOTS, RecordRing, read_records


def write(path: Path, count: int, size: int = 10) -> None:
    ring = RecordRing(path)
    for _ in range(count):
        ring.append(f"{ring.next_number}".encode().ljust(size))
    ring.close()


@pytest.mark.parametrize("count", [0, 1, SLOTS - 1, SLOTS, SLOTS + 1, 3 * SLOTS + 7])
def test_the_last_records_are_kept_in_their_order(tmp_path: Path, count: int) -> None:
    write(tmp_path / "ring", count)
    found = read_records(tmp_path / "ring")
    assert [number for number, _ in found] == list(range(max(1, count - SLOTS + 1), count + 1))
    assert all(int(content) == number for number, content in found)
    assert (tmp_path / "ring").stat().st_size <= SLOTS * RECORD_BYTES
    assert (tmp_path / "ring").stat().st_mode & 0o777 == 0o600


def test_the_next_writer_goes_on_with_the_numbers(tmp_path: Path) -> None:
    for _ in range(3):
        write(tmp_path / "ring", 5)
    assert [number for number, _ in read_records(tmp_path / "ring")] == list(range(1, 16))


def test_a_record_has_a_longest_content(tmp_path: Path) -> None:
    ring = RecordRing(tmp_path / "ring")
    ring.append(b"x" * CONTENT_BYTES_MAX)
    with pytest.raises(ValueError, match=f"at most {CONTENT_BYTES_MAX}"):
        ring.append(b"x" * (CONTENT_BYTES_MAX + 1))
    assert read_records(tmp_path / "ring") == [(1, b"x" * CONTENT_BYTES_MAX)]
    ring.close()


@given(st.integers(0, 9), st.integers(0, RECORD_BYTES), st.binary(max_size=RECORD_BYTES))
def test_a_record_that_is_half_written_is_left_out(slot: int, offset: int, data: bytes) -> None:
    path = Path(f"/tmp/ixyfwd-ring-{os.getpid()}")
    path.unlink(missing_ok=True)
    write(path, 9, size=CONTENT_BYTES_MAX)
    before = dict(read_records(path))
    at = slot * RECORD_BYTES + offset
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)
    after = dict(read_records(path))
    touched = {n for n in before if n * RECORD_BYTES < at + len(data) and at < (n + 1) * RECORD_BYTES}
    assert {n: content for n, content in before.items() if n not in touched}.items() <= after.items()
    assert all(before.get(n) == content for n, content in after.items() if n in touched)
    write(path, 1)
    path.unlink()


@given(st.binary(max_size=4 * RECORD_BYTES))
def test_garbage_has_no_records(data: bytes) -> None:
    path = Path(f"/tmp/ixyfwd-ring-{os.getpid()}")
    path.write_bytes(data)
    assert read_records(path) == []
    path.unlink()


def test_what_is_not_a_file_of_this_user_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(RefusedError, match="is not a file of this user"):
        RecordRing(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic"):
        RecordRing(tmp_path / "link")
    assert not (tmp_path / "other").exists()
