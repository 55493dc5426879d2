"""Files that a run writes: modes and contents of what it did not make stay, whatever kind of file it is."""

import os
import stat
import threading
from pathlib import Path

import pytest

from ixyfwd.errors import RefusedError
from ixyfwd.kit.outfile import OutputFile, check_writable, write_file

STRANGER = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_0600_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(b"long content that goes")
    old.chmod(0o644)
    for path in (new, old):
        write_file(path, b"data")
        assert path.read_bytes() == b"data"
    assert (mode(new), mode(old)) == (0o600, 0o644)


def test_an_old_file_keeps_its_content_until_the_run_begins(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"content")
    with OutputFile(path) as file:
        assert not file.created and path.read_bytes() == b"content"
    assert path.read_bytes() == b"content"
    with OutputFile(path) as file:
        file.begin()
        os.write(file.fd, b"new")
        file.begin()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed(tmp_path: Path, there: bool) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    if there:
        target.write_bytes(b"old and long")
        target.chmod(0o640)
    (tmp_path / "second").symlink_to("folder/target")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    write_file(tmp_path / "first", b"data")
    assert (tmp_path / "first").is_symlink() and target.read_bytes() == b"data"
    assert mode(target) == (0o640 if there else 0o600)


def test_a_loop_of_links_and_a_directory_are_errors(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path, reason in ((tmp_path / "loop", "symbolic links"), (tmp_path, "Is a directory")):
        with pytest.raises(OSError, match=reason):
            OutputFile(path)


@as_root
def test_a_device_keeps_its_mode_and_takes_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "null"
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    path.chmod(0o666)
    write_file(path, b"data")
    assert mode(path) == 0o666 and stat.S_ISCHR(path.stat().st_mode)


def test_a_fifo_is_written_to_once_it_has_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path, 0o622)
    path.chmod(0o622)
    with pytest.raises(OSError, match="no reader has opened the FIFO within"):
        OutputFile(path, reader_s=0.05)
    found = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    write_file(path, b"x" * 300_000)  # more than a pipe holds
    reader.join()
    assert found == [b"x" * 300_000] and mode(path) == 0o622


@as_root
@pytest.mark.parametrize("kind", ["file", "link", "fifo"])
def test_what_another_user_has_put_into_a_shared_directory_is_refused_untouched(tmp_path: Path, kind: str) -> None:
    shared, mine = tmp_path / "shared", tmp_path / "mine"
    shared.mkdir()
    shared.chmod(0o1777)
    mine.write_bytes(b"mine")
    theirs = shared / "theirs"
    if kind == "link":
        theirs.symlink_to(mine)
    elif kind == "fifo":
        os.mkfifo(theirs)
        reader = os.open(theirs, os.O_RDONLY | os.O_NONBLOCK)
    else:
        theirs.write_bytes(b"theirs")
    os.chown(theirs, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(RefusedError, match=f"theirs: this file belongs to another user .uid {STRANGER}"):
        OutputFile(theirs)
    assert mine.read_bytes() == b"mine"
    assert kind != "file" or theirs.read_bytes() == b"theirs"
    if kind == "fifo":
        os.close(reader)
    shared.chmod(0o777)  # a directory of a group: what may be written is its members' business
    if kind != "fifo":
        OutputFile(theirs).close()


def test_what_becomes_of_a_file_while_it_is_written_is_noticed(tmp_path: Path) -> None:
    path, other = tmp_path / "out", tmp_path / "other"
    with OutputFile(path) as file:
        assert file.complaint() is None
        path.rename(other)
        assert not file.removed and "was moved or replaced" in (file.complaint() or "")
        path.write_bytes(b"another file of that name")
        assert not file.removed and "was moved or replaced" in (file.complaint() or "")
        other.rename(path)
        assert file.complaint() is None
        path.unlink()
        assert file.removed and f"{path} was removed" in (file.complaint() or "")


def test_a_file_without_a_name_is_not_taken_for_a_removed_one() -> None:
    fd = os.memfd_create("nameless")
    with OutputFile(f"/proc/self/fd/{fd}") as file:
        assert not file.removed and file.complaint() is None
    os.close(fd)


def test_a_look_whether_a_file_can_be_written_changes_nothing(tmp_path: Path) -> None:
    old, fifo = tmp_path / "old", tmp_path / "fifo"
    old.write_bytes(b"content")
    os.mkfifo(fifo)
    for path in (old, fifo, tmp_path / "new", "/dev/null"):
        check_writable(path)
    assert old.read_bytes() == b"content" and not (tmp_path / "new").exists()
    for path in (tmp_path, tmp_path / "nowhere" / "new"):
        with pytest.raises(OSError, match=r"Is a directory|No such file"):
            check_writable(path)
