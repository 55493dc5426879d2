"""Whether a configuration's wires come to an end by themselves, which is what `--until-done` waits for."""

from ixyfwd.config.schema import Config
from ixyfwd.errors import UsageError
from ixyfwd.model.wires.registry import kinds
from ixyfwd.settings.reader import one_of


def check_ends(config: Config) -> None:
    """Check that the wires come to an end.

    Raises UsageError if no wire feeds a finite number of frames, or if one goes on for ever.
    """
    feeding = [(port.name, port.wire) for port in config.ports if port.wire is not None and port.wire.ends is not None]
    for name, wire in feeding:
        if not wire.ends:
            way = f"{wire.how_to_end}, or use" if wire.how_to_end else "use"
            raise UsageError(f"--until-done: the wire of port {name} never ends; {way} --duration")
    if not feeding:
        able = one_of(name for name, kind in kinds().items() if kind.how_to_end)
        raise UsageError(f"--until-done: no port has a wire that feeds frames and ends ({able} may); use --duration")
