"""The configuration of a run with one port and no links: `ixyfwd generate` and `ixyfwd capture`."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ixyfwd.config.load import load_config
from ixyfwd.config.machine import Machine, check
from ixyfwd.config.ports import read_port
from ixyfwd.config.schema import Config, CpuConfig, EngineName, ForwardConfig, PortConfig
from ixyfwd.config.wires import wire_data
from ixyfwd.errors import UsageError
from ixyfwd.model.wires.contract import Wire
from ixyfwd.model.wires.registry import no_wire
from ixyfwd.settings.problems import ConfigErrors, KeyPath, Problem, Source, key_text
from ixyfwd.settings.reader import Notes, Table, one_of, shown

BATCH: Final = 128
CAPTURE_RING: Final = 4096  # bridges 275 us at line rate, in which a filter or a copy may be late
ENGINES: Final[tuple[EngineName, ...]] = ("native", "vector")


@dataclass(frozen=True)
class PortChoice:
    """What was typed: a device, or a configuration with the name of one of its ports.

    `wire` is for `sim:` only; `ring_size` in descriptors.
    """

    device: str | None
    config: Path | None
    port: str | None
    wire: str | None
    engine: str | None
    instance: str
    ring_size: int = 512


@dataclass(frozen=True)
class _CommandLine(Source):
    wire: str = ""

    def problem(self, path: KeyPath, message: str) -> Problem:
        if path[:1] == ("wire",):
            return Problem(f"--wire {self.wire}", 0, key_text(path[1:]), message)
        return Problem("PORT", 0, "" if path == ("device",) else key_text(path), message)


def single_port(choice: PortChoice, wire: Wire, machine: Machine) -> Config:
    """The port that was chosen, alone. `wire`: a simulated port's unless one was typed or configured.

    Raises UsageError (ConfigErrors: with every problem).
    """
    if (choice.device is None) == (choice.config is None):
        raise UsageError("expected either a PORT such as sim:p0, or -c FILE with --port NAME")
    config = _configured(choice) if choice.config is not None else _typed(choice, wire)
    wanted = choice.engine or config.forward.engine
    engine = next((name for name in ENGINES if name == wanted), None)
    if engine is None:
        raise UsageError(f"--engine: found {shown(wanted)}, expected {one_of(ENGINES)}")
    forward = replace(config.forward, engine=engine, ring_size=max(config.forward.ring_size, choice.ring_size))
    config = replace(config, forward=replace(forward, batch=BATCH, programs=()), instance=choice.instance)
    problems = check(config, machine)
    if problems:
        raise ConfigErrors(problems)
    return config


def _typed(choice: PortChoice, wire: Wire) -> Config:
    if choice.port is not None:
        raise UsageError("--port: found without -c FILE, expected the configuration that the port is in")
    source = _CommandLine("", {}, choice.wire or "")
    notes = Notes(source)
    data: dict[str, object] = {"name": "p0", "device": choice.device}
    simulated = (choice.device or "").startswith("sim:")
    if choice.wire is not None:
        try:
            data["wire"] = wire_data(choice.wire)
        except ValueError as error:
            notes.add(("wire",), str(error))
    elif simulated:
        data["wire"] = no_wire().as_json()
    port = read_port(Table(notes, (), data), Path())
    if port.wire is not None and port.wire.leads_to is not None:
        notes.add(("wire",), f"found a {port.wire.kind}, expected a wire that needs no second port")
    if notes.problems:
        raise ConfigErrors(notes.problems)
    if simulated and choice.wire is None:
        port = replace(port, wire=wire)
    return Config((port,), (), cpu=CpuConfig(workers=1), source=source)


def _configured(choice: PortChoice) -> Config:
    assert choice.config is not None
    if choice.wire is not None:
        raise UsageError("--wire: found with -c FILE, expected the wire in the configuration")
    config = load_config(choice.config)
    ports = {port.name: port for port in config.ports}
    if choice.port not in ports:
        raise UsageError(f"--port: found {shown(choice.port or '')}, expected {one_of(ports)} ({choice.config})")
    port: PortConfig = ports[choice.port]
    if port.wire is not None and port.wire.leads_to is not None:
        raise UsageError(
            f"--port: found {choice.port}, which is on a {port.wire.kind} to {port.wire.leads_to}; "
            "expected a port that works alone (start `ixyfwd model` with both ends and name one by vfio-user:SOCKET)"
        )
    forward = ForwardConfig(engine=config.forward.engine, ring_size=config.forward.ring_size)
    workers = config.cpu.workers[:1] if isinstance(config.cpu.workers, tuple) else 1
    return replace(config, ports=(port,), links=(), forward=forward, cpu=replace(config.cpu, workers=workers))


def own_instance(command: str) -> str:
    """A name that no other run has."""
    return f"{command}-{os.getpid()}"
