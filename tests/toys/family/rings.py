"""The rings of the toy in a worker, in plain Python: they work on any engine's free stack."""

import os
import struct
from collections.abc import Callable

from ixyfwd.nic.toy.descriptors import BAD, DESCRIPTOR_BYTES, LAST, Places, distance
from ixyfwd.nic.toy.limits import LIMITS

from ixyfwd.engine.batch import BATCH_EOP, Batch
from ixyfwd.engine.contract import CallBell, Engine
from ixyfwd.engine.queue import Rx, Tx
from ixyfwd.engine.startup import device_addresses, take_buffers
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.memory.layout import RingLayout
from ixyfwd.memory.pool import NO_BUFFER
from ixyfwd.telemetry.counters import PORT_BLOCK_WORDS, PortWord, port_word

NEXT, TAIL, CLEAN = range(3)  # words of a ring's state
BUFFER_BYTES = 2048
ONE = struct.pack("=Q", 1)


def open_rings(engine: Engine, port: int) -> "ToyRings":
    """See `engine.rings`. Raises UsageError for frames over several buffers."""
    if engine.memory.segmented:
        raise UsageError("toy ports take no frames over several buffers")
    return ToyRings(engine, port)


class Ring:
    """One ring: its memory, its buffer ids, its state."""

    def __init__(self, arena: memoryview, layout: RingLayout) -> None:
        self.entries = layout.entries
        self.places = Places(layout.entries)
        raw = arena[layout.descriptors : layout.descriptors + LIMITS.ring.bytes_for(layout.entries)]
        self.words = raw.cast("I")
        self.bytes = raw
        self.ids = arena[layout.ids : layout.ids + 4 * layout.entries].cast("I")
        self.state = arena[layout.state : layout.state + 64].cast("I")

    def post(self, slot: int, buffer: int, address: int, length: int) -> None:
        """Write a descriptor and make it available; the device learns of it by `publish`."""
        self.ids[slot] = buffer
        struct.pack_into("<QIIQQ", self.bytes, DESCRIPTOR_BYTES * slot, address, length, LAST, 0, 0)
        self.words[self.places.available + self.state[TAIL] % self.entries] = slot
        self.state[TAIL] = (self.state[TAIL] + 1) & 0xFFFF_FFFF

    def publish(self, bell: int) -> None:
        """One store of the index, one system call."""
        self.words[self.places.available_index] = self.state[TAIL]
        os.write(bell, ONE)

    def used(self, word: int) -> tuple[int, int]:
        """The slot and the length of the used entry that word `word` of the state counts to."""
        at = self.places.used + 2 * (self.state[word] % self.entries)
        return self.words[at], self.words[at + 1]

    def unseen(self, word: int) -> int:
        """How many used entries there are that word `word` of the state has not counted."""
        return distance(self.state[word], self.words[self.places.used_index])

    def step(self, word: int) -> None:
        """Count an entry."""
        self.state[word] = (self.state[word] + 1) & 0xFFFF_FFFF

    def close(self) -> None:
        """Let the arena go."""
        for view in (self.words, self.ids, self.state, self.bytes):
            view.release()


class ToyRings:
    """See `engine.rings.PortRings`."""

    def __init__(self, engine: Engine, port: int) -> None:
        memory = engine.memory
        bells = memory.ports[port]
        if not (isinstance(bells.rx, CallBell) and isinstance(bells.tx, CallBell)):
            raise IxyfwdError(f"toy queues are notified by a call, not by {bells}")
        self._engine, self._port = engine, port
        self._rx_bell, self._tx_bell = bells.rx.fd, bells.tx.fd
        self._addresses = device_addresses(memory, bells.dma)
        self._rx_ring, self._tx_ring = (Ring(memory.arena, ring[port]) for ring in (memory.layout.rx, memory.layout.tx))
        self._free_slots = list(range(self._tx_ring.entries))
        block = memory.layout.counters + 8 * port_word(port, PortWord(0))
        self._counters = memory.arena[block : block + 8 * PORT_BLOCK_WORDS].cast("Q")
        self._closed = False
        self.rx = Rx(lambda batch: self._bind(self._rx_burst, batch), self._start)
        self.tx = Tx(lambda batch: self._bind(self._tx_burst, batch), self._clean)

    def close(self) -> None:
        """See PortRings."""
        self._closed = True
        self.rx.forget()
        self.tx.forget()
        self._rx_ring.close()
        self._tx_ring.close()
        self._counters.release()

    def _bind(self, burst: Callable[[Batch], int], batch: Batch) -> Callable[[], int]:
        self._engine.check_open()
        return lambda: 0 if self._closed else burst(batch)

    def _start(self) -> None:
        self._engine.check_open()
        ring = self._rx_ring
        for slot, buffer in enumerate(take_buffers(self._engine.memory, ring.entries, self._port)):
            ring.post(slot, buffer, self._addresses[buffer], BUFFER_BYTES)
        ring.publish(self._rx_bell)

    def _rx_burst(self, batch: Batch) -> int:
        ring, pool, counters = self._rx_ring, self._engine.pool, self._counters
        batch.count = kept = taken = 0
        for _ in range(min(batch.capacity, ring.unseen(NEXT))):
            fresh = pool.pop()
            if fresh is None:
                counters[PortWord.RX_NO_BUFFER] += 1
                break
            slot, length = ring.used(NEXT)
            buffer = ring.ids[slot]
            ring.step(NEXT)
            ring.post(slot, fresh, self._addresses[fresh], BUFFER_BYTES)
            taken += 1
            counters[PortWord.RX_PACKETS] += 1
            counters[PortWord.RX_BYTES] += length & ~BAD
            if length & BAD:
                counters[PortWord.RX_ERRORS] += 1
                pool.push(buffer)
                continue
            batch.ids[kept], batch.lengths[kept] = buffer, length
            batch.hashes[kept], batch.status[kept] = 0, BATCH_EOP
            kept += 1
        if taken:
            ring.publish(self._rx_bell)
        batch.count = kept
        return kept

    def _tx_burst(self, batch: Batch) -> int:
        ring, counters = self._tx_ring, self._counters
        n = batch.count
        if n == 0:
            return 0
        if len(self._free_slots) < max(n, ring.entries // 2):
            self._clean()
        taken = min(n, len(self._free_slots))
        for i in range(taken):
            buffer, length = batch.ids[i], batch.lengths[i]
            ring.post(self._free_slots.pop(), buffer, self._addresses[buffer], length)
            counters[PortWord.TX_BYTES] += length
        if taken:
            ring.publish(self._tx_bell)
            counters[PortWord.TX_PACKETS] += taken
        for i in range(taken, n):
            self._engine.pool.push(batch.ids[i])
            counters[PortWord.TX_FULL] += 1
        batch.count = 0
        return taken

    def _clean(self) -> int:
        self._engine.check_open()
        ring = self._tx_ring
        freed = ring.unseen(CLEAN)
        for _ in range(freed):
            slot, _ = ring.used(CLEAN)
            self._engine.pool.push(ring.ids[slot])
            ring.ids[slot] = NO_BUFFER
            self._free_slots.append(slot)
            ring.step(CLEAN)
        return freed
