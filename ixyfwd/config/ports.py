"""The `[[port]]` and `[[link]]` sections and what is plugged into a simulated port."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ixyfwd.config.reader import Table, is_integer, is_number, one_of, shown
from ixyfwd.config.schema import (
    FLOW_CONTROLS,
    MAX_MAC_FILTERS,
    MAX_MAX_FRAME_BYTES,
    NAME,
    NAME_EXPECTED,
    SCHEMES,
    SIM_DEVICE_IDS,
    PortConfig,
)
from ixyfwd.model.spec import IMIX, WIRES, CableWire, GeneratorWire, NoWire, PcapWire, Rate, TapWire, Wire
from ixyfwd.nic.mac import is_station_address, parse_mac
from ixyfwd.telemetry.counters import MAX_PORTS

MAX_FLOWS: Final = 65_536
MAX_SIZES: Final = 16
MIN_FRAME_BYTES: Final = 64  # with CRC, as all frame sizes here
MAX_FRAME_BYTES: Final = MAX_MAX_FRAME_BYTES
MAX_RATE_PPS: Final = 1e9

_DEVICE = re.compile(
    r"sim:[a-z0-9_-]{1,32}|vfio-user:/[^\0\n]{1,106}|[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]"
    + "".join(rf"|{re.escape(scheme)}[^\0\n]{{1,106}}" for scheme in SCHEMES)
)
_DEVICE_EXPECTED = '"sim:NAME", "vfio-user:/PATH" or a PCI address such as "0000:03:00.0"'
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_INTERFACE = re.compile(r"(?!\.{1,2}$)[^\s/:\0]{1,15}")  # what the kernel's dev_valid_name takes
_FILE = re.compile(r"[^\0]{1,4000}")
_DEVICE_ID_EXPECTED = f"{one_of(SIM_DEVICE_IDS)}, or the same as a number such as 0x10fb"
_FRAME_EXPECTED = f'bytes with CRC from {MIN_FRAME_BYTES} to {MAX_FRAME_BYTES}, a list of them, or "imix"'


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
    device = table.text("device", "", _DEVICE_EXPECTED, _DEVICE)
    if not device.startswith(("sim:", "vfio-user:", *SCHEMES)):
        device = device.lower()
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


def read_wire(table: Table, folder: Path) -> Wire:
    """A wire's own table; file names count from `folder`."""
    readers: Mapping[str, Callable[[Table, Path], Wire]] = {
        "generator": _read_generator,
        "tap": _read_tap,
        "pcap": _read_pcap,
        "cable": _read_cable,
        "none": lambda _table, _folder: NoWire(),
    }
    before = len(table.notes.problems)
    kind = table.choice("kind", "generator", tuple(WIRES))
    if len(table.notes.problems) > before:
        return GeneratorWire()  # what the other keys should be depends on the kind
    wire = readers[kind](table, folder)
    table.finish()
    return wire


def _read_generator(table: Table, _folder: Path) -> Wire:
    rate = _read_rate(table, "line", ("line", "max"))
    return GeneratorWire(
        flows=table.integer("flows", 64, 1, MAX_FLOWS),
        frames=_read_frames(table),
        rate=rate,
        count=table.integer("count", None, 1, 2**48),
        verify=table.choice("verify", "frame", ("frame", "payload")),
    )


def _read_frames(table: Table) -> tuple[tuple[int, int], ...]:
    value: Any = table.get("frame", 64, _FRAME_EXPECTED, lambda v: v == "imix" or isinstance(v, list) or is_integer(v))
    if value == "imix":
        return IMIX
    sizes = value if isinstance(value, list) else [value]
    if not 1 <= len(sizes) <= MAX_SIZES:
        table.wrong("frame", f"1 to {MAX_SIZES} sizes")
    for index, size in enumerate(sizes):
        if is_integer(size) and MIN_FRAME_BYTES <= size <= MAX_FRAME_BYTES:
            continue
        if not isinstance(value, list):
            table.wrong("frame", _FRAME_EXPECTED)
        else:
            expected = f"bytes with CRC from {MIN_FRAME_BYTES} to {MAX_FRAME_BYTES}"
            table.notes.add((*table.path, "frame", index), f"found {shown(size)}, expected {expected}")
    return tuple((size, 1) for size in sizes if is_integer(size) and MIN_FRAME_BYTES <= size <= MAX_FRAME_BYTES)


def _read_rate(table: Table, default: Rate, words: tuple[str, ...]) -> Rate:
    expected = f"{one_of(words)}, or frames per second from 0.1 to {MAX_RATE_PPS:g}"
    rate: Rate = table.get(
        "rate",
        default,
        expected,
        lambda v: v in words if isinstance(v, str) else is_number(v) and 0.1 <= v <= MAX_RATE_PPS,
    )
    return rate if isinstance(rate, str) else float(rate)


def _read_tap(table: Table, _folder: Path) -> Wire:
    expected = "an interface name of 1 to 15 characters without blanks, / and :"
    table.need("interface", expected)
    return TapWire(table.text("interface", "", expected, _INTERFACE))


def _read_pcap(table: Table, folder: Path) -> Wire:
    """File names count from the folder of the configuration file."""
    if not table.has("replay") and not table.has("capture"):
        table.notes.add(table.path, 'found neither "replay" nor "capture", expected a file for at least one of them')
    replay, capture = (table.text(key, "", "a file name", _FILE) for key in ("replay", "capture"))
    return PcapWire(
        replay=str(folder / replay) if replay else None,
        capture=str(folder / capture) if capture else None,
        loop=table.flag("loop", False),
        rate=_read_rate(table, "max", ("max", "line", "recorded")),
    )


def _read_cable(table: Table, _folder: Path) -> Wire:
    table.need("to", "the name of the port at the other end")
    return CableWire(table.text("to", "", "the name of the port at the other end", NAME))


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
