"""What the kernel says of a process, from /proc."""

from typing import Final

STOPPED: Final = frozenset("Tt")  # by a signal, by a debugger
ENDED: Final = frozenset("ZX")


def state_of(pid: int) -> str | None:
    """The state of a process, the letter that `ps` shows (proc(5)); None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read(4096)
    except OSError:
        return None
    after_name = line.rpartition(b")")[2].split()  # the name may hold anything
    return after_name[0].decode() if after_name else None
