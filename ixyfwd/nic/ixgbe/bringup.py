"""Initialisation up to the queues, in the order of datasheet 4.6.3."""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from ixyfwd.errors import DeviceError, DeviceTimeoutError
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.ids import DeviceId, Media
from ixyfwd.nic.ixgbe.mac import read_address
from ixyfwd.nic.ixgbe.register import Setting
from ixyfwd.nic.ixgbe.registers import (
    CTRL,
    EEC,
    EICR,
    EIMC,
    EIMC_EX,
    GCR_EXT,
    HLREG0,
    LINKS,
    RDRXCTL,
    RXCTRL,
    STATUS,
)
from ixyfwd.nic.ixgbe.semaphore import phy_semaphore
from ixyfwd.nic.mac import is_station_address
from ixyfwd.pci.function import Function

MASTER_DISABLE_TIMEOUT_S: Final = 0.1
RESET_TIMEOUT_S: Final = 1.0
RESET_SILENCE_S: Final = 0.5  # a card may read all ones for as long after a reset
RESET_ATTEMPTS: Final = 3
EEPROM_TIMEOUT_S: Final = 1.0
DMA_INIT_TIMEOUT_S: Final = 1.0

_COMMAND: Final = 0x04
_COMMAND_MEMORY: Final = 1 << 1
_COMMAND_INTX_DISABLE: Final = 1 << 10
_BEFORE_RESET_POLL_S: Final = 1e-3  # 8.2.3.1.1: wait about 1 ms before any other access
_FLUSH_S: Final = 20e-6  # 5.2.5.3.2


def enable_memory_access(function: Function) -> None:
    """Let the device answer at BAR0 and never assert the INTx line (9.3.4)."""
    command = function.read_config(_COMMAND, 2)
    function.write_config(_COMMAND, 2, command | _COMMAND_MEMORY | _COMMAND_INTX_DISABLE)


def mask_interrupts(regs: Registers) -> None:
    """Mask every interrupt cause and clear those that are pending (4.6.3.1): this driver polls."""
    regs.write(EIMC, 0x7FFFFFFF)  # 8.2.3.5.4: bit 31 is reserved
    for half in range(EIMC_EX.count):
        regs.write(EIMC_EX[half], 0xFFFFFFFF)
    regs.read(EICR)


def disable_master(regs: Registers) -> bool:
    """Stop new requests to memory (5.2.5.3.2); returns False if some are pending after MASTER_DISABLE_TIMEOUT_S."""
    regs.update(CTRL, CTRL.GIO_DIS(1))
    return regs.settles(STATUS, STATUS.GIO_MASTER_ENABLE(0), timeout_s=MASTER_DISABLE_TIMEOUT_S)


def reset(regs: Registers, device: DeviceId) -> None:
    """Reset the device (4.6.3.2), again if it does not finish. Raises DeviceTimeoutError after RESET_ATTEMPTS."""
    for left in reversed(range(RESET_ATTEMPTS)):
        try:
            return _reset_once(regs, device)
        except DeviceTimeoutError:
            if not left:
                raise


def _reset_once(regs: Registers, device: DeviceId) -> None:
    """One reset (4.2.1.6.1, 4.6.3.2): master disable, software or link reset, time to recover."""
    kind = _kind_of_reset(regs, device)
    done = CTRL.RST(0), CTRL.LNK_RST(0)
    regs.update(RXCTRL, RXCTRL.RXEN(0))
    if not disable_master(regs):
        _flush_data_path(regs)
        with _held_phy(regs, device):
            _request_reset(regs, kind)
            regs.settles(CTRL, *done, timeout_s=RESET_TIMEOUT_S, silent_s=RESET_SILENCE_S)  # 5.2.5.3.2: another follows
    with _held_phy(regs, device):
        _request_reset(regs, kind)
        doing = "resetting the device"
        regs.wait(CTRL, *done, timeout_s=RESET_TIMEOUT_S, doing=doing, silent_s=RESET_SILENCE_S)
    regs.clock.sleep(device.after_reset_s)


def _kind_of_reset(regs: Registers, device: DeviceId) -> Setting:
    """The bit of CTRL that resets the port and cuts no management controller off.

    LNK_RST resets what RST does, and the MAC and the PHY too, which a controller may be
    using while the link is up. An X540's or X550's PHY is never reset in this way
    (ixgbe_reset_hw_82599, ixgbe_reset_hw_X540 in Linux and DPDK).
    """
    software_only = device.media is Media.COPPER or regs.holds(LINKS, LINKS.UP(1))
    return CTRL.RST(1) if software_only else CTRL.LNK_RST(1)


def _request_reset(regs: Registers, kind: Setting) -> None:
    regs.update(CTRL, kind)
    regs.clock.sleep(_BEFORE_RESET_POLL_S)


def _held_phy(regs: Registers, device: DeviceId) -> AbstractContextManager[None]:
    """The PHY's semaphore (X540, X550): a reset includes the PHY, whose firmware must not be at work then."""
    return phy_semaphore(regs, "resetting the device") if device.media is Media.COPPER else nullcontext()


def _flush_data_path(regs: Registers) -> None:
    """Flush requests that never end inside the device (5.2.5.3.2); two resets follow."""
    regs.update(HLREG0, HLREG0.LPBK(1))
    regs.update(GCR_EXT, GCR_EXT.BUFFERS_CLEAR_FUNC(1))
    regs.clock.sleep(_FLUSH_S)
    regs.update(HLREG0, HLREG0.LPBK(0))
    regs.update(GCR_EXT, GCR_EXT.BUFFERS_CLEAR_FUNC(0))


def wait_eeprom(regs: Registers) -> None:
    """Wait until the device has read its NVM (4.6.3.2, 8.2.3.2.1).

    Raises DeviceTimeoutError, and DeviceError for an NVM that is absent or damaged.
    """
    regs.wait(EEC, EEC.AUTO_RD(1), timeout_s=EEPROM_TIMEOUT_S, doing="the device reads its EEPROM")
    # AUTO_RD is also set when there is no EEPROM or its signature is wrong.
    if not regs.holds(EEC, EEC.EE_PRES(1)):
        raise DeviceError(
            f"{regs.label}: EEC.EE_PRES is 0: the device finds no valid EEPROM and has no address and link settings; "
            "its NVM must be restored with the vendor's tool"
        )


def wait_dma_init(regs: Registers) -> None:
    """Wait until the DMA engines are ready (4.6.3.2). Raises DeviceTimeoutError."""
    regs.wait(
        RDRXCTL, RDRXCTL.DMAIDONE(1), timeout_s=DMA_INIT_TIMEOUT_S, doing="the device initialises its DMA engines"
    )


def station_address(regs: Registers) -> bytes:
    """The address that the NVM gave to filter 0 (8.2.3.7.9), six bytes. Raises DeviceError if no port can have it."""
    address = read_address(regs, 0)
    if address is None or not is_station_address(address):
        found = "RAH[0].AV is 0" if address is None else f"RAL/RAH[0] hold {address.hex(':')}"
        raise DeviceError(
            f"{regs.label}: the NVM gives no usable station address ({found}); set the port's mac in the configuration"
        )
    return address
