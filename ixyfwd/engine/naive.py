"""The `naive` engine: one frame at a time in plain Python, as published Python drivers do it.

It is the baseline that the other two are measured against, and the shortest description of what a burst does. An object
per frame, `struct` for every descriptor, a method call per step: nothing is prepared and nothing is shared.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import RS_INTERVAL, EngineMemory
from ixyfwd.engine.queue import Rx, Tx
from ixyfwd.engine.startup import adopt, device_addresses, start_rx
from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.layout import POOL_STATE_BYTES, RingLayout
from ixyfwd.nic.ixgbe.descriptors import (
    DESCRIPTOR_BYTES,
    RX_DD,
    RX_EOP,
    RX_RXE,
    TX_COMMAND,
    TX_DD,
    TX_PAYLEN_SHIFT,
    TX_RS,
)
from ixyfwd.telemetry.counters import PortWord, port_word

DESCRIPTOR: Final = struct.Struct("<QII")  # address, d2, d3; rx write-back: (packet type, hash), status, (length, VLAN)


@dataclass
class Packet:
    """A frame in its buffer."""

    buffer: int
    length: int
    rss_hash: int
    status: int


class Ring:
    """A descriptor ring, its buffer ids and its state in the arena."""

    def __init__(self, memory: EngineMemory, layout: RingLayout, port: int) -> None:
        self.arena = memory.arena
        self.layout = layout
        self.port = port
        self.counters = memory.layout.counters

    def descriptor(self, slot: int) -> tuple[int, int, int]:
        """Address, d2, d3."""
        return DESCRIPTOR.unpack_from(self.arena, self.layout.descriptors + DESCRIPTOR_BYTES * slot)

    def set_descriptor(self, slot: int, address: int, d2: int, d3: int) -> None:
        """Write all of it."""
        DESCRIPTOR.pack_into(self.arena, self.layout.descriptors + DESCRIPTOR_BYTES * slot, address, d2, d3)

    def buffer(self, slot: int) -> int:
        """The buffer in `slot`."""
        return int(struct.unpack_from("<I", self.arena, self.layout.ids + 4 * slot)[0])

    def set_buffer(self, slot: int, buffer: int) -> None:
        """The buffer in `slot` is now `buffer`."""
        struct.pack_into("<I", self.arena, self.layout.ids + 4 * slot, buffer)

    def state(self, index: int) -> int:
        """0: next, 1: tail, 2: clean, 3: spanning."""
        return int(struct.unpack_from("<I", self.arena, self.layout.state + 4 * index)[0])

    def set_state(self, index: int, value: int) -> None:
        """See `state`."""
        struct.pack_into("<I", self.arena, self.layout.state + 4 * index, value)

    def count(self, word: PortWord, value: int) -> None:
        """Add to a counter of the port."""
        at = self.counters + 8 * port_word(self.port, word)
        struct.pack_into("<Q", self.arena, at, struct.unpack_from("<Q", self.arena, at)[0] + value)


class NaiveEngine:
    """See `engine.contract.Engine`."""

    name = "naive"

    def __init__(self, memory: EngineMemory) -> None:
        """Raises IxyfwdError if the memory does not fit the layout, or for frames over several buffers."""
        if memory.segmented:
            raise IxyfwdError("the naive engine takes no frames over several buffers; use native or vector")
        adopt(memory)
        self._memory = memory
        self._arena = memory.arena[:]
        self._addresses = device_addresses(memory)
        self._offsets = memory.layout.buffer_offsets()
        self._closed = False
        ports = range(len(memory.layout.rx))
        rings = [(Ring(memory, memory.layout.rx[p], p), Ring(memory, memory.layout.tx[p], p)) for p in ports]
        self._rx = [Rx(partial(self._bind, self._rx_burst, rings[p][0]), partial(self._start, p)) for p in ports]
        self._tx = [
            Tx(partial(self._bind, self._tx_burst, rings[p][1]), partial(self._clean, rings[p][1])) for p in ports
        ]

    def rx(self, port: int) -> Rx:
        """The receive ring of a port."""
        return self._rx[port]

    def tx(self, port: int) -> Tx:
        """The transmit ring of a port."""
        return self._tx[port]

    def new_batch(self, capacity: int) -> Batch:
        """A batch of `capacity` frames. Raises ValueError outside 1..4096."""
        return Batch(capacity)

    def free_buffers(self) -> int:
        """Buffers in the free stack."""
        self._check_open()
        return int(struct.unpack_from("<I", self._arena, self._memory.layout.pool)[0])

    def close(self) -> None:
        """Let the arena go. A bound callable that is called later does nothing."""
        if not self._closed:
            self._closed = True
            for ring in (*self._rx, *self._tx):
                ring.forget()
            self._arena.release()

    def bind_touch(self, batch: Batch, at: int) -> Callable[[], int]:
        """A callable that increments byte `at` of every frame in `batch` that is longer than that."""
        self._check_open()
        return partial(self._touch, batch, at)

    def _touch(self, batch: Batch, at: int) -> int:
        if self._closed:
            return 0
        for i in range(batch.count):
            if batch.lengths[i] > at:
                place = self._offsets[batch.ids[i]] + at
                self._arena[place] = (self._arena[place] + 1) & 0xFF
        return batch.count

    def _check_open(self) -> None:
        if self._closed:
            raise IxyfwdError(f"worker {self._memory.layout.index}: the naive engine was closed")

    def _bind(self, burst: Callable[[Ring, Batch], int], ring: Ring, batch: Batch) -> Callable[[], int]:
        self._check_open()
        return partial(self._if_open, burst, ring, batch)

    def _if_open(self, burst: Callable[[Ring, Batch], int], ring: Ring, batch: Batch) -> int:
        return 0 if self._closed else burst(ring, batch)

    def _start(self, port: int) -> None:
        self._check_open()
        start_rx(self._memory, port)

    def _pop(self) -> int | None:
        pool = self._memory.layout.pool
        count = self.free_buffers()
        if count == 0:
            return None
        struct.pack_into("<I", self._arena, pool, count - 1)
        return int(struct.unpack_from("<I", self._arena, pool + POOL_STATE_BYTES + 4 * (count - 1))[0])

    def _push(self, buffer: int) -> None:
        pool = self._memory.layout.pool
        count = self.free_buffers()
        struct.pack_into("<I", self._arena, pool + POOL_STATE_BYTES + 4 * count, buffer)
        struct.pack_into("<I", self._arena, pool, count + 1)

    def _rx_burst(self, ring: Ring, batch: Batch) -> int:
        mask = ring.layout.entries - 1
        packets: list[Packet] = []
        taken = 0
        batch.count = 0
        while taken < min(batch.capacity, mask):
            packet = self._receive(ring, mask)
            if packet is None:
                break
            taken += 1
            if self._wanted(ring, packet):
                packets.append(packet)
        if taken:
            tail = (ring.state(0) - 1) & mask
            ring.set_state(1, tail)
            self._memory.doorbells[ring.port].rdt[0] = tail
        for i, packet in enumerate(packets):
            batch.ids[i], batch.lengths[i] = packet.buffer, packet.length
            batch.hashes[i], batch.status[i] = packet.rss_hash, packet.status
        batch.count = len(packets)
        return len(packets)

    def _receive(self, ring: Ring, mask: int) -> Packet | None:
        """Take one finished descriptor and give its slot another buffer."""
        slot = ring.state(0)
        low, status, high = ring.descriptor(slot)
        if not status & RX_DD:
            return None
        fresh = self._pop()
        if fresh is None:
            ring.count(PortWord.RX_NO_BUFFER, 1)
            return None
        packet = Packet(ring.buffer(slot), high & 0xFFFF, low >> 32, status)
        ring.set_buffer(slot, fresh)
        ring.set_descriptor(slot, self._addresses[fresh], 0, 0)
        ring.set_state(0, (slot + 1) & mask)
        ring.count(PortWord.RX_BYTES, packet.length)
        return packet

    def _wanted(self, ring: Ring, packet: Packet) -> bool:
        """Count a descriptor's frame if it ends here; free it if it is an error or part of a longer one."""
        ends, spans = bool(packet.status & RX_EOP), bool(ring.state(3))
        ring.set_state(3, not ends)
        wanted = ends and not spans and not packet.status & RX_RXE
        if ends:
            ring.count(PortWord.RX_PACKETS, 1)
            ring.count(PortWord.RX_ERRORS, not wanted)
        if not wanted:
            self._push(packet.buffer)
        return wanted

    def _tx_burst(self, ring: Ring, batch: Batch) -> int:
        mask = ring.layout.entries - 1
        n = batch.count
        if n == 0:
            return 0
        room = mask - ((ring.state(1) - ring.state(2)) & mask)
        if room < n or room <= mask // 2:
            room += self._clean(ring)
        taken = min(n, room)
        for i in range(taken):
            self._send(ring, batch.ids[i], batch.lengths[i], mask)
        if taken:
            self._memory.doorbells[ring.port].tdt[0] = ring.state(1)
        for i in range(taken, n):
            self._push(batch.ids[i])
        ring.count(PortWord.TX_FULL, n - taken)
        batch.count = 0
        return taken

    def _send(self, ring: Ring, buffer: int, length: int, mask: int) -> None:
        slot = ring.state(1)
        rs = TX_RS if slot % RS_INTERVAL == RS_INTERVAL - 1 else 0
        ring.set_buffer(slot, buffer)
        ring.set_descriptor(slot, self._addresses[buffer], TX_COMMAND | rs | length, length << TX_PAYLEN_SHIFT)
        ring.set_state(1, (slot + 1) & mask)
        ring.count(PortWord.TX_PACKETS, 1)
        ring.count(PortWord.TX_BYTES, length)

    def _clean(self, ring: Ring) -> int:
        self._check_open()
        mask = ring.layout.entries - 1
        freed = 0
        while (ring.state(1) - ring.state(2)) & mask >= RS_INTERVAL:
            first = ring.state(2)
            if not ring.descriptor(first + RS_INTERVAL - 1)[2] & TX_DD:
                break
            for slot in range(first, first + RS_INTERVAL):
                self._push(ring.buffer(slot))
            ring.set_state(2, (first + RS_INTERVAL) & mask)
            freed += RS_INTERVAL
        return freed
