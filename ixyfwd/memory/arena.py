"""The arena: one shared file, mapped by the supervisor, its workers and simulated devices.

All pages are allocated, and zeroed, before the first use, so that too few of them is an
error at once and never a SIGBUS later. The kernel frees the memory with the last
descriptor and mapping, however the processes end; only a named file (`hugetlbfs`) is
removed by its owner or swept by the next start.
"""

import contextlib
import errno
import gc
import mmap
import os
import sys
from types import TracebackType
from typing import Final, Literal

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.kit.cgroups import memory
from ixyfwd.kit.syscalls import ALLOW_SEALING, CLOEXEC, HUGE_2MB, HUGETLB, memfd_create, seal_size
from ixyfwd.kit.tree import Tree, UnreadableError
from ixyfwd.memory.hugepages import shortage
from ixyfwd.memory.hugetlbfs import create_file
from ixyfwd.memory.layout import ARENA_PAGE_BYTES

PageKind = Literal["hugepages", "plain"]
FILE_NAME: Final = "ixyfwd-arena"
_NAMED_PREFIX: Final = "hugetlbfs:"


class Arena:
    """A mapped arena of `size` bytes.

    `view`: uint8[size], the whole arena, writable. `kind`: of its pages. `fd`: the
    file, owned by this object. `notice`: a sentence for the user, or "". `path`: the
    file's name, or None if it has none.
    """

    def __init__(self, fd: int, size: int, kind: PageKind, *, path: str | None = None, notice: str = "") -> None:
        """Map `size` bytes of `fd` and take it over. Raises OSError (ENOMEM) if the pages are not there."""
        self._mapping = mmap.mmap(fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.view = memoryview(self._mapping)
        self.fd = fd
        self.size = size
        self.kind: PageKind = kind
        self.path = path
        self.notice = notice
        self._owner = os.getpid()

    def set_inheritable(self, inheritable: bool = True) -> None:
        """Let child processes that are started with `close_fds=False` or `pass_fds` keep `fd`, or not."""
        os.set_inheritable(self.fd, inheritable)

    def close(self) -> None:
        """Unmap, close `fd`, remove the named file. Harmless when called twice.

        Raises BufferError, and leaves the arena open, while an object still holds a
        view; the message names it.
        """
        if self.fd < 0:
            return
        try:
            self.view.release()
        except BufferError:
            raise BufferError(
                "the arena cannot be unmapped: an object made of the whole view (by cffi, for one) still holds it"
            ) from None
        try:
            self._mapping.close()
        except BufferError:
            self.view = memoryview(self._mapping)
            raise BufferError(f"the arena cannot be unmapped: still held by {self._holders()}") from None
        # A process that merely inherited the object must not remove its owner's file.
        if self.path is not None and self._owner == os.getpid():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        os.close(self.fd)
        self.fd = -1

    def __enter__(self) -> "Arena":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _holders(self) -> str:
        views = [o for o in gc.get_objects() if isinstance(o, memoryview) and o is not self.view]
        mine = [v for v in views if _object_of(v) is self._mapping]
        words = sorted({f"a view of {v.nbytes} bytes (format {v.format!r})" for v in mine})
        return ", ".join(words) or "a view that the collector does not know of (gc.freeze hides them)"


def create_arena(size: int, backing: str = "auto", node: int | None = None) -> Arena:
    """A new arena of `size` bytes, a multiple of 2 MiB.

    `backing`: "auto" (hugepages, else ordinary pages and a notice), "hugepages", "plain", or "hugetlbfs:/MOUNT" (a
    named file, see `hugetlbfs`). `node`: the NUMA node that its pages are wanted on, for messages. Raises IxyfwdError
    if the pages are not there, UsageError for another `backing`, ValueError for another `size`.
    """
    if size <= 0 or size % ARENA_PAGE_BYTES:
        raise ValueError(f"an arena is a multiple of {ARENA_PAGE_BYTES} bytes, not {size}")
    if backing == "plain":
        return _plain(size, notice="")
    if backing == "hugepages":
        try:
            return _hugepages(size)
        except OSError as error:
            raise IxyfwdError(_why(error, size, node=node)) from None
    if backing == "auto":
        try:
            return _hugepages(size)
        except OSError as error:
            return _plain(size, notice=f"using ordinary memory pages, which is slower: {_why(error, size, node=node)}")
    if backing.startswith(_NAMED_PREFIX):
        return _named(size, backing.removeprefix(_NAMED_PREFIX), node)
    raise UsageError(
        f"memory backing {backing!r} is none of: auto, hugepages, plain, hugetlbfs:/MOUNT (a mounted hugetlbfs)"
    )


def attach_arena(fd: int, size: int) -> Arena:
    """Map an arena of `size` bytes that another process made, and take over `fd`. Raises IxyfwdError if it is none."""
    try:
        found = os.fstat(fd)
    except OSError as error:
        raise IxyfwdError(f"descriptor {fd} is not the arena: {error.strerror}") from None
    if found.st_size < size:
        raise IxyfwdError(f"descriptor {fd} is a file of {found.st_size} bytes, not an arena of {size}")
    kind: PageKind = "hugepages" if found.st_blksize == ARENA_PAGE_BYTES else "plain"
    try:
        return Arena(fd, size, kind)
    except OSError as error:
        raise IxyfwdError(f"cannot map the arena of {size} bytes: {error.strerror}") from None


def _hugepages(size: int) -> Arena:
    flags = CLOEXEC | ALLOW_SEALING | HUGETLB | HUGE_2MB
    return _anonymous(size, flags, "hugepages", "")


def _plain(size: int, notice: str) -> Arena:
    available = _memory_available()
    try:
        # Asking the kernel for more than there is would not fail: it would kill a process of its choice.
        if size > available:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return _anonymous(size, CLOEXEC | ALLOW_SEALING, "plain", notice)
    except OSError as error:
        raise IxyfwdError(
            f"cannot get {size >> 20} MiB of memory for the arena, {available >> 20} MiB are available "
            f"({error.strerror}); use fewer workers, smaller rings or fewer buffers"
        ) from None


def _anonymous(size: int, flags: int, kind: PageKind, notice: str) -> Arena:
    fd = memfd_create(FILE_NAME, flags)
    try:
        os.fchmod(fd, 0o600)
        _allocate(fd, size)
        seal_size(fd)
        return Arena(fd, size, kind, notice=notice)
    except BaseException:
        os.close(fd)
        raise


def _named(size: int, mount: str, node: int | None) -> Arena:
    fd, path = create_file(mount)
    try:
        _allocate(fd, size)
        return Arena(fd, size, "hugepages", path=path)
    except BaseException as error:
        os.unlink(path)
        os.close(fd)
        if isinstance(error, OSError):
            raise IxyfwdError(f"{mount}: {_why(error, size, mount, node)}") from None
        raise


def _allocate(fd: int, size: int) -> None:
    """Allocate every page now. Raises OSError."""
    os.ftruncate(fd, size)
    # Mapping reserves hugepages: if they are too few, it fails before a single one is taken from others and zeroed.
    mmap.mmap(fd, size, mmap.MAP_SHARED).close()
    # Allocating also finds what a reservation does not: the limit of a control group.
    os.posix_fallocate(fd, 0, size)


def _why(error: OSError, size: int, mount: str | None = None, node: int | None = None) -> str:
    if error.errno in (errno.ENOMEM, errno.ENOSPC):
        return shortage(size, mount, node)
    return f"no hugepages of 2 MiB can be had here ({error.strerror})"


def _memory_available() -> int:
    """Bytes that can be had without swapping, as the kernel estimates it, and within the control group."""
    with contextlib.suppress(UnreadableError):
        limit = memory(Tree())
        return min(_of_the_machine(), sys.maxsize if limit is None else limit.left)
    return _of_the_machine()


def _of_the_machine() -> int:
    with open("/proc/meminfo", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return sys.maxsize


def _object_of(view: memoryview) -> object:
    try:
        return view.obj
    except ValueError:  # a released view has no object
        return None
