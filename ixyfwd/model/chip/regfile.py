"""The registers at work: values in the store, semantics from the table, exceptions from bound hooks."""

from collections.abc import Callable, Collection, Mapping

from ixyfwd.model.chip.registers import BAR_BYTES, READ_MODES, WRITE_MODES, Cell, RegisterMap

ReadHook = Callable[[str, int], int]
"""(name, index) -> the value that the client sees."""
WriteHook = Callable[[str, int, int], None]
"""(name, index, written value); the hook stores what is to be stored."""


class RegisterFile:
    """BAR0 as a client sees it through trapped accesses.

    `store`: uint32[131072], the stored values. `changed` is called when a register that the data path works by has a
    new value; `misuse(name, index, text)` when software wrote where it has no business to.
    """

    def __init__(
        self,
        store: memoryview,
        registers: RegisterMap,
        changed: Callable[[], None],
        misuse: Callable[[str, int, str], None],
    ) -> None:
        self._store = store
        self._map = registers
        self._changed = changed
        self._misuse = misuse
        self._readers: dict[str, ReadHook] = {}
        self._writers: dict[str, WriteHook] = {}

    def bind(self, readers: Mapping[str, ReadHook], writers: Mapping[str, WriteHook]) -> None:
        """Give hooks of the table their meaning."""
        self._readers.update(readers)
        self._writers.update(writers)

    def unbound(self) -> set[str]:
        """Hooks that the table names and no component has bound: empty in a complete port."""
        rows = [cell.register for cell in self._map.cells()]
        reads = {row.read for row in rows} - READ_MODES - self._readers.keys()
        return reads | ({row.write for row in rows} - WRITE_MODES - self._writers.keys())

    def peek(self, name: str, index: int = 0) -> int:
        """The stored value, without side effects."""
        return self._store[self._map.named[name, index].word]

    def poke(self, name: str, index: int, value: int) -> None:
        """Store a value as the hardware does: no mask, no side effects except that the data path learns of it."""
        cell = self._map.named[name, index]
        self._put(cell, value)

    def offset(self, name: str, index: int = 0) -> int:
        """The BAR0 offset in bytes of a register."""
        return self._map.named[name, index].word * 4

    def _put(self, cell: Cell, value: int) -> None:
        if self._store[cell.word] != value:
            self._store[cell.word] = value
            if cell.register.path:
                self._changed()

    def reset(self, keep: Collection[str] = ()) -> None:
        """Set every register to its reset value, except the single ones named in `keep`."""
        kept = [(name, self.peek(name)) for name in keep]
        self._store[:] = memoryview(self._map.image)
        for name, value in kept:
            self._store[self._map.named[name, 0].word] = value
        self._changed()

    def reset_but(self, kept: Callable[[Cell], bool]) -> None:
        """Reset all cells but those for which `kept` is true."""
        for cell in self._map.cells():
            if not kept(cell):
                self._store[cell.word] = self._map.image[cell.word]
        self._changed()

    def read32(self, offset: int) -> int:
        """Read an aligned word. What is not implemented reads 0, never all ones."""
        cell = self._map.at.get(offset)
        if cell is None:
            return 0
        mode = cell.register.read
        if mode == "plain":
            return self._store[cell.word]
        if mode == "clear":
            value = self._store[cell.word]
            self._store[cell.word] = 0
            return value
        if mode == "zero":
            return 0
        return self._readers[mode](cell.register.name, cell.number) & 0xFFFFFFFF

    def write32(self, offset: int, value: int) -> None:
        """Write an aligned word; ignored where nothing is implemented."""
        cell = self._map.at.get(offset)
        if cell is None:
            return
        row = cell.register
        if row.write == "plain":
            self._put(cell, self._store[cell.word] & ~row.mask | value & row.mask)
        elif row.write == "w1c":
            self._put(cell, self._store[cell.word] & ~(value & row.mask))
        elif row.write == "w1s":
            self._put(cell, self._store[cell.word] | value & row.mask)
        elif row.write == "guarded":
            self._misuse(row.name, cell.number, f"{value:#x} written to a read-only register")
        elif row.write != "ro":
            self._writers[row.write](row.name, cell.number, value)

    def read(self, offset: int, count: int) -> bytes:
        """Read any run of bytes, register by register from the lowest up: a 64-bit read is two, low half first."""
        _check(offset, count)
        start = offset & ~3
        end = -(-(offset + count) // 4) * 4
        words = b"".join(self.read32(at).to_bytes(4, "little") for at in range(start, end, 4))
        return words[offset - start : offset - start + count]

    def write(self, offset: int, data: bytes) -> None:
        """Write any run of bytes, lowest register first. Part of a register is merged with its stored rest."""
        _check(offset, len(data))
        at = offset
        end = offset + len(data)
        while at < end:
            word, shift = at & ~3, at & 3
            taken = min(4 - shift, end - at)
            piece = data[at - offset : at - offset + taken]
            if taken == 4:
                self.write32(word, int.from_bytes(piece, "little"))
            else:
                self._write_part(word, shift, piece)
            at += taken

    def _write_part(self, word: int, shift: int, piece: bytes) -> None:
        cell = self._map.at.get(word)
        if cell is None:
            return
        # The bytes that were not written must not act: a 1 in them would set or clear bits of such registers.
        acts = cell.register.write in ("w1c", "w1s")
        whole = bytearray(4) if acts else bytearray(self._store[cell.word].to_bytes(4, "little"))
        whole[shift : shift + len(piece)] = piece
        self.write32(word, int.from_bytes(whole, "little"))


def _check(offset: int, count: int) -> None:
    if offset < 0 or offset + count > BAR_BYTES:
        raise ValueError(f"an access of {count} bytes at BAR0 + {offset:#x} leaves its {BAR_BYTES:#x} bytes")
