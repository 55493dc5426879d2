"""Registers that make the flow director act (datasheet 7.1.2.7); its table and the look-ups are the data path's."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ixyfwd.model.chip.interrupts import FLOW_DIRECTOR
from ixyfwd.model.chip.regfile import RegisterFile

if TYPE_CHECKING:
    from ixyfwd.model.datapath.binding import DatapathPort

PBALLOC = 3
INIT_DONE = 1 << 3


class FlowDirector:
    """The flow director's registers: FDIRCTRL and FDIRCMD.

    A filter added in one 64-bit store at FDIRHASH arrives as that register, then
    FDIRCMD.
    """

    def __init__(self, file: RegisterFile, datapath: "DatapathPort", raise_cause: Callable[[int], None]) -> None:
        self._file = file
        self._datapath = datapath
        self._raise_cause = raise_cause
        file.bind({}, {"fdirctrl": self._write_control, "fdircmd": self._write_command})

    def _write_control(self, name: str, index: int, value: int) -> None:
        done = INIT_DONE if value & PBALLOC else 0
        self._file.poke(name, index, value & ~INIT_DONE | done)
        self._datapath.init_flow_director()

    def _write_command(self, name: str, index: int, value: int) -> None:
        self._file.poke(name, index, value)
        if self._datapath.command_flow_director():
            self._raise_cause(FLOW_DIRECTOR)
