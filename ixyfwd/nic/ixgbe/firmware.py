"""The firmware beside the driver: what it says of itself (FWSM), what it shares (CTRL_EXT.DRV_LOAD), and the NVM."""

from typing import Final

from ixyfwd.errors import DeviceError
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.ids import DeviceId, Media
from ixyfwd.nic.ixgbe.register import Field, Mode, Register, one
from ixyfwd.nic.ixgbe.registers import CTRL_EXT, FWSM

NVM_TIMEOUT_S: Final = 0.5

_DEVICE_CAPS_WORD: Final = 0x2C
_NO_CROSSTALK_FIX: Final = 1 << 7  # Linux: IXGBE_DEVICE_CAPS_NO_CROSSTALK_WR


class EERD(Register, at=one(0x10014), mode=Mode.SC, section="8.2.3.2.2"):
    START = Field(0)
    DONE = Field(1)
    ADDRESS = Field(15, 2)
    DATA = Field(31, 16)


def check_firmware(regs: Registers, device: DeviceId) -> str | None:
    """A notice about errors that the firmware indicates, or None.

    Cards with such an indication are in the field and work, so it stops nothing (as in
    Intel's driver). Raises DeviceError for firmware in its recovery mode, in which an
    X550 has no link.
    """
    word = regs.read(FWSM)
    if device.recovery_mode and FWSM.RECOVERY.of(word):
        raise DeviceError(
            f"{regs.label}: FWSM reads {word:#010x}: the device's firmware is in its recovery mode, in which the port "
            "does not work; its NVM must be restored with the vendor's tool"
        )
    error = FWSM.EXT_ERR_IND.of(word)
    if not error:
        return None
    return (
        f"{regs.label}: the device's firmware indicates error {error:#x} (FWSM {word:#010x}); cards with it are known "
        "to work, so the port goes on; if it does not work, look for a newer NVM image at the card's vendor"
    )


def own_device(regs: Registers, on: bool) -> None:
    """Tell the firmware that a driver has the device, or that it has let go of it (8.2.3.1.3)."""
    regs.update(CTRL_EXT, CTRL_EXT.DRV_LOAD(on))


def cage_decides_link(regs: Registers, device: DeviceId) -> bool:
    """Whether LINKS counts only while the SFP+ cage is occupied: an empty one may pick up its neighbour's signal.

    The NVM says so (word 0x2C; DPDK dd3a93cf5a). A port whose NVM cannot be read is not
    judged by its cage.
    """
    if device.media is not Media.SFP:
        return False
    caps = read_nvm_word(regs, _DEVICE_CAPS_WORD)
    return caps is not None and not caps & _NO_CROSSTALK_FIX


def read_nvm_word(regs: Registers, address: int) -> int | None:
    """A word of an 82599's NVM (8.2.3.2.2); None if the device has not read it after NVM_TIMEOUT_S."""
    regs.write(EERD, EERD.ADDRESS(address), EERD.START(1))
    if not regs.settles(EERD, EERD.DONE(1), timeout_s=NVM_TIMEOUT_S):
        return None
    return EERD.DATA.of(regs.read(EERD))
