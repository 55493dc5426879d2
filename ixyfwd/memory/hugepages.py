"""How many 2 MiB pages can be had, what limits them, and what to do when they are too few."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ixyfwd.kit.cgroups import hugepage_bytes
from ixyfwd.kit.tree import Tree, UnreadableError
from ixyfwd.memory.hugetlbfs import room_of
from ixyfwd.memory.layout import ARENA_PAGE_BYTES

POOL: Final = "/sys/kernel/mm/hugepages/hugepages-2048kB"
NODES: Final = "/sys/devices/system/node"
PAGE: Final = "hugepages-2048kB"
_HERE: Final = Tree()


@dataclass(frozen=True)
class HugepagePool:
    """Pages of one size. `free` are neither used nor promised; `on_demand` the kernel makes when they are asked for."""

    free: int
    total: int
    on_demand: int = 0

    def __str__(self) -> str:
        more = f", {self.on_demand} more on demand" if self.on_demand else ""
        return f"{self.free} of {self.total} pages of 2 MiB free{more}"


@dataclass(frozen=True)
class Shortage:
    """What keeps pages from being had, and a shell command for root against it."""

    found: str
    fix: str


def pool_of(tree: Tree, path: str = POOL) -> HugepagePool:
    """A pool in sysfs; those of nodes do not say what is promised or made on demand. Raises UnreadableError."""
    free, total = (tree.number(f"{path}/{name}_hugepages") for name in ("free", "nr"))
    promised, most, surplus = (
        tree.number(f"{path}/{name}_hugepages") if tree.exists(f"{path}/{name}_hugepages") else 0
        for name in ("resv", "nr_overcommit", "surplus")
    )
    most = most if path == POOL else 0  # a node's surplus pages have no limit of their own
    return HugepagePool(max(0, free - promised), total, max(0, most - surplus))


def node_pool(node: int | str) -> str:
    """Where the pool of a NUMA node is."""
    return f"{NODES}/node{node}/hugepages/{PAGE}"


def shortages(tree: Tree, pages: int, mount: str | None = None, node: int | None = None) -> Iterator[Shortage]:
    """All that keeps `pages` from being had, in a hugetlbfs mount if one is named. `node`: where they are wanted.

    Advice adds to what is there, in the pool of this size (/proc/sys/vm/nr_hugepages is that of the default size).
    Raises UnreadableError.
    """
    pool = pool_of(tree)
    if pool.free + pool.on_demand < pages:
        where = node_pool(node) if node is not None and tree.exists(node_pool(node)) else POOL
        total = tree.number(f"{where}/nr_hugepages") + pages - pool.free
        yield Shortage(str(pool), f"echo {total} > {where}/nr_hugepages")
    else:
        yield from _elsewhere(tree, pages)
    limit = hugepage_bytes(tree, "2MB")
    if limit is not None and limit.left < pages * ARENA_PAGE_BYTES:
        most, used = limit.most // ARENA_PAGE_BYTES, limit.used // ARENA_PAGE_BYTES
        wanted = limit.used + pages * ARENA_PAGE_BYTES
        yield Shortage(
            f"the control group may have {most}, and has {used} ({limit.file})", f"echo {wanted} > {limit.file}"
        )
    room = None if mount is None else room_of(tree, mount)
    if room is not None and room.free < pages:
        size_mib, point = 2 * (room.most - room.free + pages), shlex.quote(room.point)
        yield Shortage(
            f"the mount at {room.point} has room for {room.most}, {room.free} of them free (its option size=)",
            f"umount {point} && mount -t hugetlbfs -o pagesize=2M,size={size_mib}M none {point}",
        )


def _elsewhere(tree: Tree, pages: int) -> Iterator[Shortage]:
    """Pages on NUMA nodes that this process may not take memory from (cpuset.mems) are free for others only."""
    nodes = {int(name[4:]) for name in tree.names(NODES) if name.startswith("node") and name[4:].isdigit()}
    allowed = _allowed_nodes(tree) & nodes
    if not allowed or allowed == nodes:
        return
    free = sum(pool_of(tree, node_pool(node)).free for node in allowed if tree.exists(node_pool(node)))
    if free < pages:
        home = node_pool(min(allowed))
        total = tree.number(f"{home}/nr_hugepages") + pages - free
        names = ", ".join(map(str, sorted(allowed)))
        found = f"{free} pages of 2 MiB free on the nodes that this process may use ({names})"
        yield Shortage(found, f"echo {total} > {home}/nr_hugepages")


def _allowed_nodes(tree: Tree) -> set[int]:
    for line in tree.text("/proc/self/status").splitlines():
        name, _, text = line.partition(":")
        if name == "Mems_allowed_list":
            parts = [part.partition("-") for part in text.strip().split(",") if part]
            return {node for first, _, last in parts for node in range(int(first), int(last or first) + 1)}
    return set()


def hugepages_free() -> int:
    """2 MiB pages that are free and not promised; 0 where the kernel has none of that size."""
    return _pool_here().free


def hugepages_total() -> int:
    """2 MiB pages in the kernel's pool."""
    return _pool_here().total


def _pool_here() -> HugepagePool:
    try:
        return pool_of(_HERE)
    except UnreadableError:
        return HugepagePool(0, 0)


def pages_for(size: int) -> int:
    """2 MiB pages that `size` bytes take."""
    return -(-size // ARENA_PAGE_BYTES)


def shortage(size: int, mount: str | None = None, node: int | None = None) -> str:
    """Clauses on what is missing for an arena of `size` bytes, and on what fixes it."""
    pages = pages_for(size)
    try:
        found = list(shortages(_HERE, pages, mount, node))
    except (UnreadableError, ValueError) as error:
        return f"the arena needs {pages} hugepages of 2 MiB, which the kernel refuses ({error})"
    if not found:
        return f"the arena needs {pages} hugepages of 2 MiB, which the kernel refuses though {_pool_here()}"
    causes, fixes = "; ".join(one.found for one in found), " && ".join(one.fix for one in found)
    return f"the arena needs {pages} hugepages of 2 MiB: {causes}; as root: {fixes}"
