"""The options of `ixyfwd model`, held to the same checks as a configuration file."""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ixyfwd.config.consistency import check_ports
from ixyfwd.config.machine import Machine, check
from ixyfwd.config.schema import NAME, NAME_EXPECTED, SIM_DEVICE_IDS, Config, CpuConfig, PortConfig
from ixyfwd.config.wires import wire_data
from ixyfwd.errors import UsageError
from ixyfwd.model.spec import ModelSpec, PortSpec, default_mac
from ixyfwd.model.wires.contract import Wire
from ixyfwd.model.wires.registry import no_wire, read_wire
from ixyfwd.nic.mac import is_station_address, parse_mac
from ixyfwd.settings.problems import ConfigErrors, KeyPath, Problem, Source, key_text
from ixyfwd.settings.reader import Notes, Table, one_of, shown
from ixyfwd.telemetry.counters import MAX_PORTS

SOCKET_LIMIT_BYTES: Final = 107  # sockaddr_un
SYSFS: Final = "sysfs:"

_NAMED: Final = re.compile(r"([^/=]*)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class StandaloneOptions:
    """What was typed. `ports` are `[NAME=]SOCKET` or `[NAME=]sysfs:DIR`; `macs` is empty or one for each port."""

    ports: Sequence[str]
    wires: Sequence[str]
    macs: Sequence[str] = ()
    device_id: str = "10fb"
    offer_mmap: bool = False
    module: bool = True
    cpu: int | None = None
    control: str | None = None


@dataclass(frozen=True)
class _CommandLine(Source):
    """Problems are where they were typed: `--wire tap:ixy0: interface: found ...`."""

    ports: Sequence[str] = ()
    wires: Sequence[str] = ()
    cpu: int | None = None

    def place(self, path: KeyPath) -> str:
        return self.problem(path, "").path

    def problem(self, path: KeyPath, message: str) -> Problem:
        match path:
            case ("port", int(index), "wire", *rest):
                return Problem(f"--wire {_one_line(self.wires[index])}", 0, key_text(tuple(rest)), message)
            case ("port", int(index), *_):
                return Problem(f"--port {_one_line(self.ports[index])}", 0, "", message)
            case _:
                return Problem(f"--cpu {self.cpu}", 0, "", message)


@dataclass(frozen=True)
class _Place:
    """Where a port is to be found: a vfio-user socket, or a directory as in sysfs."""

    path: str
    polled: bool

    @property
    def socket(self) -> str:
        return "" if self.polled else self.path

    @property
    def directory(self) -> str | None:
        return self.path if self.polled else None


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def standalone_spec(options: StandaloneOptions, machine: Machine) -> ModelSpec:
    """The model that the options ask for. Raises UsageError (ConfigErrors: with every problem of ports and wires)."""
    _check_counts(options)
    device_id = SIM_DEVICE_IDS.get(options.device_id.lower().removeprefix("0x"))
    if device_id is None:
        raise UsageError(f"--device-id: found {shown(options.device_id)}, expected {one_of(SIM_DEVICE_IDS)}")
    source = _CommandLine("", {}, tuple(options.ports), tuple(options.wires), options.cpu)
    notes = Notes(source)
    named = [_read_port(notes, index, text) for index, text in enumerate(options.ports)]
    wires = [_read_wire(notes, index, text) for index, text in enumerate(options.wires)]
    config = Config(
        tuple(
            PortConfig(name, f"vfio-user:{os.path.abspath(place.path)}", wire=wire)
            for (name, place), wire in zip(named, wires, strict=True)
        ),
        (),
        cpu=CpuConfig(model=options.cpu),
        source=source,
    )
    check_ports(config, notes)
    problems = notes.problems or check(config, machine)
    if problems:
        raise ConfigErrors(problems)
    macs = _read_macs(options)
    control = options.control or f"{named[0][1].path}.control"
    _check_control(control, [place.path for _, place in named])
    ports = tuple(
        PortSpec(name, place.socket, mac, wire, device_id, options.offer_mmap, options.module, place.directory)
        for (name, place), mac, wire in zip(named, macs, wires, strict=True)
    )
    # On a CPU of its own it polls; otherwise it lets others run whenever nothing moves.
    return ModelSpec(ports, control, options.cpu, share_cpu=options.cpu is None, feed_by_itself=True)


def _check_counts(options: StandaloneOptions) -> None:
    ports = len(options.ports)
    if not 1 <= ports <= MAX_PORTS:
        raise UsageError(f"--port: found {ports or 'none'}, expected 1 to {MAX_PORTS}, each with a --wire")
    if len(options.wires) != ports:
        raise UsageError(f"--wire: found {len(options.wires)} for {ports} --port, expected one for each")
    if len(options.macs) not in (0, ports):
        raise UsageError(f"--mac: found {len(options.macs)} for {ports} --port, expected none or one for each")


def _read_port(notes: Notes, index: int, text: str) -> tuple[str, _Place]:
    named = _NAMED.fullmatch(text)
    name, where = (named[1], named[2]) if named else (f"p{index}", text)
    place = _Place(where.removeprefix(SYSFS).rstrip("/") if where.startswith(SYSFS) else where, where.startswith(SYSFS))
    path: KeyPath = ("port", index)
    if not NAME.fullmatch(name):
        notes.add(path, f"found the name {shown(name)}, expected {NAME_EXPECTED}")
    problem = _directory_problem(place.path) if place.polled else _socket_problem(place.path)
    if problem:
        notes.add(path, problem)
    return name, place


def _directory_problem(directory: str) -> str | None:
    """What is wrong with the place of a device directory; the model looks at what is in it."""
    if not directory or "\0" in directory:
        return f"found {shown(directory)}, expected the path of a directory to make"
    folder = os.path.dirname(directory) or "."
    if not os.path.isdir(folder):
        return f"found no directory {folder}, expected one to make the device directory in"
    if os.path.exists(directory) and not os.path.isdir(directory):
        return f"found a file that is no directory at {directory}, expected a free path"
    return None


def _socket_problem(socket: str) -> str | None:
    """What is wrong with a path to listen on, as far as it can be said without listening."""
    folder = os.path.dirname(socket) or "."
    if not os.path.basename(socket) or "\0" in socket:
        return f"found {shown(socket)}, expected the path of a socket"
    if len(os.fsencode(os.path.abspath(socket))) > SOCKET_LIMIT_BYTES:
        return f"found a path that is too long, expected at most the {SOCKET_LIMIT_BYTES} bytes that sockets can have"
    if not os.path.isdir(folder):
        return f"found no directory {folder}, expected one to make the socket in"
    try:
        mode = os.lstat(socket).st_mode
    except OSError:
        return None
    return None if stat.S_ISSOCK(mode) else f"found a file that is no socket at {socket}, expected a free path"


def _read_wire(notes: Notes, index: int, text: str) -> Wire:
    path: KeyPath = ("port", index, "wire")
    try:
        data = wire_data(text)
    except ValueError as error:
        notes.add(path, str(error))
        return no_wire()
    table = Table(notes, path, data)
    table.need("kind", "which kind of wire it is")
    return read_wire(table, Path())


def _read_macs(options: StandaloneOptions) -> list[str]:
    if not options.macs:
        return [default_mac(index) for index in range(len(options.ports))]
    for mac in options.macs:
        if not is_station_address(parse_mac(mac, "--mac")):
            raise UsageError(f"--mac: found {mac}, expected the address of one station (unicast, not all zeros)")
    lower = [mac.lower() for mac in options.macs]
    if len(set(lower)) != len(lower):
        raise UsageError("--mac: found an address twice, expected one of its own for each port")
    return lower


def _check_control(control: str, sockets: Sequence[str]) -> None:
    problem = _socket_problem(control)
    if os.path.abspath(control) in [os.path.abspath(socket) for socket in sockets]:
        problem = f"found {control}, which is a --port too, expected a path of its own"
    if problem:
        raise UsageError(f"--control: {problem}")
