"""BAR0 as a file that a driver maps: its stores become register writes, what the registers show goes back to it.

The model does not see the driver's accesses, only what the file holds when it looks (docs/polled.md). What was
last seen or shown is kept, word by word; a word that differs was written by the driver.
"""

import mmap

import numpy as np

from ixyfwd.model.chip.registers import BAR_BYTES, Cell, RegisterMap
from ixyfwd.model.chip.table_counters import SOURCES
from ixyfwd.model.port import CTRL_LNK_RST, CTRL_RST, SimulatedPort
from ixyfwd.vfiouser.protocol import Region

COMMANDS = frozenset({"CTRL", "RXCTRL", "EERD", "EEWR", "MSCA", "AUTOC", "RXDCTL", "TXDCTL"})
TAILS = frozenset({"RDT", "TDT"})  # the data path reads them from the file
HEADS = frozenset({"RDH", "TDH"})
# These show what is stored: their hooks act on reading, and a read is not seen here.
ACT_ON_READ = frozenset({"eicr", "eics", "swsm"})
CTRL_WORDS = 2  # CTRL and its alias
LIMIT = {4: 2**32 - 1, 8: 2**36 - 1}
NOWHERE = BAR_BYTES // 4 - 1  # a word of the store that no register has

Command = tuple[int, int]
"""Word and value."""


def _has_hook(cell: Cell) -> bool:
    mode = cell.register.read
    return mode not in ACT_ON_READ and mode not in {"plain", "clear", "head", "counter"}


class Mirror:
    """The copy of the registers in `resource0`.

    `take` after `commands`, then `publish` or `publish_reset`; `publish_heads` and
    `add_counters` now and then.
    """

    def __init__(self, port: SimulatedPort, store: memoryview, registers: RegisterMap, bar: mmap.mmap) -> None:
        """`store` is the port's own register file, uint32[131072]; `bar` is what the driver maps."""
        self._port = port
        places = sorted((offset // 4, cell) for offset, cell in registers.at.items())
        words = places[-1][0] + 1
        self._bar = memoryview(bar).cast("I")
        self._bar_words = np.frombuffer(bar, np.uint32, words)
        self._store = np.frombuffer(store, np.uint32)
        self._shown = np.zeros(words, np.uint32)
        self._source = np.full(words, NOWHERE, np.intp)
        for word, cell in places:
            self._source[word] = cell.word

        def chosen(names: frozenset[str]) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
            return np.array([word for word, cell in places if cell.register.name in names], np.intp)

        self._commands, self._heads = chosen(COMMANDS), chosen(HEADS)
        self._hooked = [(word, 4 * word) for word, cell in places if _has_hook(cell)]
        self._unpublished = np.zeros(words, np.bool_)
        self._unpublished[chosen(TAILS)] = True
        self._unpublished[chosen(frozenset(SOURCES))] = True
        self._scanned = ~self._unpublished
        self._scanned[self._commands] = False
        self._counters = _counters(registers)

    # From the driver

    def commands(self) -> list[Command]:
        """Registers that start something and were written: the short list that is looked at every round."""
        now = self._bar_words[self._commands]
        changed = np.flatnonzero(now != self._shown[self._commands])
        return [(int(self._commands[k]), int(now[k])) for k in changed]

    def take(self, commands: list[Command]) -> None:
        """Carry out all other writes that the file shows, then `commands`.

        In this order: what a driver stored before a command is in the file when the command is (x86 keeps the order of
        stores), so a queue never starts with half a configuration. A reset makes the rest pointless.
        """
        resets = [command for command in commands if is_reset(command)]
        if resets:
            self._write(*resets[0])
            return
        now = self._bar_words.copy()
        for changed in np.flatnonzero((now != self._shown) & self._scanned):
            self._write(int(changed), int(now[changed]))
        for word, value in commands:
            self._write(word, value)

    def _write(self, word: int, value: int) -> None:
        self._shown[word] = value
        self._port.region_write(Region.BAR0, 4 * word, value.to_bytes(4, "little"))

    # To the driver

    def _visible(self) -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
        visible = self._store[self._source]
        for word, offset in self._hooked:
            visible[word] = int.from_bytes(self._port.region_read(Region.BAR0, offset, 4), "little")
        return visible

    def publish(self) -> None:
        """What the registers show by now, where it is not in the file yet: self-clearing bits, aliases, the link."""
        visible = self._visible()
        for word in np.flatnonzero((visible != self._shown) & ~self._unpublished):
            self._show(int(word), int(visible[word]))

    def publish_heads(self) -> None:
        """Show the heads of all queues, for drivers that look at heads instead of descriptors (Snabb)."""
        now = self._store[self._heads]
        for k in np.flatnonzero(now != self._shown[self._heads]):
            self._show(int(self._heads[k]), int(now[k]))

    def publish_reset(self) -> None:
        """Show all registers after a reset, the driver's own too. CTRL last: its RST bit tells the driver the end."""
        visible = self._visible()
        self._bar_words[CTRL_WORDS:] = visible[CTRL_WORDS:]
        self._shown[:] = visible
        for word in reversed(range(CTRL_WORDS)):
            self._bar[word] = int(visible[word])

    def _show(self, word: int, value: int) -> None:
        """Unless the driver has written there since: then its store is taken first."""
        if self._bar[word] == int(self._shown[word]):
            self._bar[word] = value
            self._shown[word] = value

    def add_counters(self) -> None:
        """Add what was counted since the last call. Who zeroes a counter after reading it has it clear on read."""
        for offset, size, words in self._counters:
            more = int.from_bytes(self._port.region_read(Region.BAR0, offset, size), "little")
            for word in words if more else ():
                high = self._bar[word + 1] << 32 if size == 8 else 0
                total = min((high | self._bar[word]) + more, LIMIT[size])
                self._bar[word] = total & 0xFFFFFFFF
                if size == 8:
                    self._bar[word + 1] = total >> 32


def is_reset(command: Command) -> bool:
    """Whether a command asks for a reset by software (datasheet 8.2.3.1.1)."""
    return command[0] < CTRL_WORDS and bool(command[1] & (CTRL_RST | CTRL_LNK_RST))


def _counters(registers: RegisterMap) -> list[tuple[int, int, list[int]]]:
    """Offset, bytes (8 for a pair, whose high half follows the low one), and the words that show it."""
    words: dict[int, list[int]] = {}
    for offset, cell in registers.at.items():
        source = SOURCES.get(cell.register.name)
        if source and source.part != "high":
            words.setdefault(4 * cell.word, []).append(offset // 4)
    pairs = {
        4 * cell.word
        for cell in registers.cells()
        if (source := SOURCES.get(cell.register.name)) and source.part == "low"
    }
    return [(offset, 8 if offset in pairs else 4, found) for offset, found in words.items()]
