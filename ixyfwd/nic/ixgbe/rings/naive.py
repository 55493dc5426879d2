"""The rings one frame at a time in plain Python, for the naive engine and others without bursts of their own.

They work in the manner of ixy.py, the published Python driver for this chip: an object
for every descriptor and every buffer, made once; `struct` whenever a descriptor is read
or written; a method call per step; a burst's index in a local variable, and one
doorbell at its end. It is not that driver. ixy.py keeps address and length in the
frame's headroom and unpacks them for every packet, and sets RS on every descriptor;
here they are attributes, and RS comes as the other engines have it. The contract also
demands more: ids and free stack in the arena, counters, frames with errors, batches as
columns. `python -m ixyfwd.bench.published` measures the two side by side.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Final

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine
from ixyfwd.engine.queue import Rx, Tx
from ixyfwd.engine.startup import device_addresses
from ixyfwd.memory.layout import RING_STATE_BYTES, RingLayout
from ixyfwd.nic.ixgbe.descriptors import (
    DESCRIPTOR_BYTES,
    RS_INTERVAL,
    RX_DD,
    RX_EOP,
    RX_RXE,
    TX_COMMAND,
    TX_DD,
    TX_PAYLEN_SHIFT,
    TX_RS,
)
from ixyfwd.nic.ixgbe.rings.start import start_rx
from ixyfwd.telemetry.counters import PortWord

DESCRIPTOR: Final = struct.Struct("<QII")  # address, d2, d3; rx write-back: (packet type, hash), status, (length, VLAN)

NEXT, TAIL, CLEAN, SPANNING = range(4)  # words of a ring's state


class Descriptor:
    """One descriptor of a ring: 16 bytes at the offset `at` of `memory`, uint8[size]."""

    __slots__ = ("_at", "_memory")

    def __init__(self, memory: memoryview, at: int) -> None:
        self._memory = memory
        self._at = at

    def read(self) -> tuple[int, int, int]:
        """The descriptor as (address, d2, d3)."""
        return DESCRIPTOR.unpack_from(self._memory, self._at)

    def write(self, address: int, d2: int, d3: int) -> None:
        """Write the whole descriptor."""
        DESCRIPTOR.pack_into(self._memory, self._at, address, d2, d3)


class Packet:
    """A buffer, and the fields of the descriptor of the frame in it."""

    __slots__ = ("address", "buffer", "length", "rss_hash", "status")

    def __init__(self, buffer: int, address: int) -> None:
        """Make one without a frame. `address`: the device address of the buffer's frame."""
        self.buffer = buffer
        self.address = address
        self.length = self.rss_hash = self.status = 0


class Ring:
    """A descriptor ring, its buffer ids, its state and its port's counters."""

    def __init__(self, memory: memoryview, layout: RingLayout, counters: memoryview) -> None:
        """View a ring.

        `memory`: uint8[size], the whole arena. `counters`: uint64[32], the port's
        block, which `close` releases.
        """
        first, entries = layout.descriptors, layout.entries
        self.mask = entries - 1
        self.descriptors = [Descriptor(memory, first + DESCRIPTOR_BYTES * slot) for slot in range(entries)]
        self.ids = memory[layout.ids : layout.ids + 4 * entries].cast("I")
        self.state = memory[layout.state : layout.state + RING_STATE_BYTES].cast("I")
        self._counters = counters

    def after(self, slot: int) -> int:
        """The slot behind `slot`."""
        return (slot + 1) & self.mask

    def count(self, word: PortWord, value: int) -> None:
        """Add to a counter of the port."""
        self._counters[word] += value

    def close(self) -> None:
        """Release the views of the arena."""
        for view in (self.ids, self.state, self._counters):
            view.release()


class NaiveRings:
    """The rings of a port in plain Python. See `engine.rings.PortRings`."""

    def __init__(self, engine: Engine, port: int) -> None:
        memory = engine.memory
        layout = memory.layout
        self._engine = engine
        self._memory = memory
        self._port = port
        self._arena = memory.arena[:]
        self._closed = False
        self._pool = engine.pool
        self._rdt, self._tdt = memory.ports[port].rdt, memory.ports[port].tdt
        addresses = device_addresses(memory, memory.ports[port].dma)
        self._packets = [Packet(buffer, address) for buffer, address in enumerate(addresses)]
        self._rx_ring, self._tx_ring = (
            Ring(self._arena, ring, memory.port_words(port)) for ring in (layout.rx[port], layout.tx[port])
        )
        self.rx = Rx(partial(self._bind, self._rx_burst, self._rx_ring), self._start)
        self.tx = Tx(partial(self._bind, self._tx_burst, self._tx_ring), self._clean)

    def close(self) -> None:
        """Release every view of the arena; see `engine.rings.PortRings`."""
        self._closed = True
        self.rx.forget()
        self.tx.forget()
        self._rx_ring.close()
        self._tx_ring.close()
        self._arena.release()

    def _bind(self, burst: Callable[[Ring, Batch], int], ring: Ring, batch: Batch) -> Callable[[], int]:
        self._engine.check_open()
        return partial(self._if_open, burst, ring, batch)

    def _if_open(self, burst: Callable[[Ring, Batch], int], ring: Ring, batch: Batch) -> int:
        return 0 if self._closed else burst(ring, batch)

    def _start(self) -> None:
        self._engine.check_open()
        start_rx(self._memory, self._port)

    def _clean(self) -> int:
        self._engine.check_open()
        return self._clean_ring(self._tx_ring)

    def _rx_burst(self, ring: Ring, batch: Batch) -> int:
        packets: list[Packet] = []
        n_bytes = taken = 0
        slot = ring.state[NEXT]
        for _ in range(min(batch.capacity, ring.mask)):
            descriptor = ring.descriptors[slot]
            low, status, high = descriptor.read()
            if not status & RX_DD:
                break
            fresh = self._pool.pop()
            if fresh is None:
                ring.count(PortWord.RX_NO_BUFFER, 1)
                break
            packet = self._packets[ring.ids[slot]]
            packet.length, packet.rss_hash, packet.status = high & 0xFFFF, low >> 32, status
            ring.ids[slot] = fresh
            descriptor.write(self._packets[fresh].address, 0, 0)
            packets.append(packet)
            n_bytes += packet.length
            taken += 1
            slot = ring.after(slot)
        if not taken:
            batch.count = 0
            return 0
        ring.state[NEXT] = slot
        ring.state[TAIL] = (slot - 1) & ring.mask
        self._rdt[0] = (slot - 1) & ring.mask
        ring.count(PortWord.RX_BYTES, n_bytes)
        return _fill(batch, self._wanted(ring, packets))

    def _wanted(self, ring: Ring, packets: list[Packet]) -> list[Packet]:
        """Count frames where they end; free those with errors and parts of longer ones, and return the others."""
        if not ring.state[SPANNING] and all(packet.status & (RX_EOP | RX_RXE) == RX_EOP for packet in packets):
            ring.count(PortWord.RX_PACKETS, len(packets))
            return packets
        wanted: list[Packet] = []
        ended = 0
        for packet in packets:
            ends, spans = packet.status & RX_EOP, ring.state[SPANNING]
            ring.state[SPANNING] = not ends
            ended += bool(ends)
            if ends and not spans and not packet.status & RX_RXE:
                wanted.append(packet)
            else:
                self._pool.push(packet.buffer)
        ring.count(PortWord.RX_PACKETS, ended)
        ring.count(PortWord.RX_ERRORS, ended - len(wanted))
        return wanted

    def _tx_burst(self, ring: Ring, batch: Batch) -> int:
        n = batch.count
        if n == 0:
            return 0
        room = ring.mask - ((ring.state[TAIL] - ring.state[CLEAN]) & ring.mask)
        if room < n or room <= ring.mask // 2:
            room += self._clean_ring(ring)
        taken = min(n, room)
        n_bytes = 0
        slot = ring.state[TAIL]
        for i in range(taken):
            packet, length = self._packets[batch.ids[i]], batch.lengths[i]
            rs = TX_RS if slot % RS_INTERVAL == RS_INTERVAL - 1 else 0
            ring.ids[slot] = packet.buffer
            ring.descriptors[slot].write(packet.address, TX_COMMAND | rs | length, length << TX_PAYLEN_SHIFT)
            n_bytes += length
            slot = ring.after(slot)
        if taken:
            ring.state[TAIL] = slot
            self._tdt[0] = slot
            ring.count(PortWord.TX_PACKETS, taken)
            ring.count(PortWord.TX_BYTES, n_bytes)
        if taken < n:
            ring.count(PortWord.TX_FULL, n - taken)
            for i in range(taken, n):
                self._pool.push(batch.ids[i])
        batch.count = 0
        return taken

    def _clean_ring(self, ring: Ring) -> int:
        first = ring.state[CLEAN]
        freed = 0
        while (ring.state[TAIL] - first) & ring.mask >= RS_INTERVAL:
            if not ring.descriptors[first + RS_INTERVAL - 1].read()[2] & TX_DD:
                break
            for slot in range(first, first + RS_INTERVAL):
                self._pool.push(ring.ids[slot])
            first = (first + RS_INTERVAL) & ring.mask
            freed += RS_INTERVAL
        ring.state[CLEAN] = first
        return freed


def _fill(batch: Batch, packets: list[Packet]) -> int:
    for i, packet in enumerate(packets):
        batch.ids[i], batch.lengths[i] = packet.buffer, packet.length
        batch.hashes[i], batch.status[i] = packet.rss_hash, packet.status
    batch.count = len(packets)
    return len(packets)
