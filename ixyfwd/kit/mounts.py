"""What is mounted where, as this process sees it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ixyfwd.kit.tree import Tree, UnreadableError

_TABLE: Final = "/proc/self/mountinfo"


@dataclass(frozen=True)
class Mount:
    """A mount, by the part of a file system (`root`) that is at `point`.

    `options` are the file system's; one without a value has "".
    """

    root: str
    point: str
    kind: str
    options: Mapping[str, str]

    def holds(self, path: str) -> bool:
        """Whether a path without links is in it, unless another mount hides it."""
        return path == self.point or path.startswith(self.point.rstrip("/") + "/")


def mounts(tree: Tree) -> list[Mount]:
    """All, in the order of mounting. Raises UnreadableError."""
    found = []
    for line in tree.text(_TABLE).splitlines():
        left, separator, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if not separator or len(before) < 6 or len(after) < 3:
            raise UnreadableError(f"{_TABLE} says {line[:40]!r}, expected a mount")
        words = (word.partition("=") for word in after[2].split(","))
        options = {name: value for name, _, value in words}
        found.append(Mount(_unescape(before[3]), _unescape(before[4]), after[0], options))
    return found


def mount_of(tree: Tree, path: str) -> Mount | None:
    """The mount that a path is on, through all links. Raises UnreadableError."""
    real = tree.real(path)
    best: Mount | None = None
    for mount in mounts(tree):
        # Of two mounts on one point, the later hides the earlier.
        if mount.holds(real) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _unescape(field: str) -> str:
    """mountinfo writes blanks and backslashes in paths as octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
