"""The start of engines, before the first burst: checks of their memory, buffers for receive rings."""

import struct

from ixyfwd.engine.contract import EngineMemory
from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.layout import POOL_STATE_BYTES
from ixyfwd.memory.pool import reset_worker
from ixyfwd.pci.function import DmaMap

MIN_ENTRIES = 64
MAX_ENTRIES = 4096


def adopt(memory: EngineMemory) -> None:
    """Check the memory and rebuild the worker's free stack and ring state. Raises IxyfwdError for a misfit."""
    layout = memory.layout
    for ring in (*layout.rx, *layout.tx):
        if not (MIN_ENTRIES <= ring.entries <= MAX_ENTRIES and ring.entries.bit_count() == 1):
            raise IxyfwdError(
                f"worker {layout.index}: a ring of {ring.entries} descriptors; the engines work on powers of two "
                f"from {MIN_ENTRIES} to {MAX_ENTRIES}"
            )
    if memory.arena.nbytes < layout.base + layout.size:
        raise IxyfwdError(
            f"worker {layout.index}: its memory ends at byte {layout.base + layout.size}, "
            f"but only {memory.arena.nbytes} bytes are mapped"
        )
    if len(memory.ports) != len(layout.rx):
        raise IxyfwdError(f"worker {layout.index}: {len(layout.rx)} ports but doorbells for {len(memory.ports)}")
    reset_worker(memory.arena, layout)


def device_addresses(memory: EngineMemory, dma: DmaMap) -> list[int]:
    """The device address of each buffer's frame; the index is the buffer's id."""
    return [dma.address(offset) for offset in memory.layout.buffer_offsets()]


def take_buffers(memory: EngineMemory, wanted: int, port: int) -> tuple[int, ...]:
    """Take the ids of `wanted` buffers, for a port's receive ring, off the free stack.

    Raises IxyfwdError if it has too few.
    """
    layout = memory.layout
    count = int.from_bytes(memory.arena[layout.pool : layout.pool + 4], "little")
    if count < wanted:
        raise IxyfwdError(
            f"worker {layout.index}: the receive ring of port {port} needs {wanted} buffers, {count} of "
            f"{layout.buffers} are free; give each worker more buffers or use smaller rings"
        )
    memory.arena[layout.pool : layout.pool + 4] = (count - wanted).to_bytes(4, "little")
    first = layout.pool + POOL_STATE_BYTES + 4 * (count - wanted)
    return struct.unpack(f"={wanted}I", memory.arena[first : first + 4 * wanted])
