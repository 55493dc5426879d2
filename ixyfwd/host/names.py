"""What devices are called: the distribution's pci.ids, where it is installed."""

from collections.abc import Collection
from typing import Final

from ixyfwd.host.devices import Device
from ixyfwd.host.kernel import Kernel

_FILES: Final = ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids")


def board_names(kernel: Kernel, devices: Collection[Device]) -> dict[str, str]:
    """Names by address: the board's if pci.ids knows the subsystem, else the chip's. Unknown ones are left out."""
    text = next((text for text in map(kernel.text, _FILES) if text), "")
    return {device.address: name for device in devices if (name := _look_up(text, device))}


def _look_up(text: str, device: Device) -> str:
    """pci.ids: `vendor  name`, below it `TAB device  name`, below that `TAB TAB subvendor subdevice  name`."""
    start = text.find(f"\n{device.vendor:04x}  ")
    if start < 0:
        return ""
    chip = ""
    subsystem = "{:04x} {:04x}".format(*device.subsystem)
    for line in text[start + 1 :].splitlines()[1:]:
        if line and not line.startswith(("\t", "#")):
            break  # the next vendor
        key, _, name = line.strip().partition("  ")
        if line.startswith("\t\t"):
            if chip and key == subsystem:
                return name
        elif chip:
            break  # the next device
        elif key == f"{device.device:04x}":
            chip = name
    return chip
