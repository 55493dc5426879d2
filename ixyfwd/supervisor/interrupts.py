"""Interrupts for workers that block: an eventfd for every port and worker, which the port's MSI-X message counts up."""

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from ixyfwd.errors import DeviceGoneError, RefusedError
from ixyfwd.kit.syscalls import eventfd
from ixyfwd.nic.contract import Attachment
from ixyfwd.supervisor.ports import Port


class Interrupts:
    """The interrupts of a run.

    `by_port[port][worker]` are eventfds, closed by `stack`; there are none unless the
    idle policy wants them.
    """

    def __init__(self, interval_us: int | None, ports: Sequence[Port], workers: int, stack: ExitStack) -> None:
        """`interval_us`: least time between two messages of a queue; None: no interrupts.

        Raises RefusedError for a port that cannot interrupt so many workers, before anything was changed.
        """
        self._interval_us = interval_us
        self.by_port: list[tuple[int, ...]] = []
        if interval_us is None:
            return
        for port in ports:
            _check(port, workers)
        for _ in ports:
            self.by_port.append(tuple(_eventfd(stack) for _ in range(workers)))

    def of_worker(self, index: int) -> tuple[int, ...]:
        """The eventfds of a worker, by port."""
        return tuple(eventfds[index] for eventfds in self.by_port)

    def attach(self, port: Port) -> None:
        """Have the port interrupt. Its queues are set up; it does not receive yet."""
        if self._interval_us is not None:
            eventfds = self.by_port[port.index]
            port.function.set_interrupts(eventfds)
            port.driver.enable_interrupts(len(eventfds), self._interval_us)

    def detach_with(self, stack: ExitStack, port: Port) -> None:
        """Have `stack` end the port's interrupts."""
        if self.by_port:
            stack.callback(_detach, port.function)


def _check(port: Port, workers: int) -> None:
    vectors = port.function.interrupt_vectors()
    where = f'port {port.name} ({port.function.address}): idle = "interrupt" is impossible'
    if vectors == 0:
        device = port.plan.device
        cure = (
            ""
            if device.startswith("vfio-user:")
            else f"give it to vfio-pci: ixyfwd bind {device} --driver vfio-pci; or "
        )
        raise RefusedError(f'{where}: it delivers no MSI-X messages to a process; {cure}use idle = "adaptive"')
    if vectors < workers:
        raise RefusedError(
            f"{where}: it has {vectors} MSI-X vectors, expected one for each of {workers} workers; set [cpu] workers "
            f'to {vectors}, or use idle = "adaptive"'
        )


def _eventfd(stack: ExitStack) -> int:
    fd = eventfd()
    stack.callback(os.close, fd)
    return fd


def _detach(function: Attachment) -> None:
    """Detach the eventfds; a device that is gone sends no interrupts any more."""
    with suppress(DeviceGoneError):
        function.set_interrupts(())
