"""Where instances of this user keep their locks and sockets.

The answer is the same in a shell, under cron, su, sudo and in a unit: the user decides, and what the machine has, but
nothing of the environment as long as one of the fixed places can be had.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ixyfwd.errors import RefusedError
from ixyfwd.kit.locks import LockHolder, find_holder

LOCK: Final = "lock"
CONTROL: Final = "control.sock"


@dataclass(frozen=True)
class InstancePlace:
    """A directory with a directory per instance in it. `lasting`: it stays when the user's last session ends."""

    base: Path
    lasting: bool = True


def places() -> tuple[InstancePlace, ...]:
    """The places of this user, the best one first."""
    user = real_user()
    fixed = [InstancePlace(Path(f"/run/user/{user}/ixyfwd"), lasting=False), InstancePlace(Path(f"/tmp/ixyfwd-{user}"))]  # noqa: S108
    if 0 in {user, os.geteuid()}:
        fixed.insert(0, InstancePlace(Path("/run/ixyfwd")))
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session and Path(session).is_absolute():  # where none of the others can be had
        fixed.append(InstancePlace(Path(session) / "ixyfwd", lasting=False))
    return tuple(dict.fromkeys(fixed))


def real_user() -> int:
    """The user's number outside of a user namespace, in which the same user may be root."""
    user = os.geteuid()
    try:
        for line in Path("/proc/self/uid_map").read_text().splitlines():
            inside, outside, count = map(int, line.split())
            if inside <= user < inside + count:
                return outside + user - inside
    except (OSError, ValueError):
        pass
    return user


def make_private(path: Path) -> None:
    """Make the directory unless it is there. Raises OSError if that fails, RefusedError if others can write into it.

    One that is removed at this moment by its last owner may be missing afterwards.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError:
        if not path.is_dir():  # a file system that is read-only says that first
            raise
    if os.path.lexists(path) and not is_private(path):
        raise RefusedError(f"{path} is not a directory that only this user can write")


def is_private(path: Path) -> bool:
    """Whether it is a directory of this user that no other user can write into."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def running(name: str) -> Iterator[tuple[Path, LockHolder]]:
    """Directories of this user's running instances of that name, and who runs them. Others' are not believed."""
    for place in places():
        folder = place.base / name
        if is_private(place.base) and is_private(folder):
            holder = find_holder(folder / LOCK)
            if holder is not None:
                yield folder, holder


def runtime_dir(name: str) -> Path:
    """Where the instance of that name is; if it does not run, where it would be looked for first."""
    found = [place.base / name for place in places() if is_private(place.base / name)]
    found = [folder for folder in found if (folder / CONTROL).exists()]
    if len(found) > 1:  # all but one were left by a supervisor that was killed
        found = [folder for folder, _ in running(name) if folder in found] or found
    return found[0] if found else places()[0].base / name


def control_socket(name: str) -> Path:
    """Where that instance's supervisor listens."""
    return runtime_dir(name) / CONTROL
