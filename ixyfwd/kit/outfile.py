"""Files that a run writes: what may be opened, whose mode stays, and where a file is that is being written.

A new file is 0600. One that exists keeps its mode and its owner; it is looked at before it is emptied, so a file that
is refused is as it was. Symbolic links are followed. Devices and FIFOs are written to as they are.
"""

import errno
import os
import stat
import time
from types import TracebackType
from typing import Final, Self

from ixyfwd.errors import RefusedError

READER_S: Final = 5.0  # for a FIFO's reader to come
_LOOK_S: Final = 0.02
_FLAGS: Final = os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MOST_LINKS: Final = 40  # as many as the kernel follows
_MAGIC_LINKS: Final = "/proc/"


class OutputFile:
    """A file open for writing, its old content there until `begin`. `fd` blocks only if it is an ordinary file."""

    def __init__(self, path: str | os.PathLike[str], *, reader_s: float = READER_S) -> None:
        """Raises OSError, and RefusedError for a file that another user may have put there. `reader_s`: how long a FIFO
        may be without a reader."""
        self.path = os.fspath(path)
        self.fd = -1
        self.fd, self.created = _open(self.path, reader_s)
        try:
            self._check_opened()
        except BaseException:
            self.close()
            raise
        self._begun = self.created

    def _check_opened(self) -> None:
        found = os.fstat(self.fd)
        self.is_file = stat.S_ISREG(found.st_mode)
        self._named = found.st_nlink > 0
        self._place = found.st_dev, found.st_ino
        if not self.created and not stat.S_ISCHR(found.st_mode):
            _check_owner(self.path, found.st_uid, os.stat(os.path.dirname(os.path.realpath(self.path))))
        if self.is_file:
            os.set_blocking(self.fd, True)

    def begin(self) -> None:
        """Empty it, once. Raises OSError."""
        if not self._begun:
            self._begun = True
            if self.is_file:
                os.ftruncate(self.fd, 0)

    def complaint(self) -> str | None:
        """A sentence on what became of the file while it was written; None if it is where it was.

        A file that was removed is lost, one that was moved is not: see `removed`.
        """
        if not self.is_file or not self._named or self.fd < 0:
            return None
        if self.removed:
            return f"{self.path} was removed while it was written: what is written is in no file that has a name"
        try:
            found = os.stat(self.path)
            if (found.st_dev, found.st_ino) == self._place:
                return None
        except OSError:
            pass
        return f"{self.path} was moved or replaced while it was written: what is written goes into the file as it was"

    @property
    def removed(self) -> bool:
        """Whether the last of its names is gone."""
        return self.is_file and self._named and self.fd >= 0 and os.fstat(self.fd).st_nlink == 0

    def close(self) -> None:
        """Close the file; harmless when called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that `path` can be written, as far as can be told without a change.

    Raises what OutputFile does.
    """
    if not os.path.exists(path):
        folder = os.path.dirname(_follow(os.fspath(path))) or "."
        os.stat(folder)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    elif not stat.S_ISFIFO(os.stat(path).st_mode):  # whose reader would take it for the end
        OutputFile(path).close()


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Put `data` into a file in the place of what it held. Raises what OutputFile does."""
    with OutputFile(path) as file:
        file.begin()
        os.set_blocking(file.fd, True)
        view = memoryview(data)
        while view:
            view = view[os.write(file.fd, view) :]


def _open(path: str, reader_s: float) -> tuple[int, bool]:
    """The descriptor, and whether the file is new."""
    deadline = time.monotonic() + reader_s
    while True:
        target = _follow(path)
        flags = _FLAGS if target.startswith(_MAGIC_LINKS) else _FLAGS | os.O_NOFOLLOW
        try:
            return os.open(target, flags), False
        except FileNotFoundError:
            if target.startswith(_MAGIC_LINKS):
                raise
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(target).st_mode):
                raise
            if time.monotonic() >= deadline:
                raise OSError(errno.ENXIO, f"no reader has opened the FIFO within {reader_s:g} s") from None
            time.sleep(_LOOK_S)
            continue
        try:
            return os.open(target, flags | os.O_CREAT | os.O_EXCL, 0o600), True
        except FileExistsError:  # it has come in between
            if time.monotonic() >= deadline:
                raise


def _follow(path: str) -> str:
    """Where symbolic links lead, each of them checked. What is there, if anything, is no link any more, except below
    /proc, whose links are no paths."""
    for _ in range(_MOST_LINKS):
        if path.startswith(_MAGIC_LINKS) or not os.path.islink(path):
            return path
        folder = os.path.dirname(path)
        _check_owner(path, os.lstat(path).st_uid, os.stat(folder or "."))
        path = os.path.join(folder, os.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _check_owner(path: str, owner: int, folder: os.stat_result) -> None:
    """In a directory where every user may put files, such as /tmp, another user's file or link may have been put there
    to be written through. Where fs.protected_regular and its like are set the kernel refuses it, too."""
    shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
    if shared and owner not in (os.geteuid(), folder.st_uid):
        raise RefusedError(
            f"{path}: this file belongs to another user (uid {owner}), in a directory where every user may put files; "
            "choose another name"
        )
