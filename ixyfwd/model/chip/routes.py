"""IVAR and IVAR_MISC: the vector, or outside of MSI-X mode the bit of EICR, that a cause goes to (8.2.3.5)."""

from ixyfwd.model.chip.regfile import RegisterFile

IVAR_REGISTERS = 64
VALID, VECTOR = 0x80, 0x3F
IVAR_MASK, IVAR_MISC_MASK = 0xBFBFBFBF, 0xBFBF


def bits_of(value: int) -> list[int]:
    """The numbers of the bits that are set, lowest first."""
    found = []
    while value:
        low = value & -value
        found.append(low.bit_length() - 1)
        value ^= low
    return found


def _vector(entry: int) -> int | None:
    return entry & VECTOR if entry & VALID else None


class Routes:
    """The routes from queues and other causes to vectors, as IVAR and IVAR_MISC say (8.2.3.5).

    `rx[queue]` and `tx[queue]` are vectors; queues without a valid entry are missing. `queues[vector]` is the way
    back: rx and tx queues, a bit each. `timer` and `other`: vectors of the TCP timer and of all other causes.
    """

    def __init__(self, file: RegisterFile) -> None:
        self._file = file
        self.reset()
        file.bind({}, {"ivar": self._write_ivar})

    def reset(self) -> None:
        """After the registers were reset."""
        self._stale = False
        self.rx: dict[int, int] = {}
        self.tx: dict[int, int] = {}
        self.queues: dict[int, tuple[int, int]] = {}
        self.timer: int | None = None
        self.other: int | None = None

    def _write_ivar(self, name: str, index: int, value: int) -> None:
        self._file.poke(name, index, value & (IVAR_MISC_MASK if name == "IVAR_MISC" else IVAR_MASK))
        self._stale = True

    def refresh(self) -> None:
        """Read the registers again if they were written; before the attributes are looked at."""
        if not self._stale:
            return
        self.reset()
        for index in range(IVAR_REGISTERS):
            entries = self._file.peek("IVAR", index).to_bytes(4, "little")
            for queue in (2 * index, 2 * index + 1):
                self._add(queue, *(_vector(entry) for entry in entries[(queue & 1) * 2 :][:2]))
        misc = self._file.peek("IVAR_MISC")
        self.timer, self.other = _vector(misc & 0xFF), _vector(misc >> 8)

    def _add(self, queue: int, rx: int | None, tx: int | None) -> None:
        for at, (vector, table) in enumerate(((rx, self.rx), (tx, self.tx))):
            if vector is not None:
                table[queue] = vector
                both = list(self.queues.get(vector, (0, 0)))
                both[at] |= 1 << queue
                self.queues[vector] = both[0], both[1]
