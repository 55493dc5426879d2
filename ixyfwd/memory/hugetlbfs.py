"""Arena files by name in a hugetlbfs mount: for real hardware without an IOMMU.

There the pages must outlive a killed supervisor until the device's bus mastering is off: memory that is freed while a
NIC still writes to it is memory corruption. So the file stays, held by a lock that dies with its last user, and the
next start sweeps it, *after* it has stopped the devices.
"""

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.locks import try_lock
from ixyfwd.memory.layout import ARENA_PAGE_BYTES

PATTERN: Final = "ixyfwd-*.arena"
_ATTEMPTS: Final = 10
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


def create_file(mount: str) -> tuple[int, str]:
    """Create an empty file of mode 0600 and lock it; returns its descriptor and path.

    Files whose owner is gone are swept first. Raises IxyfwdError unless `mount` is a
    hugetlbfs of 2 MiB pages.
    """
    check_mount(mount)
    sweep(mount)
    for _ in range(_ATTEMPTS):
        path = os.path.join(mount, f"ixyfwd-{os.getpid()}-{secrets.token_hex(4)}.arena")
        try:
            fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise IxyfwdError(f"cannot create a file in {mount}: {error.strerror}") from None
        # Another start may sweep the file between these two calls: then it is not ours any more.
        if try_lock(fd) and os.fstat(fd).st_nlink:
            return fd, path
        os.close(fd)
    raise IxyfwdError(f"cannot lock a new file in {mount}: each one was swept by another process; try again")


def sweep(mount: str) -> list[str]:
    """Remove arena files whose owner is gone; returns their paths. Files of other users are left alone.

    The devices that the owner drove must have been stopped before.
    """
    swept: list[str] = []
    for path in sorted(Path(mount).glob(PATTERN)):
        try:
            fd = os.open(path, _FLAGS)
        except OSError:
            continue
        try:
            if try_lock(fd):
                os.unlink(path)
                swept.append(str(path))
        except FileNotFoundError:
            pass
        finally:
            os.close(fd)
    return swept


def check_mount(mount: str) -> None:
    """Check that `mount` is a directory in a hugetlbfs with 2 MiB pages. Raises IxyfwdError if it is not."""
    if not os.path.isdir(mount):
        raise IxyfwdError(f"{mount} is not a directory; name a hugetlbfs mount: mount -t hugetlbfs none {mount}")
    found = _filesystem_of(os.path.realpath(mount))
    if found != "hugetlbfs":
        raise IxyfwdError(f"{mount} is on {found}, not on hugetlbfs; as root: mount -t hugetlbfs none {mount}")
    page_bytes = os.statvfs(mount).f_bsize
    if page_bytes != ARENA_PAGE_BYTES:
        raise IxyfwdError(
            f"{mount} has pages of {page_bytes // 1024} KiB, 2048 KiB are needed; "
            f"as root: mount -t hugetlbfs -o pagesize=2M none {mount}"
        )


def find_mount() -> str:
    """The first mounted hugetlbfs with 2 MiB pages that this process may write to. Raises IxyfwdError."""
    for point, kind in _mounts():
        if kind == "hugetlbfs" and os.access(point, os.W_OK) and os.statvfs(point).f_bsize == ARENA_PAGE_BYTES:
            return point
    raise IxyfwdError(
        "no hugetlbfs of 2 MiB pages is mounted, which a device without an IOMMU needs; as root: "
        "mkdir -p /dev/hugepages && mount -t hugetlbfs -o pagesize=2M none /dev/hugepages"
    )


def _filesystem_of(path: str) -> str:
    """The type of the file system that holds a real path."""
    best, kind = "", "an unknown file system"
    for point, found in _mounts():
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point, the later hides the earlier.
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def _mounts() -> Iterator[tuple[str, str]]:
    """Mount points and types of file system, in the order of mounting."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            left, _, right = line.partition(" - ")
            yield _unescape(left.split(" ")[4]), right.split(" ")[0]


def _unescape(field: str) -> str:
    """A path of mountinfo, which writes blanks and backslashes as octal (proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
