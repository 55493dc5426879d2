"""The rings of the 82599, X540 and X550 in a worker: bursts in C, in numpy, in plain Python."""

from ixyfwd.engine.contract import Engine
from ixyfwd.engine.rings import PortRings


def open_rings(engine: Engine, port: int) -> PortRings:
    """Open the rings of a port, as `engine.rings` has it.

    Only the modules that the engine needs are imported: numpy costs 20 MiB and 90 ms.
    """
    if engine.name == "native":
        from ixyfwd.nic.ixgbe.rings.native import open_native  # noqa: PLC0415

        return open_native(engine, port)
    if engine.name == "vector":
        from ixyfwd.nic.ixgbe.rings.vector import open_vector  # noqa: PLC0415

        return open_vector(engine, port)
    from ixyfwd.nic.ixgbe.rings.naive import NaiveRings  # noqa: PLC0415

    return NaiveRings(engine, port)
