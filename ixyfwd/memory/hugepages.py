"""How many 2 MiB pages the kernel has, and what to say when they are too few."""

from pathlib import Path

from ixyfwd.memory.layout import ARENA_PAGE_BYTES

_SYSFS = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def hugepages_free() -> int:
    """2 MiB pages that are free and not promised to anybody; 0 where the kernel has none of that size."""
    return max(0, _read("free_hugepages") - _read("resv_hugepages"))


def hugepages_total() -> int:
    """2 MiB pages in the kernel's pool."""
    return _read("nr_hugepages")


def pages_for(size: int) -> int:
    """2 MiB pages for `size` bytes."""
    return -(-size // ARENA_PAGE_BYTES)


def shortage(size: int) -> str:
    """One clause on what is missing and one on what fixes it."""
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
