"""Memory near a device: NUMA nodes, their CPUs, and the nodes of pages. `root` is where the file system begins."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")
_NODES: Final = "sys/devices/system/node"
_PAGES: Final = re.compile(r"\bN(\d+)=(\d+)")


def cpus_of(node: int, root: Path = _ROOT) -> frozenset[int]:
    """The node's CPUs; empty for a node that has none or is not there."""
    folder = root / _NODES / f"node{node}"
    return frozenset(int(path.name[3:]) for path in folder.glob("cpu[0-9]*"))


def node_of(cpu: int, root: Path = _ROOT) -> int | None:
    """The CPU's node, or None where the kernel knows no nodes."""
    found = [int(path.parent.name[4:]) for path in (root / _NODES).glob(f"node[0-9]*/cpu{cpu}")]
    return found[0] if found else None


@contextlib.contextmanager
def running_on(node: int | None, root: Path = _ROOT) -> Iterator[None]:
    """Run on the node's CPUs inside the context: pages allocated there come from the node as long as it has any.

    This needs no memory policy, which would take a raw system call and which children
    would inherit. Without a node, or if this process may not run there, nothing
    changes.
    """
    before = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):
        if node is not None and (cpus := cpus_of(node, root)):
            os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pages_by_node(file: str, root: Path = _ROOT) -> dict[int, int]:
    """The number of pages on each node, of a mapped file of this process; `file` is a part of its name."""
    found: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/numa_maps").read_text().splitlines():
            if "file=" in line and file in line:
                for node, pages in _PAGES.findall(line):
                    found[int(node)] = found.get(int(node), 0) + int(pages)
    return found
