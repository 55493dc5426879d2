"""What a reset by CTRL leaves of the registers, and how long the card is silent after it (datasheet 4.2)."""

from collections.abc import Callable

from ixyfwd.model.chip.registers import Cell

# Rows without a state beside the stored value: nothing but the store would have to be cleared.
PLAIN_WRITES = frozenset({"plain", "ring", "srrctl", "mtqc", "hlreg0"})
PINS = frozenset({"ESDP"})  # belongs to the board, not to the port's logic


class Resets:
    """Injected: a reset that `keeps` every plain register, and one after which all reads are all ones for a while."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._until_ns = 0
        self.count = 0
        self.keeps = False
        self.silence_ns = 0

    def begin(self) -> None:
        """A reset by CTRL has happened."""
        self.count += 1
        self._until_ns = self._clock_ns() + self.silence_ns

    @property
    def silent(self) -> bool:
        """Whether the card does not answer yet."""
        return self.silence_ns > 0 and self._clock_ns() < self._until_ns

    def answer(self) -> None:
        """The card answers at once again."""
        self.silence_ns = 0

    def forget(self) -> None:
        """Resets clear everything again."""
        self.keeps = False

    @staticmethod
    def is_plain(cell: Cell) -> bool:
        """Whether a register keeps its value over such a reset."""
        row = cell.register
        return row.name in PINS or (row.read == "plain" and row.write in PLAIN_WRITES)
