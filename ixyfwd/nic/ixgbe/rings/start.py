"""The filling of a receive ring, for every engine."""

import struct

from ixyfwd.engine.contract import EngineMemory
from ixyfwd.engine.startup import take_buffers
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES


def start_rx(memory: EngineMemory, port: int) -> None:
    """Fill the receive ring of a port; see `engine.contract.RxQueue.start`. Raises IxyfwdError."""
    layout = memory.layout
    ring, dma = layout.rx[port], memory.ports[port].dma
    ids = take_buffers(memory, ring.entries, port)
    offsets = layout.buffer_offsets()
    descriptors = b"".join(struct.pack("=QQ", dma.address(offsets[i]), 0) for i in ids)
    memory.arena[ring.descriptors : ring.descriptors + DESCRIPTOR_BYTES * ring.entries] = descriptors
    memory.arena[ring.ids : ring.ids + 4 * ring.entries] = struct.pack(f"={ring.entries}I", *ids)
    memory.arena[ring.state : ring.state + 16] = struct.pack("=4I", 0, ring.entries - 1, 0, 0)
    memory.ports[port].rdt[0] = ring.entries - 1
