"""The writes that move a device from one driver to another; planned first, so that they can be shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ixyfwd.host.devices import DRIVERS, Device
from ixyfwd.host.kernel import Kernel

VFIO_PCI: Final = "vfio-pci"
NO_DRIVER: Final = "none"  # as an override: no driver has this name, so none takes the device
PROBE: Final = "/sys/bus/pci/drivers_probe"


@dataclass(frozen=True)
class Write:
    """A value to write into a file of sysfs."""

    path: str
    value: str

    def __str__(self) -> str:
        return f"write {self.value!r} to {self.path}"


@dataclass(frozen=True)
class Modprobe:
    """A module to load."""

    module: str

    def __str__(self) -> str:
        return f"run modprobe {self.module}"


Step = Write | Modprobe


def take(kernel: Kernel, device: Device, target: str) -> list[Step]:
    """The steps that take a device from its driver to `target`, VFIO_PCI or NO_DRIVER.

    The override comes first: a probe of the device between the steps gives it to `target` and to no other driver.
    """
    steps: list[Step] = []
    if target == VFIO_PCI and not kernel.exists(f"{DRIVERS}/{VFIO_PCI}"):
        steps.append(Modprobe(VFIO_PCI))
    if device.driver_override != target:
        steps.append(Write(f"{device.path}/driver_override", target))
    if device.driver:
        steps.append(Write(f"{DRIVERS}/{device.driver}/unbind", device.address))
    if target == VFIO_PCI:
        steps.append(Write(PROBE, device.address))
    return steps


def give_back(kernel: Kernel, device: Device, driver: str | None, module: str, override: str) -> list[Step]:
    """The steps that give a device to a driver, from the one that it has now.

    `driver`: empty: to none; None: to the one that the kernel chooses.
    """
    steps: list[Step] = []
    if device.driver_override != override:
        steps.append(Write(f"{device.path}/driver_override", override))
    if driver is not None and device.driver == driver:
        return steps
    if device.driver:
        steps.append(Write(f"{DRIVERS}/{device.driver}/unbind", device.address))
    if driver and not kernel.exists(f"{DRIVERS}/{driver}"):
        steps.append(Modprobe(module or driver))
    if driver != "":
        steps.append(Write(PROBE, device.address))
    return steps


def run(kernel: Kernel, steps: Iterable[Step]) -> None:
    """Take the steps in order. Raises IxyfwdError at the first that fails."""
    for step in steps:
        if isinstance(step, Write):
            kernel.write(step.path, step.value)
        else:
            kernel.modprobe(step.module)
