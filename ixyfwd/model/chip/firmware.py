"""The firmware as drivers see it: FWSM (8.2.3.4.10), and the management controller behind MMNGC (8.2.3.22.25)."""

from ixyfwd.model.chip.regfile import RegisterFile

MODE_PASS_THROUGH = 2 << 1
RECOVERY = 1 << 5  # X550 (Linux: IXGBE_FWSM_FW_NVM_RECOVERY_MODE)
EXT_ERR_SHIFT = 19
MNG_VETO = 1 << 0  # software must not reset the PHY nor change the link


class Firmware:
    """The firmware's state, as registers show it.

    `indication`: FWSM.EXT_ERR_IND. `recovery`: FWSM bit 5 of an X550. `managed`: a
    management controller shares the port and vetoes changes of its link; `cuts` counts
    how often software has cut its session.
    """

    def __init__(self, file: RegisterFile) -> None:
        self._file = file
        self.indication = 0
        self.recovery = False
        self.managed = False
        self.cuts = 0
        file.bind({"fwsm": self._read_fwsm, "mmngc": self._read_mmngc}, {})

    def recover(self) -> None:
        """No error is indicated any more."""
        self.indication, self.recovery = 0, False

    def release(self) -> None:
        """The management controller lets go of the port."""
        self.managed = False

    def lose_link(self) -> None:
        """Software has changed the link: a session of the management controller ends."""
        self.cuts += self.managed

    def _read_fwsm(self, name: str, index: int) -> int:
        value = self._file.peek(name) | self.indication << EXT_ERR_SHIFT
        return value | (RECOVERY if self.recovery else 0) | (MODE_PASS_THROUGH if self.managed else 0)

    def _read_mmngc(self, name: str, index: int) -> int:
        return MNG_VETO if self.managed else 0
