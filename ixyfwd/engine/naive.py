"""The `naive` engine: one frame at a time in plain Python.

It is the baseline that the other two are measured against, and the shortest description of what a burst does. It works
in the manner of ixy.py, the published Python driver for this chip: an object for every descriptor and every buffer,
made once; `struct` whenever a descriptor is read or written; a method call per step; a burst's index in a local
variable, and one doorbell at its end. It is not that driver. ixy.py keeps address and length in the frame's headroom
and unpacks them for every packet, and sets RS on every descriptor; here they are attributes, and RS comes as the
contract has it. The contract also asks for more: ids and free stack in the arena, counters, frames with errors, batches
as columns. `python -m ixyfwd.bench.published` turns the two side by side.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Final

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import RS_INTERVAL, EngineMemory
from ixyfwd.engine.queue import Rx, Tx
from ixyfwd.engine.startup import adopt, device_addresses, start_rx
from ixyfwd.engine.verdict import PASS
from ixyfwd.engine.verdicts import dispatch, settle
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
from ixyfwd.telemetry.counters import PORT_BLOCK_WORDS, PortWord, port_word, program_word

DESCRIPTOR: Final = struct.Struct("<QII")  # address, d2, d3; rx write-back: (packet type, hash), status, (length, VLAN)

NEXT, TAIL, CLEAN, SPANNING = range(4)  # words of a ring's state
RING_STATE_BYTES: Final = 16


class Descriptor:
    """One descriptor of a ring."""

    __slots__ = ("_at", "_memory")

    def __init__(self, memory: memoryview, at: int) -> None:
        self._memory = memory
        self._at = at

    def read(self) -> tuple[int, int, int]:
        """Address, d2, d3."""
        return DESCRIPTOR.unpack_from(self._memory, self._at)

    def write(self, address: int, d2: int, d3: int) -> None:
        """All of it."""
        DESCRIPTOR.pack_into(self._memory, self._at, address, d2, d3)


class Packet:
    """A buffer, and what the descriptor said of the frame in it."""

    __slots__ = ("_memory", "_offset", "address", "buffer", "length", "rss_hash", "status")

    def __init__(self, memory: memoryview, buffer: int, offset: int, address: int) -> None:
        """`offset` is where it lies in `memory`, `address` where the device finds it."""
        self._memory = memory
        self._offset = offset
        self.buffer = buffer
        self.address = address
        self.length = self.rss_hash = self.status = 0

    def touch(self, at: int) -> None:
        """Increment byte `at`."""
        place = self._offset + at
        self._memory[place] = (self._memory[place] + 1) & 0xFF


class FreeStack:
    """The ids of free buffers."""

    def __init__(self, memory: memoryview, at: int, buffers: int) -> None:
        self._count = memory[at : at + 4].cast("I")
        first = at + POOL_STATE_BYTES
        self._ids = memory[first : first + 4 * buffers].cast("I")

    def __len__(self) -> int:
        return self._count[0]

    def pop(self) -> int | None:
        """The id on top, or None if there is none."""
        count = self._count[0]
        if not count:
            return None
        self._count[0] = count - 1
        return self._ids[count - 1]

    def push(self, buffer: int) -> None:
        """Put an id on top."""
        count = self._count[0]
        self._ids[count] = buffer
        self._count[0] = count + 1

    def close(self) -> None:
        """Let the arena go."""
        self._count.release()
        self._ids.release()


class Ring:
    """A descriptor ring, its buffer ids, its state and its port's counters."""

    def __init__(self, memory: memoryview, layout: RingLayout, counters: int, port: int) -> None:
        first, entries = layout.descriptors, layout.entries
        self.port = port
        self.mask = entries - 1
        self.descriptors = [Descriptor(memory, first + DESCRIPTOR_BYTES * slot) for slot in range(entries)]
        self.ids = memory[layout.ids : layout.ids + 4 * entries].cast("I")
        self.state = memory[layout.state : layout.state + RING_STATE_BYTES].cast("I")
        block = counters + 8 * port_word(port, PortWord.RX_PACKETS)
        self._counters = memory[block : block + 8 * PORT_BLOCK_WORDS].cast("Q")

    def after(self, slot: int) -> int:
        """The slot behind `slot`."""
        return (slot + 1) & self.mask

    def count(self, word: PortWord, value: int) -> None:
        """Add to a counter of the port."""
        self._counters[word] += value

    def close(self) -> None:
        """Let the arena go."""
        for view in (self.ids, self.state, self._counters):
            view.release()


class NaiveEngine:
    """See `engine.contract.Engine`."""

    name = "naive"

    def __init__(self, memory: EngineMemory) -> None:
        """Raises IxyfwdError if the memory does not fit the layout, or for frames over several buffers."""
        if memory.segmented:
            raise IxyfwdError("the naive engine takes no frames over several buffers; use native or vector")
        adopt(memory)
        layout = memory.layout
        self._memory = memory
        self._arena = memory.arena[:]
        self._closed = False
        self._pool = FreeStack(self._arena, layout.pool, layout.buffers)
        places = zip(layout.buffer_offsets(), device_addresses(memory), strict=True)
        self._packets = [Packet(self._arena, i, offset, address) for i, (offset, address) in enumerate(places)]
        rx_rings = [Ring(self._arena, ring, layout.counters, port) for port, ring in enumerate(layout.rx)]
        tx_rings = [Ring(self._arena, ring, layout.counters, port) for port, ring in enumerate(layout.tx)]
        self._rings = (*rx_rings, *tx_rings)
        self._rx = [Rx(partial(self._bind, self._rx_burst, r), partial(self._start, r.port)) for r in rx_rings]
        self._tx = [Tx(partial(self._bind, self._tx_burst, r), partial(self._clean, r)) for r in tx_rings]

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
        return len(self._pool)

    def close(self) -> None:
        """Let the arena go. A bound callable that is called later does nothing."""
        if not self._closed:
            self._closed = True
            for queue in (*self._rx, *self._tx):
                queue.forget()
            for ring in self._rings:
                ring.close()
            self._pool.close()
            self._arena.release()

    def bind_pass_all(self, batch: Batch) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self._check_open()

        def pass_all() -> int:
            for i in range(batch.count):
                batch.verdicts[i] = PASS
            return batch.count

        return pass_all

    def bind_settle(self, batch: Batch, program: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self._check_open()

        def count(word: int) -> None:
            at = self._memory.layout.counters + 8 * program_word(program, word)
            struct.pack_into("<Q", self._arena, at, struct.unpack_from("<Q", self._arena, at)[0] + 1)

        return lambda: 0 if self._closed else settle(batch, count, self._pool.push, len(self._tx))

    def bind_dispatch(self, batch: Batch, passed_to: int) -> Callable[[], int]:
        """See `engine.contract.Engine`."""
        self._check_open()
        parts = [self.new_batch(batch.capacity) for _ in self._tx]
        send = [tx.bind(part) for part, tx in zip(parts, self._tx, strict=True)]
        return lambda: 0 if self._closed else dispatch(batch, passed_to, parts, send)

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
        self._memory.doorbells[ring.port].rdt[0] = (slot - 1) & ring.mask
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
            room += self._clean(ring)
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
            self._memory.doorbells[ring.port].tdt[0] = slot
            ring.count(PortWord.TX_PACKETS, taken)
            ring.count(PortWord.TX_BYTES, n_bytes)
        if taken < n:
            ring.count(PortWord.TX_FULL, n - taken)
            for i in range(taken, n):
                self._pool.push(batch.ids[i])
        batch.count = 0
        return taken

    def _clean(self, ring: Ring) -> int:
        self._check_open()
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
