"""BAR windows mapped into this process, for doorbells: a store into the view is one register write."""

import mmap
from collections.abc import Mapping
from typing import Final, Literal

from ixyfwd.errors import DeviceError
from ixyfwd.pci.function import Window

_FORMATS: Final[Mapping[int, Literal["B", "H", "I", "Q"]]] = {1: "B", 2: "H", 4: "I", 8: "Q"}  # by width in bytes


def map_window(window: Window) -> memoryview:
    """Map a window as a writable view, uint32[window.size / 4].

    `view[i] = value` is exactly one aligned 32-bit store at `window.bar_offset` + 4 i
    of BAR0. That is a property of memoryview in CPython; struct.pack_into and cffi
    pointers store twice. `unmap_window` undoes it. Raises DeviceError if the window
    cannot be mapped.
    """
    try:
        mapping = mmap.mmap(window.fd, window.size, offset=window.file_offset)
    except (OSError, ValueError) as error:
        where = f"{window.size:#x} bytes at BAR0 + {window.bar_offset:#x}"
        raise DeviceError(f"the doorbell window of {where} cannot be mapped: {error}") from None
    return memoryview(mapping).cast("I")


def register_view(view: memoryview, window: Window, bar_offset: int, width_bytes: int = 4) -> memoryview:
    """A view of the one register at `bar_offset`, which is `width_bytes` (1, 2, 4 or 8) wide.

    `view`: uint32[window.size / 4], as `map_window` gives it. The result is uint8[1],
    uint16[1], uint32[1] or uint64[1]. Raises ValueError for a register outside the
    window.
    """
    at = bar_offset - window.bar_offset
    if at % width_bytes or not 0 <= at < window.size:
        run = f"{window.bar_offset:#x} to {window.bar_offset + window.size:#x}"
        raise ValueError(f"no register at BAR0 + {bar_offset:#x} in the window from {run}")
    return view.cast("B")[at : at + width_bytes].cast(_FORMATS[width_bytes])


def unmap_window(view: memoryview) -> None:
    """Undo `map_window`. `view`: uint32[n], its result.

    Raises BufferError while a view made from this one exists; the mapping then ends
    with the last of them.
    """
    mapping = view.obj
    view.release()
    if isinstance(mapping, mmap.mmap):
        mapping.close()
