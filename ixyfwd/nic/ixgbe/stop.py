"""The orderly stop: afterwards the device touches no memory, at any stage that bring-up had reached."""

from collections.abc import Callable, Sequence

from ixyfwd.errors import DeviceError, DeviceGoneError, DeviceTimeoutError
from ixyfwd.nic.ixgbe.access import Registers
from ixyfwd.nic.ixgbe.bringup import MASTER_DISABLE_TIMEOUT_S, disable_master, mask_interrupts
from ixyfwd.nic.ixgbe.firmware import own_device
from ixyfwd.nic.ixgbe.registers import STATUS
from ixyfwd.nic.ixgbe.rx import disable_rx_queues, set_receive
from ixyfwd.nic.ixgbe.tx import DRAIN_TIMEOUT_S, disable_transmit, disable_tx_queues, drain_tx_queues
from ixyfwd.pci.function import Function


def stop_device(
    regs: Registers, function: Function, rx_queues: Sequence[int], tx_queues: Sequence[int]
) -> tuple[str, ...]:
    """Stop a device: reception, receive queues, transmission of queued frames, transmit queues, bus master.

    Every step is tried; returns a sentence for each one that failed. A device that has
    left the bus needs no further steps: it touches no memory.
    """
    steps: tuple[Callable[[], None], ...] = (
        lambda: set_receive(regs, on=False),
        lambda: disable_rx_queues(regs, rx_queues),
        lambda: _drain(regs, tx_queues),
        lambda: disable_tx_queues(regs, tx_queues),
        lambda: disable_transmit(regs),
        lambda: mask_interrupts(regs),
        lambda: _disable_master(regs),
        lambda: own_device(regs, False),
    )
    problems: list[DeviceError] = []
    try:
        for step in steps:
            if not _gone(problems):
                _attempt(step, problems)
    finally:
        _attempt(lambda: function.set_bus_master(False), problems)
    return tuple(str(problem) for problem in problems)


def _gone(problems: Sequence[DeviceError]) -> bool:
    return any(isinstance(problem, DeviceGoneError) for problem in problems)


def _attempt(step: Callable[[], None], problems: list[DeviceError]) -> None:
    """Try one step; its error joins `problems`, except further ones of a device that is gone."""
    try:
        step()
    except DeviceError as error:
        if not _gone(problems):
            problems.append(error)


def _drain(regs: Registers, queues: Sequence[int]) -> None:
    pending = drain_tx_queues(regs, queues, DRAIN_TIMEOUT_S)
    if pending:
        raise DeviceTimeoutError(
            f"{regs.label}: waited {DRAIN_TIMEOUT_S:g} s for TDH to meet TDT of transmit queues {pending} while "
            "stopping; the frames in them are lost (is the link up?)"
        )


def _disable_master(regs: Registers) -> None:
    if not disable_master(regs):
        raise DeviceTimeoutError(
            f"{regs.label}: waited {MASTER_DISABLE_TIMEOUT_S:g} s for {STATUS.GIO_MASTER_ENABLE} = 0 while stopping: "
            "requests to memory are still pending; bus mastering is switched off nevertheless"
        )
