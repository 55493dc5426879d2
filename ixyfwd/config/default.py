"""What runs without a configuration file."""

from collections.abc import Sequence
from typing import Final

from ixyfwd.config.placement import default_worker_count
from ixyfwd.config.schema import Config, CpuConfig, PortConfig
from ixyfwd.model.wires.registry import default_wire

DEFAULT_PORTS: Final = tuple(PortConfig(name, f"sim:{name}", wire=default_wire()) for name in ("p0", "p1"))
DEFAULT_LINKS: Final = (("p0", "p1"),)


def default_config(cpus: Sequence[int]) -> Config:
    """Two simulated ports, linked, a generator at each, and as many workers as `cpus` (those allowed) give room to."""
    return Config(DEFAULT_PORTS, DEFAULT_LINKS, cpu=CpuConfig(workers=default_worker_count(cpus, simulated=True)))
