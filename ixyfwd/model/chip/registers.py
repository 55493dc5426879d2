"""What a register is, and how the table of them becomes a map from BAR0 offsets to cells.

Access modes by name, for `read`:
  plain   the stored value
  clear   the stored value, which the read clears
  zero    0, also after a write
and for `write`:
  plain   the bits of `mask`
  ro      ignored
  guarded ignored, and reported: no driver has a reason to write there
  w1c     a 1 clears a bit (of `mask`)
  w1s     a 1 sets a bit (of `mask`)
Any other name is a hook that a part of the port has bound to it.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

BAR_BYTES = 512 * 1024
READ_MODES = frozenset({"plain", "clear", "zero"})
WRITE_MODES = frozenset({"plain", "ro", "guarded", "w1c", "w1s"})


@dataclass(frozen=True, slots=True)
class RegisterCells:
    """A row of the register table: `count` cells from `offset` on, `stride` bytes apart, numbered from `first`.

    `reset` is the value after reset, a tuple for the first cells of a run whose others are 0. `alias`: a second view of
    cells that another row defines. `path`: the data path works by it and must be told of a change.
    """

    name: str
    offset: int
    count: int = 1
    stride: int = 4
    first: int = 0
    reset: int | tuple[int, ...] = 0
    mask: int = 0xFFFFFFFF
    read: str = "plain"
    write: str = "plain"
    alias: bool = False
    path: bool = False

    def reset_of(self, index: int) -> int:
        """The value of cell number `index` after a reset."""
        if isinstance(self.reset, int):
            return self.reset
        at = index - self.first
        return self.reset[at] if at < len(self.reset) else 0


class Cell(NamedTuple):
    """One register instance; `word` is its place in the store (the offset of the defining row, divided by 4)."""

    register: RegisterCells
    number: int
    word: int


class RegisterMap:
    """The expanded table: `at[offset]` and `named[name, index]` find the same cells.

    `image` is BAR0 after reset, as 32-bit words.
    """

    def __init__(self, table: Iterable[RegisterCells]) -> None:
        """Raises ValueError for rows that collide, leave BAR0, or alias nothing."""
        rows = list(table)
        self.at: dict[int, Cell] = {}
        self.named: dict[tuple[str, int], Cell] = {}
        self.image = array("I", bytes(BAR_BYTES))
        for row in (r for r in rows if not r.alias):
            for index, offset in _places(row):
                cell = Cell(row, index, offset // 4)
                if self.named.setdefault((row.name, index), cell) is not cell:
                    raise ValueError(f"{row.name}({index}) is defined twice")
                self._place(offset, cell)
                self.image[cell.word] = row.reset_of(index)
        for row in (r for r in rows if r.alias):
            for index, offset in _places(row):
                target = self.named.get((row.name, index))
                if target is None:
                    raise ValueError(f"{row.name}({index}) at {offset:#x} is an alias of nothing")
                self._place(offset, target)

    def _place(self, offset: int, cell: Cell) -> None:
        if offset % 4 or not 0 <= offset < BAR_BYTES:
            raise ValueError(f"{cell.register.name}({cell.number}) at {offset:#x} is no place in BAR0")
        other = self.at.setdefault(offset, cell)
        if other is not cell:
            names = f"{cell.register.name}({cell.number}) and {other.register.name}({other.number})"
            raise ValueError(f"{names} share the offset {offset:#x}")

    def cells(self) -> Iterable[Cell]:
        """Every cell once."""
        return self.named.values()


def _places(row: RegisterCells) -> Iterable[tuple[int, int]]:
    return ((row.first + n, row.offset + n * row.stride) for n in range(row.count))
