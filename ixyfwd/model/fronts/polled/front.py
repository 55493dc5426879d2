"""The polled front end of one port."""

import contextlib
import functools
import mmap
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ixyfwd.kit.loop import Loop
from ixyfwd.kit.syscalls import pidfd_open
from ixyfwd.model.chip.pciconfig import BAR0_BYTES
from ixyfwd.model.chip.registers import RegisterMap
from ixyfwd.model.fronts.polled.directory import ConfigFile, DeviceDirectory
from ixyfwd.model.fronts.polled.memory import DriverMemory, check_permission, mapping_identity, processes_that_map
from ixyfwd.model.fronts.polled.mirror import Command, Mirror, is_reset
from ixyfwd.model.fronts.polled.path import PolledPath
from ixyfwd.model.port import SimulatedPort
from ixyfwd.model.spec import PortSpec

if TYPE_CHECKING:
    from ixyfwd.model.datapath.binding import DatapathPort

LAZY_NS = 10_000_000  # configuration registers, configuration space, memory
COUNTERS_NS = 100_000_000


class PolledFront:
    """A port that drivers reach through a directory; `tick` every round. A process that maps `resource0` is a driver.

    When the last such process ends the port is as after power-on, so that no memory of the dead is kept.
    """

    def __init__(
        self,
        port: SimulatedPort,
        datapath: "DatapathPort",
        spec: PortSpec,
        registers: RegisterMap,
        *,
        loop: Loop,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Raises UsageError without root, and what DeviceDirectory raises."""
        check_permission()
        self._port = port
        self._loop = loop
        self._clock_ns = clock_ns
        self._drivers: dict[int, int] = {}  # pidfd by pid
        self._directory = DeviceDirectory(spec.directory or "", spec.device_id)
        bar = mmap.mmap(self._directory.bar_fd, BAR0_BYTES)
        self._identity = mapping_identity(np.frombuffer(bar, np.uint8).ctypes.data)
        self._memory = DriverMemory(port, self._identity)
        self._config = ConfigFile(port, self._directory.config_fd)
        self._mirror = Mirror(port, datapath.store, registers, bar)
        self._path = PolledPath(datapath, bar)
        self._lazy_ns = self._counters_ns = self._look_ns = 0
        self._show_reset()

    @property
    def connected(self) -> bool:
        """Whether a process that mapped `resource0` is known; it is looked for at a reset and when it has DMA."""
        return bool(self._drivers)

    def tick(self) -> None:
        """Take what the driver wrote, show what has changed."""
        now = self._clock_ns()
        commands = self._mirror.commands()
        if commands or now >= self._lazy_ns:
            self._exchange(commands, now)
        else:
            self._mirror.publish_heads()
        missed = self._path.missed()
        if missed is not None and now >= self._look_ns:
            self._look_ns = now + LAZY_NS
            self._find_drivers()
            whole, found = self._memory.refresh(set(self._drivers)), self._memory.covers(missed)
            if whole or found:
                self._path.answer_missed(found)

    def _exchange(self, commands: list[Command], now: int) -> None:
        self._lazy_ns = now + LAZY_NS
        if not self._drivers and any(is_reset(command) for command in commands):
            self._find_drivers()
        self._config.exchange()  # first: a driver sets bus master before it needs it
        self._mirror.take(commands)
        if self._port.resets != self._resets:
            self._show_reset()
            return
        self._mirror.publish()
        if now >= self._counters_ns and not self._port.gone:
            self._counters_ns = now + COUNTERS_NS
            self._mirror.add_counters()

    def _show_reset(self) -> None:
        self._resets = self._port.resets
        self._config.exchange()
        self._mirror.publish_reset()

    def _find_drivers(self) -> None:
        for pid in processes_that_map(self._identity) - self._drivers.keys():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                self._drivers[pid] = pidfd_open(pid)
                self._loop.watch(self._drivers[pid], functools.partial(self._driver_ended, pid))

    def _driver_ended(self, pid: int) -> None:
        self._let_go(pid)
        self._find_drivers()
        if self._drivers:
            return  # one that shares the port goes on
        self._port.disconnect()
        self._memory.forget()
        self._show_reset()

    def _let_go(self, pid: int) -> None:
        self._loop.forget(self._drivers[pid])
        os.close(self._drivers.pop(pid))

    def close(self) -> None:
        """Remove the directory. A driver that still has `resource0` mapped has no device from then on."""
        for pid in list(self._drivers):
            self._let_go(pid)
        self._port.disconnect()
        self._directory.close()
