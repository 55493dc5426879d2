"""2 MiB pages: how many the kernel has, and the sentence for too few of them."""

from pathlib import Path

from ixyfwd.memory.layout import ARENA_PAGE_BYTES

_SYSFS = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def hugepages_free() -> int:
    """2 MiB pages that are free and not reserved; 0 where the kernel has none of that size."""
    return max(0, _read("free_hugepages") - _read("resv_hugepages"))


def hugepages_total() -> int:
    """2 MiB pages in the kernel's pool."""
    return _read("nr_hugepages")


def pages_for(size: int) -> int:
    """2 MiB pages that `size` bytes take."""
    return -(-size // ARENA_PAGE_BYTES)


def shortage(size: int) -> str:
    """The clauses for an arena of `size` bytes without pages: what is missing, and the command that adds them."""
    needed, free = pages_for(size), hugepages_free()
    total = hugepages_total() + max(0, needed - free)
    return (
        f"the arena needs {needed} hugepages of 2 MiB and {free} are free; "
        f"as root: echo {total} > /proc/sys/vm/nr_hugepages"
    )


def _read(name: str) -> int:
    try:
        return int((_SYSFS / name).read_text())
    except (OSError, ValueError):
        return 0
