"""How large the arena of a configuration is."""

from ixyfwd.config.schema import RING_FORMAT, Config
from ixyfwd.memory.layout import ArenaLayout, compute_layout, minimum_buffers


def arena_of(config: Config, workers: int) -> ArenaLayout:
    """The arena of a run of `config` with so many workers."""
    forward = config.forward
    least = minimum_buffers(len(config.ports), forward.ring_size, forward.batch)
    return compute_layout(
        ports=len(config.ports),
        workers=workers,
        ring_size=forward.ring_size,
        ring_format=RING_FORMAT,
        buffers_per_worker=max(least, forward.buffers),
    )
