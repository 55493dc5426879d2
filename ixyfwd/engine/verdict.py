"""Verdicts: the decisions of programs about each frame of a batch.

A verdict is a 32-bit word of the batch's column `verdicts`: an action in the upper 8
bits and its target in the lower 8, the port of OUT or the cause of DROP. The bits
between, and further actions, are reserved for a copy to a second port and for the
kernel's interface. `engine/batch.h` has the same numbers; a test compares them.

PASS: the next program decides, and after the last one the frame leaves by the other
port of its link. OUT: the same, but it leaves by the port named here; a later program
may decide otherwise. DROP: the frame is freed at once, and no later program sees it. An
invalid verdict (no such port, cause or action) frees the frame too, and is counted as
`invalid`.
"""

from enum import IntEnum
from typing import Final

ACTION_SHIFT: Final = 24
TARGET_MASK: Final = 0xFF
RESERVED_MASK: Final = 0x00FF_FF00


class Action(IntEnum):
    """The upper 8 bits of a verdict."""

    PASS = 0
    OUT = 1
    DROP = 2


PASS: Final = Action.PASS << ACTION_SHIFT


def out_of(port: int) -> int:
    """The verdict that sends a frame out of a port, by index."""
    return Action.OUT << ACTION_SHIFT | port


def drop_for(cause: int) -> int:
    """The verdict that drops a frame for one of its program's causes, by index."""
    return Action.DROP << ACTION_SHIFT | cause
