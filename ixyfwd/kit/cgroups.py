"""What the control groups of this process allow: version 1, version 2 and both at once, the groups above it as well.

Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of the kernel name the files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ixyfwd.kit.mounts import mounts
from ixyfwd.kit.tree import Tree, UnreadableError

_GROUPS: Final = "/proc/self/cgroup"
_NO_LIMIT: Final = 1 << 60  # version 1 writes the largest multiple of a page for "none"

_MEMORY_V1: Final = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@dataclass(frozen=True)
class Quota:
    """How many CPUs' time a group may take; `file` says so, and `lift` is the shell command that takes it away."""

    cpus: float
    file: str
    lift: str


@dataclass(frozen=True)
class Limit:
    """How much of something a group may have, and has; `file` says so."""

    most: int
    used: int
    file: str

    @property
    def left(self) -> int:
        """What may still be had."""
        return max(0, self.most - self.used)


def groups(tree: Tree, controller: str) -> list[str]:
    """Directories of the groups that limit this process through a controller: its own first, then those above it."""
    if not tree.exists(_GROUPS):
        return []
    own = {}  # path by controller; "" for version 2
    for line in tree.text(_GROUPS).splitlines():
        _, separator, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if not separator or not path:
            raise UnreadableError(f"{_GROUPS} says {line[:40]!r}, expected a control group")
        own.update(dict.fromkeys(names.split(","), path))
    found = mounts(tree)
    for name in (controller, ""):
        for mount in found:
            right = mount.kind == "cgroup" and name in mount.options if name else mount.kind == "cgroup2"
            if right and name in own:
                return list(_upwards(mount.point, mount.root, own[name]))
    return []


def _upwards(point: str, root: str, path: str) -> Iterator[str]:
    # A group outside of what is mounted, as a container may have it, shows as "/.." or as a path that is not there.
    inside = path[len(root.rstrip("/")) :].strip("/") if f"{path}/".startswith(root.rstrip("/") + "/") else ""
    steps = [] if inside.startswith("..") else [step for step in inside.split("/") if step]
    for length in range(len(steps), -1, -1):
        yield "/".join((point.rstrip("/"), *steps[:length]))


def cpu_quota(tree: Tree) -> Quota | None:
    """The tightest quota of CPU time, or None."""
    found = [quota for group in groups(tree, "cpu") if (quota := _quota(tree, group)) is not None]
    return min(found, key=lambda quota: quota.cpus, default=None)


def _quota(tree: Tree, group: str) -> Quota | None:
    file = f"{group}/cpu.max"
    if tree.exists(file):
        most, _, period = tree.text(file).partition(" ")
        return None if most == "max" else _share(file, tree.number(file, most), tree.number(file, period), "max")
    file = f"{group}/cpu.cfs_quota_us"
    if not tree.exists(file) or (quota := tree.number(file)) < 0:
        return None
    return _share(file, quota, tree.number(f"{group}/cpu.cfs_period_us"), "-1")


def _share(file: str, quota: int, period: int, lift: str) -> Quota:
    if period <= 0:
        raise UnreadableError(f"{file} has a period of {period}, expected microseconds")
    return Quota(quota / period, file, f"echo {lift} > {file}")


def processes(tree: Tree) -> Limit | None:
    """Where the fewest processes and threads may still be started, or None."""
    return _tightest(tree, "pids", (("pids.max", "pids.current"),))


def hugepage_bytes(tree: Tree, page: str) -> Limit | None:
    """Where the fewest bytes in hugepages of a size ("2MB") may still be taken or reserved, or None."""
    bases = [f"hugetlb.{page}", f"hugetlb.{page}.rsvd"]
    files = [(f"{base}.max", f"{base}.current") for base in bases]
    files += [(f"{base}.limit_in_bytes", f"{base}.usage_in_bytes") for base in bases]
    return _tightest(tree, "hugetlb", files)


def memory(tree: Tree) -> Limit | None:
    """Where the fewest bytes of memory may still be taken, or None. Cached files that nothing uses are given back."""
    files = (("memory.max", "memory.current", "inactive_file"), _MEMORY_V1)
    found = []
    for group in groups(tree, "memory"):
        for most, used, cached in files:
            limit = _limit(tree, f"{group}/{most}", f"{group}/{used}")
            if limit is not None:
                lines = (line.split() for line in tree.text(f"{group}/memory.stat").splitlines())
                unused = sum(tree.number(most, words[1]) for words in lines if words[0] == cached)
                found.append(Limit(limit.most, max(0, limit.used - unused), limit.file))
    return min(found, key=lambda limit: limit.left, default=None)


def _tightest(tree: Tree, controller: str, files: Sequence[tuple[str, str]]) -> Limit | None:
    found = []
    for group in groups(tree, controller):
        for most, used in files:
            limit = _limit(tree, f"{group}/{most}", f"{group}/{used}")
            if limit is not None:
                found.append(limit)
    return min(found, key=lambda limit: limit.left, default=None)


def _limit(tree: Tree, most: str, used: str) -> Limit | None:
    if not tree.exists(most) or (text := tree.text(most)) == "max":
        return None
    limit = Limit(tree.number(most, text), tree.number(used), most)
    return limit if limit.most < _NO_LIMIT else None


def cpuset(tree: Tree) -> tuple[str, str] | None:
    """The list of CPUs that the group leaves this process, as the kernel writes it, and the file; None without one."""
    for group in groups(tree, "cpuset"):
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus"):
            file = f"{group}/{name}"
            if tree.exists(file) and (text := tree.text(file)):
                return text, file
    return None
