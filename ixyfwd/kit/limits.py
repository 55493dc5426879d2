"""Resource limits of this process (getrlimit(2)), as /proc shows them, and how many processes may still begin."""

import resource
from contextlib import suppress
from typing import Final

from ixyfwd.kit.cgroups import Limit, processes
from ixyfwd.kit.tree import Tree, UnreadableError

_LIMITS: Final = "/proc/self/limits"
_STATUS: Final = "/proc/self/status"
_PRIVILEGED: Final = 1 << 21 | 1 << 24  # CAP_SYS_ADMIN, CAP_SYS_RESOURCE: RLIMIT_NPROC does not bind them


def limit(tree: Tree, name: str) -> tuple[float, float]:
    """Soft and hard value of a line of /proc/self/limits; infinite for "unlimited". Raises UnreadableError."""
    for line in tree.text(_LIMITS).splitlines():
        if line.startswith(name):
            words = line[len(name) :].split()
            try:
                soft, hard = (float("inf") if word == "unlimited" else float(int(word)) for word in words[:2])
            except ValueError:
                break
            return soft, hard
    raise UnreadableError(f"{_LIMITS} has no readable line {name!r}")


def open_files(tree: Tree) -> tuple[float, float]:
    """How many files may be open, and how far this process may raise that. Raises UnreadableError."""
    return limit(tree, "Max open files")


def allow_open_files(least: int) -> None:
    """Raise the soft limit to `least` if the hard one permits; it is the default of shells and units that is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < least:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))


def processes_left(tree: Tree) -> Limit | None:
    """Where the fewest processes and threads may still begin: a control group or `ulimit -u`; None without a limit.

    Raises UnreadableError.
    """
    found = [one for one in (processes(tree), _user_processes(tree)) if one is not None]
    return min(found, key=lambda one: one.left, default=None)


def _user_processes(tree: Tree) -> Limit | None:
    soft, _hard = limit(tree, "Max processes")
    mine = _status(tree, _STATUS)
    user = mine.get("Uid", "").split()
    if soft == float("inf") or not user or (user[0] == "0" and int(mine.get("CapEff", "0"), 16) & _PRIVILEGED):
        return None
    used = 0
    for name in tree.names("/proc"):
        if name.isdigit():
            with suppress(UnreadableError, ValueError):  # it has ended meanwhile
                other = _status(tree, f"/proc/{name}/status")
                if other.get("Uid", "").split()[:1] == user[:1]:
                    used += int(other.get("Threads", "1"))
    return Limit(int(soft), used, "ulimit -u")


def _status(tree: Tree, path: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in tree.text(path).splitlines())
    return {name: value.strip() for name, _, value in pairs}
