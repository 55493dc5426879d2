"""Whether a configuration's wires come to an end by themselves, which is what `--until-done` waits for."""

from ixyfwd.config.schema import Config
from ixyfwd.errors import UsageError
from ixyfwd.model.spec import GeneratorWire, PcapWire, Wire


def check_ends(config: Config) -> None:
    """Raises UsageError if no wire feeds a finite number of frames, or if one goes on for ever."""
    feeding = [(port.name, port.wire) for port in config.ports if port.wire is not None and _feeds(port.wire)]
    for name, wire in feeding:
        if _endless(wire):
            raise UsageError(
                f"--until-done: the wire of port {name} never ends; give its generator a count or its capture file "
                "loop = false, or use --duration"
            )
    if not feeding:
        raise UsageError("--until-done: no port has a wire that ends (a generator or a replayed file); use --duration")


def _feeds(wire: Wire) -> bool:
    return isinstance(wire, GeneratorWire) or (isinstance(wire, PcapWire) and wire.replay is not None)


def _endless(wire: Wire) -> bool:
    return (isinstance(wire, GeneratorWire) and wire.count is None) or (isinstance(wire, PcapWire) and wire.loop)
