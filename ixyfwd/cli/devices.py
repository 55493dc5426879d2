"""`ixyfwd devices`."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, Final

from ixyfwd.cli.output import Lines
from ixyfwd.cli.render import Column, Grid, make_grid
from ixyfwd.errors import IxyfwdError
from ixyfwd.host.devices import Device, network_devices
from ixyfwd.host.holders import holders
from ixyfwd.host.journal import Entry, load
from ixyfwd.host.kernel import Kernel
from ixyfwd.host.names import board_names
from ixyfwd.host.usage import look, reasons
from ixyfwd.nic.registry import name_of

_STATE: Final = (
    Column("address", 16, right=False),
    Column("driver", 14, right=False),
    Column("interface", 15, right=False),
    Column("link", 10),
    Column("node", 4),
    Column("group", 5),
    Column("2M pages", 8),
)
_WHAT: Final = (
    Column("address", 16, right=False),
    Column("id", 9, right=False),
    Column("MAC", 17, right=False),
    Column("name", 33, right=False),
)


def devices_command(everything: bool, json: bool, kernel: Kernel | None = None) -> None:
    """List the network devices; without `everything` those that ixyfwd drives."""
    kernel = kernel or Kernel()
    found = network_devices(kernel)
    shown = [device for device in found if everything or chip_name(device)]
    boards = board_names(kernel, shown)
    names = {device.address: _name(device, boards) for device in shown}
    network = look(kernel)
    used = {device.address: reasons(kernel, device, network) for device in shown}
    taken = _taken(kernel)
    held = {device.address: holders(kernel, device) for device in shown}
    out = Lines(sys.stdout)
    if json:
        rows = [
            {
                **_as_json(device, names, taken),
                "in_use": [dataclasses.asdict(reason) for reason in used[device.address]],
                "open_by": [dataclasses.asdict(holder) for holder in held[device.address]],
            }
            for device in shown
        ]
        out.write_json({"devices": rows, "others": len(found) - len(shown)})
        return
    if shown:
        out.write(*_state_grid(shown).lines(), *_what_grid(shown, names).lines())
    out.write(*(f"in use: {device.address}: {reason.text}" for device in shown for reason in used[device.address]))
    out.write(*(f"in use: {address}: {holder} has it open" for address in held for holder in held[address]))
    out.write(*(_taken_line(taken[device.address]) for device in shown if device.address in taken))
    if len(found) > len(shown):
        count = len(found) - len(shown)
        others = f"{count} other network device{'s' if count > 1 else ''}; `ixyfwd devices --all` shows them too"
        out.write(others if shown else f"no device that ixyfwd drives, {others}")
    elif not shown:
        out.write("this machine has no network device on its PCI bus")


def chip_name(device: Device) -> str:
    """What the NIC families call the chip; empty for one that none of them knows."""
    return name_of(device.vendor, device.device)


def _name(device: Device, boards: dict[str, str]) -> str:
    chip, board = chip_name(device), boards.get(device.address, "")
    return f"{chip}, {board}" if chip and board else chip or board


def _taken(kernel: Kernel) -> dict[str, Entry]:
    """The journal is root's; a listing goes without it where it cannot be read."""
    try:
        return load(kernel)
    except IxyfwdError:
        return {}


def _state_grid(devices: Sequence[Device]) -> Grid:
    rows = [
        (
            device.address,
            device.driver or "none",
            ",".join(found.name for found in device.interfaces) or "-",
            link_text(device),
            str(device.numa_node) if device.numa_node >= 0 else "-",
            device.iommu_group or "-",
            "-" if device.hugepages_free is None else str(device.hugepages_free),
        )
        for device in devices
    ]
    return make_grid("network devices (group: IOMMU; pages: free on the node)", _STATE, rows)


def _what_grid(devices: Sequence[Device], names: dict[str, str]) -> Grid:
    rows = [
        (
            device.address,
            device.id,
            device.interfaces[0].mac if device.interfaces else "-",
            names[device.address] or "-",
        )
        for device in devices
    ]
    return make_grid("what they are", _WHAT, rows)


def link_text(device: Device) -> str:
    """State of the first interface's link: only a kernel driver knows it."""
    if not device.interfaces:
        return "-"
    first = device.interfaces[0]
    if not first.up:
        return "off"
    if not first.carrier:
        return "down"
    if first.speed_mbps is None:
        return "up"
    return f"{first.speed_mbps / 1000:g} Gb/s" if first.speed_mbps >= 1000 else f"{first.speed_mbps} Mb/s"


def _taken_line(entry: Entry) -> str:
    had = ", ".join(interface.name for interface in entry.interfaces)
    what = f"{entry.driver or 'no driver'}{f' ({had})' if had else ''}"
    if entry.state == "bound":
        return f"taken: {entry.address}: from {what}; `ixyfwd unbind {entry.address}` gives it back"
    return f"half done: {entry.address}: on its way from or to {what}; `ixyfwd unbind --restore` puts it right"


def _as_json(device: Device, names: dict[str, str], taken: dict[str, Entry]) -> dict[str, Any]:
    entry = taken.get(device.address)
    return {
        **dataclasses.asdict(device),
        "id": device.id,
        "vendor": f"{device.vendor:04x}",
        "device": f"{device.device:04x}",
        "subsystem": "{:04x}:{:04x}".format(*device.subsystem),
        "class_code": f"{device.class_code:06x}",
        "name": names[device.address] or None,
        "known": bool(chip_name(device)),
        "taken_from": None if entry is None else {"driver": entry.driver or None, "state": entry.state},
    }
