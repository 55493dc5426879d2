"""Arena files by name in a hugetlbfs mount: for real hardware without an IOMMU.

There the pages must outlive a killed supervisor until the device's bus mastering is off: memory that is freed while a
NIC still writes to it is memory corruption. So the file stays, held by a lock that dies with its last user, and the
next start sweeps it, *after* it has stopped the devices.
"""

import os
import re
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.locks import try_lock
from ixyfwd.kit.mounts import Mount, mount_of, mounts
from ixyfwd.kit.tree import Tree
from ixyfwd.memory.layout import ARENA_PAGE_BYTES

PATTERN: Final = "ixyfwd-*.arena"
_ATTEMPTS: Final = 10
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_HERE: Final = Tree()
_PLACE: Final = "/dev/hugepages-2M"
_PAGESIZE: Final = re.compile(r"(\d+)([KMG])")
_SHIFTS: Final = {"K": 10, "M": 20, "G": 30}


@dataclass(frozen=True)
class Room:
    """The room in a mount with the option size=: pages that it may have, and how many of them are not taken."""

    point: str
    most: int
    free: int


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


def check_mount(mount: str, tree: Tree = _HERE) -> None:
    """Check that `mount` is in a hugetlbfs of 2 MiB pages. Raises IxyfwdError if it is not."""
    problem = mount_problem(tree, mount)
    if problem is not None:
        raise IxyfwdError(f"{problem[0]}; as root: {problem[1]}")


def mount_problem(tree: Tree, path: str) -> tuple[str, str] | None:
    """A clause on what is wrong with a place for arenas, and a shell command for root against it.

    None if it is in a hugetlbfs of 2 MiB pages, at any depth. Raises UnreadableError.
    """
    name = shlex.quote(path)
    if not tree.at(path).is_dir():
        return f"{path} is not a directory", f"mkdir -p {name} && mount -t hugetlbfs -o pagesize=2M none {name}"
    mount = mount_of(tree, path)
    kind = "an unknown file system" if mount is None else mount.kind
    if mount is None or kind != "hugetlbfs":
        return f"{path} is on {kind}, not on hugetlbfs", f"mount -t hugetlbfs -o pagesize=2M none {name}"
    page_bytes = _page_bytes(tree, mount)
    if page_bytes != ARENA_PAGE_BYTES:
        fix = f"mkdir -p {_PLACE} && mount -t hugetlbfs -o pagesize=2M none {_PLACE}"
        if path != _PLACE:
            fix += f' # and memory.backing = "hugetlbfs:{_PLACE}"'
        return f"{path} has pages of {page_bytes // 1024} KiB, 2048 KiB are needed", fix
    return None


def find_mount(tree: Tree = _HERE) -> str:
    """The first mounted hugetlbfs with 2 MiB pages that we may write to. Raises IxyfwdError if there is none."""
    for mount in mounts(tree):
        fits = mount.kind == "hugetlbfs" and mount_problem(tree, mount.point) is None
        if fits and os.access(tree.at(mount.point), os.W_OK):
            return mount.point
    raise IxyfwdError(
        "no hugetlbfs of 2 MiB pages is mounted, which a device without an IOMMU needs; as root: "
        f"mkdir -p {_PLACE} && mount -t hugetlbfs -o pagesize=2M none {_PLACE}"
    )


def room_of(tree: Tree, path: str) -> Room | None:
    """How much room the mount has that a path is on; None if it has as much as there are pages."""
    mount = mount_of(tree, path)
    if mount is None or not mount.options.get("size", "").isdigit():
        return None
    most = free = int(mount.options["size"]) // ARENA_PAGE_BYTES
    found = os.statvfs(tree.at(mount.point))
    if found.f_bsize == ARENA_PAGE_BYTES and found.f_blocks == most:  # it is this mount, and no tree of a test
        free = found.f_bavail
    return Room(mount.point, most, free)


def _page_bytes(tree: Tree, mount: Mount) -> int:
    """Of a hugetlbfs. Kernels before 4.14 do not list the option."""
    found = _PAGESIZE.fullmatch(mount.options.get("pagesize", ""))
    return int(found[1]) << _SHIFTS[found[2]] if found else os.statvfs(tree.at(mount.point)).f_bsize
