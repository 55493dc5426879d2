"""The `[[port]]` and `[[link]]` sections and what is plugged into a simulated port."""

import re
from pathlib import Path
from typing import Any

from ixyfwd.config.schema import (
    FLOW_CONTROLS,
    MAX_MAC_FILTERS,
    NAME,
    NAME_EXPECTED,
    SCHEMES,
    SIM_DEVICE_IDS,
    PortConfig,
)
from ixyfwd.kit.pciaddress import pci_address
from ixyfwd.model.wires.contract import Wire
from ixyfwd.model.wires.registry import read_wire
from ixyfwd.nic.mac import is_station_address, parse_mac
from ixyfwd.settings.reader import Table, is_integer, one_of, shown
from ixyfwd.telemetry.counters import MAX_PORTS

_DEVICE = re.compile(
    r"sim:[a-z0-9_-]{1,32}|vfio-user:/[^\0\n]{1,106}"
    + "".join(rf"|{re.escape(scheme)}[^\0\n]{{1,106}}" for scheme in SCHEMES)
)
_DEVICE_EXPECTED = '"sim:NAME", "vfio-user:/PATH" or a PCI address such as "0000:03:00.0"'
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_DEVICE_ID_EXPECTED = f"{one_of(SIM_DEVICE_IDS)}, or the same as a number such as 0x10fb"


def read_ports(root: Table, folder: Path) -> tuple[PortConfig, ...] | None:
    """All ports in the order of the file; None if the section is missing or no list of tables."""
    root.need("port", "at least two [[port]] tables")
    before = len(root.notes.problems)
    ports = tuple(read_port(table, folder) for table in root.tables("port"))
    if not ports:
        if len(root.notes.problems) == before and root.has("port"):
            root.wrong("port", "at least two [[port]] tables")
        return None
    if len(ports) > MAX_PORTS:
        root.notes.add(("port", MAX_PORTS), f"found {len(ports)} ports, expected at most {MAX_PORTS}")
    return ports


def read_port(table: Table, folder: Path) -> PortConfig:
    """One port; problems go into the table's notes."""
    table.need("name", NAME_EXPECTED)
    name = table.text("name", "", NAME_EXPECTED, NAME)
    table.need("device", _DEVICE_EXPECTED)
    written: str = table.get("device", "", _DEVICE_EXPECTED, _is_device)
    device = pci_address(written) or written
    filters = _read_mac_filters(table)
    promiscuous = table.flag("promiscuous", not table.has("mac_filters"))
    if promiscuous and filters:
        extra = "promiscuous = false beside mac_filters (a promiscuous port takes every frame)"
        table.notes.add((*table.path, "promiscuous"), f"found true, expected {extra}")
    mac = _read_mac(table)
    flow_control = table.choice("flow_control", "off", FLOW_CONTROLS)
    wire = _read_wire(table, device, folder)
    device_id = _read_device_id(table, device)
    table.finish()
    return PortConfig(name, device, promiscuous, filters, wire, mac, flow_control, device_id)


def _is_device(value: object) -> bool:
    return isinstance(value, str) and (_DEVICE.fullmatch(value) is not None or pci_address(value) is not None)


def _read_device_id(port: Table, device: str) -> int | None:
    """The chip of a simulated port; a real one says itself what it is."""
    real = bool(device) and not device.startswith("sim:")
    value = port.get("device_id", "10fb", _DEVICE_ID_EXPECTED, lambda v: real or _sim_device_id(v) is not None)
    if real and port.has("device_id"):
        extra = f'none on {shown(device)} (only of "sim:" ports can it be chosen)'
        port.notes.add((*port.path, "device_id"), f"found a device_id, expected {extra}")
    return None if real or not port.has("device_id") else _sim_device_id(value)


def _sim_device_id(value: object) -> int | None:
    """`0x1563`, "1563" and "0x1563" are the same."""
    if isinstance(value, str):
        return SIM_DEVICE_IDS.get(value.lower().removeprefix("0x"))
    if isinstance(value, int) and is_integer(value):
        return value if value in SIM_DEVICE_IDS.values() else None
    return None


def _read_mac(table: Table) -> str | None:
    expected = 'the address of one station (unicast, not all zeros) such as "02:00:00:00:00:01"'
    found: str | None = table.get(
        "mac",
        None,
        expected,
        lambda v: isinstance(v, str) and _MAC.fullmatch(v) is not None and is_station_address(parse_mac(v, "mac")),
    )
    return found.lower() if found else None


def _read_mac_filters(table: Table) -> tuple[str, ...]:
    expected = 'a list of MAC addresses such as "02:00:00:00:00:01"'
    found: list[str] = []
    values = table.items("mac_filters", expected)
    for index, value in enumerate(values):
        path = (*table.path, "mac_filters", index)
        if not isinstance(value, str) or not _MAC.fullmatch(value):
            table.notes.add(path, f'found {shown(value)}, expected a MAC address such as "02:00:00:00:00:01"')
        elif value.lower() in found:
            table.notes.add(path, f"found {shown(value)} again, expected each address once")
        else:
            found.append(value.lower())
    if len(values) > MAX_MAC_FILTERS:
        extra = f"at most {MAX_MAC_FILTERS} (what the 82599 filters exactly)"
        table.notes.add((*table.path, "mac_filters"), f"found {len(values)} addresses, expected {extra}")
    return tuple(found)


def _read_wire(port: Table, device: str, folder: Path) -> Wire | None:
    if port.has("wire") and device and not device.startswith("sim:"):
        port.get("wire", None, "", lambda _: True)
        extra = f'none on {shown(device)} (only "sim:" ports have one; at a real port the cable is real)'
        port.notes.add((*port.path, "wire"), f"found a wire, expected {extra}")
        return None
    table = port.table("wire")
    if device and not device.startswith("sim:"):
        return None
    return read_wire(table, folder)


def read_links(root: Table) -> tuple[tuple[str, str], ...] | None:
    """Pairs of names, whether or not there are ports of those names; None if the section is missing."""
    root.need("link", "at least one [[link]] table")
    before = len(root.notes.problems)
    links: list[tuple[str, str]] = []
    for table in root.tables("link"):
        expected = 'two port names such as ["p0", "p1"]'
        table.need("ports", expected)
        names: list[str] = table.get("ports", ["", ""], expected, _is_pair)
        table.finish()
        links.append((names[0], names[1]))
    if not links and len(root.notes.problems) == before and root.has("link"):
        root.wrong("link", "at least one [[link]] table")
    return tuple(links) if links else None


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(name, str) for name in value)
