"""Interrupt causes and masks (82599.md section 1.2). Messages are not sent yet: the registers are exact."""

from ixyfwd.model.regfile import RegisterFile

GPIE_MSIX = 1 << 4
GPIE_OCD = 1 << 5
OTHER_CAUSES = 0xFFFF0000
CLEARED_WITH_OCD = 0x3FFF0000
LSC = 1 << 20


class Causes:
    """One bit per cause: 64 queue causes, of which EICR and its like show the first 16, and 16 others."""

    def __init__(self) -> None:
        self._other = 0
        self._queues = 0

    def get(self, name: str, index: int) -> int:
        if name.endswith("_EX"):
            return self._queues >> 32 * index & 0xFFFFFFFF
        return self._other | self._queues & 0xFFFF

    def set_bits(self, name: str, index: int, bits: int) -> None:
        other, queues = self._split(name, index, bits)
        self._other |= other
        self._queues |= queues

    def clear_bits(self, name: str, index: int, bits: int) -> None:
        other, queues = self._split(name, index, bits)
        self._other &= ~other
        self._queues &= ~queues

    def clear_those_of(self, other: "Causes") -> None:
        self._other &= ~other._other
        self._queues &= ~other._queues

    def _split(self, name: str, index: int, bits: int) -> tuple[int, int]:
        if name.endswith("_EX"):
            return 0, bits << 32 * index
        return bits & OTHER_CAUSES, bits & 0xFFFF


class Interrupts:
    """EICR, EICS, EIMS, EIMC, EIAM and their `_EX` forms share three sets of bits."""

    def __init__(self, file: RegisterFile) -> None:
        self._file = file
        self.reset()
        file.bind(
            {"eicr": self._read_eicr, "eics": self._read_eics, "eims": self._read_eims, "eiam": self._read_eiam},
            {
                "eicr": self._write_eicr,
                "eics": self._write_eics,
                "eims": self._write_eims,
                "eimc": self._write_eimc,
                "eiam": self._write_eiam,
            },
        )

    def reset(self) -> None:
        self._cause = Causes()
        self._mask = Causes()
        self._automask = Causes()

    def raise_cause(self, bits: int) -> None:
        """Set bits of EICR."""
        self._cause.set_bits("EICR", 0, bits)

    def _read_eicr(self, name: str, index: int) -> int:
        value = self._cause.get(name, index)
        gpie = self._file.peek("GPIE")
        self._cause.clear_bits(name, index, value & CLEARED_WITH_OCD if gpie & GPIE_OCD else value)
        if not gpie & GPIE_MSIX:
            self._mask.clear_those_of(self._automask)
        return value

    def _write_eicr(self, name: str, index: int, value: int) -> None:
        self._cause.clear_bits(name, index, value)

    def _read_eics(self, name: str, index: int) -> int:
        """EICR without clearing it: Linux's handler of the other causes depends on that."""
        return self._cause.get(name, index)

    def _write_eics(self, name: str, index: int, value: int) -> None:
        self._cause.set_bits(name, index, value)

    def _read_eims(self, name: str, index: int) -> int:
        return self._mask.get(name, index)

    def _write_eims(self, name: str, index: int, value: int) -> None:
        self._mask.set_bits(name, index, value)

    def _write_eimc(self, name: str, index: int, value: int) -> None:
        self._mask.clear_bits(name, index, value)

    def _read_eiam(self, name: str, index: int) -> int:
        return self._automask.get(name, index)

    def _write_eiam(self, name: str, index: int, value: int) -> None:
        self._automask.clear_bits(name, index, 0xFFFFFFFF)
        self._automask.set_bits(name, index, value)
