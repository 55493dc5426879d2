"""A driver played by hand: memory, rings and doorbells of a `Datapath`, one descriptor at a time."""

import mmap
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from ixyfwd.model.datapath.binding import Datapath, DatapathPort
from ixyfwd.model.wires.cable import CableWire

IOVA = 1 << 32
ARENA_BYTES = 16 * 1024 * 1024
BUFFER_BYTES = 2048
PROMISCUOUS = 0x700  # BAM, UPE, MPE
MICROSOFT_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
SYMMETRIC_KEY = bytes.fromhex("6d5a") * 20
HASH_ALL = 0xF30000  # TCP, UDP and plain IP, versions 4 and 6
HASH_IP = 0x120000
REGISTERS = {
    "RDRXCTL": (0x02F00, 0x0010880A),
    "RXCTRL": (0x03000, 1),
    "HLREG0": (0x04240, 0x08012C0B),
    "MAXFRS": (0x04268, 0x05EE0000),
    "DMATXCTL": (0x04A80, 0x81000005),
    "DTXTCPFLGL": (0x04A88, 0x0FF60FF6),
    "DTXTCPFLGH": (0x04A8C, 0xF7F),
    "EXVET": (0x05078, 0x81000000),
    "RXCSUM": (0x05000, 0x2000),
    "FCTRL": (0x05080, PROMISCUOUS),
    "VLNCTRL": (0x05088, 0x00008100),
    "MCSTCTRL": (0x05090, 0),
    "MRQC": (0x0EC80, 0),
}
# tx descriptor dword 2
EOP, IFCS, IC, RS, DEXT, VLE, TSE = (1 << bit for bit in (24, 25, 26, 27, 29, 30, 31))
DATA, CONTEXT = 3 << 20, 2 << 20
PLAIN = EOP | IFCS | DEXT | DATA
# rx status
DD, RX_EOP, VP, UDPCS, L4CS, IPCS, PIF = (1 << bit for bit in (0, 1, 3, 4, 5, 6, 7))
L4E, IPE = 1 << 30, 1 << 31


def rx_window(queue: int) -> int:
    return 0x1000 + 0x40 * queue if queue < 64 else 0xD000 + 0x40 * (queue - 64)


def tx_window(queue: int) -> int:
    return 0x6000 + 0x40 * queue


@dataclass
class Ring:
    """A ring in the arena; `buffers[i]` is the arena offset of slot i's buffer."""

    port: DatapathPort
    window: int
    queue: int
    offset: int
    entries: int
    buffers: list[int]
    next: int = 0


@dataclass(frozen=True)
class Received:
    """A frame taken from a ring, with the last descriptor's fields."""

    data: bytes
    status: int
    rss_type: int
    packet_type: int
    dword1: int
    vlan: int
    queue: int = 0
    pieces: tuple[int, ...] = field(default=())


class Hand:
    """Memory and a data path. `with Hand(...) as hand`."""

    def __init__(self, names: Sequence[str] = ("a", "b"), *, cable: bool = True, mapped: bool = True) -> None:
        self.datapath = Datapath(names)
        self.ports = self.datapath.ports
        self.fd = os.memfd_create("hand", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, ARENA_BYTES)
        self.memory = mmap.mmap(self.fd, ARENA_BYTES)
        self._free = 0
        for port in self.ports:
            for register in REGISTERS:
                self.set(port, register)
            port.set_tail_mapped(mapped)
            port.set_bus_master(True)
            port.map_dma(IOVA, ARENA_BYTES, self.fd, 0, True, True)
        if cable:
            self.ports[0].plug(CableWire(names[1]))
            self.ports[1].plug(CableWire(names[0]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.datapath.close()
        os.close(self.fd)

    # registers

    def set(self, port: DatapathPort, register: str | int, value: int | None = None) -> None:
        """Store a register (its usual value by default) and have it read."""
        offset, usual = REGISTERS[register] if isinstance(register, str) else (register, 0)
        port.store[offset // 4] = usual if value is None else value
        port.reconfigure()

    def get(self, port: DatapathPort, offset: int) -> int:
        return port.store[offset // 4]

    def rss(self, port: DatapathPort, key: bytes, fields: int, queues: int = 16) -> None:
        """RSS on: RETA entry i leads to queue i modulo `queues`."""
        for index in range(10):
            self.set(port, 0xEB80 + 4 * index, struct.unpack_from("<I", key, 4 * index)[0])
        for index in range(32):
            self.set(port, 0xEB00 + 4 * index, sum((4 * index + k) % queues << 8 * k for k in range(4)))
        self.set(port, "MRQC", 1 | fields)

    # memory

    def take(self, size: int, align: int = 128) -> int:
        """Arena offset of fresh memory."""
        start = -(-self._free // align) * align
        self._free = start + size
        assert self._free <= ARENA_BYTES
        return start

    def read(self, offset: int, size: int) -> bytes:
        return self.memory[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        self.memory[offset : offset + len(data)] = data

    def desc(self, ring: Ring, index: int) -> tuple[int, int]:
        """(q0, q1) of a descriptor."""
        return struct.unpack_from("<QQ", self.memory, ring.offset + 16 * index)

    def set_desc(self, ring: Ring, index: int, q0: int, q1: int) -> None:
        struct.pack_into("<QQ", self.memory, ring.offset + 16 * index, q0, q1)

    # rings

    def ring(self, port: DatapathPort, rx: bool, queue: int, entries: int, buffer_bytes: int = BUFFER_BYTES) -> Ring:
        """A ring with a buffer for each slot, its registers set; not started."""
        offset = self.take(16 * entries)
        buffers = [self.take(buffer_bytes, 64) for _ in range(entries)]
        window = rx_window(queue) if rx else tx_window(queue)
        ring = Ring(port, window, queue, offset, entries, buffers)
        for register, value in ((0, offset & 0xFFFFFFFF), (4, IOVA >> 32), (8, 16 * entries), (0x10, 0), (0x18, 0)):
            self.set(port, window + register, value)
        return ring

    def rx_ring(
        self,
        port: DatapathPort,
        queue: int = 0,
        entries: int = 16,
        *,
        srrctl: int = 1 << 28 | 1 << 25 | 2,
        post: int | None = None,
        rxdctl: int = 1 << 25,
    ) -> Ring:
        """A started rx ring; `post` descriptors are given to the device (entries-1 by default)."""
        ring = self.ring(port, True, queue, entries, 1024 * (srrctl & 31))
        self.set(port, ring.window + 0x14, srrctl)
        self.set(port, ring.window + 0x28, rxdctl)
        assert port.start_rx(queue)
        for index in range(entries):
            self.set_desc(ring, index, IOVA + ring.buffers[index], 0)
        self.tail(ring, entries - 1 if post is None else post)
        return ring

    def tx_ring(self, port: DatapathPort, queue: int = 0, entries: int = 64) -> Ring:
        """A started, empty tx ring."""
        ring = self.ring(port, False, queue, entries)
        assert port.start_tx(queue)
        return ring

    def tail(self, ring: Ring, value: int) -> None:
        """Ring the doorbell."""
        ring.port.store[(ring.window + 0x18) // 4] = value
        ring.port.tail_written(ring.window < 0x6000 or ring.window >= 0xD000, ring.queue)

    def run(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self.datapath.run(-1, 0, False)

    # frames

    def queue_frame(self, ring: Ring, data: bytes, *, flags: int = PLAIN | RS, pieces: Iterable[int] = ()) -> None:
        """Put a frame into a tx ring, cut into `pieces` and a rest; the doorbell is not rung."""
        cuts = [*pieces]
        parts, at = [], 0
        for size in cuts:
            parts.append(data[at : at + size])
            at += size
        parts.append(data[at:])
        for number, part in enumerate(parts):
            index = ring.next
            self.write(ring.buffers[index], part)
            d2 = flags & ~(EOP | RS) | len(part) | (flags & (EOP | RS) if number == len(parts) - 1 else 0)
            d3 = len(data) << 14 if flags & DEXT else 0
            self.set_desc(ring, index, IOVA + ring.buffers[index], d3 << 32 | d2)
            ring.next = (index + 1) % ring.entries

    def send(self, ring: Ring, frames: Iterable[bytes], rounds: int = 2, flags: int = PLAIN | RS) -> None:
        """Queue frames, ring the doorbell once, turn the model."""
        for frame in frames:
            self.queue_frame(ring, frame, flags=flags)
        self.tail(ring, ring.next)
        self.run(rounds)

    def receive(self, ring: Ring, refill: bool = True) -> list[Received]:
        """Take every whole frame from an advanced rx ring."""
        found: list[Received] = []
        data, pieces, last = b"", [], None
        while True:
            q0, q1 = self.desc(ring, ring.next)
            if not q1 & DD:
                assert not data, "a frame without an end"
                break
            length = q1 >> 32 & 0xFFFF
            data += self.read(ring.buffers[ring.next], length)
            pieces.append(length)
            self.set_desc(ring, ring.next, IOVA + ring.buffers[ring.next], 0)
            last, ring.next = ring.next, (ring.next + 1) % ring.entries
            if q1 & RX_EOP:
                status = q1 & 0xFFFFFFFF
                fields = status & ~(DD | RX_EOP), q0 & 15, q0 >> 4 & 0x1FFF, q0 >> 32, q1 >> 48
                found.append(Received(data, *fields, ring.queue, tuple(pieces)))
                data, pieces = b"", []
        if refill and last is not None:
            self.tail(ring, last)
        return found

    def fault_kinds(self, port: DatapathPort) -> dict[str, int]:
        return {kind: count for kind, count in port.faults().by_kind.items() if count}

    def accounts_close(self, port: DatapathPort) -> None:
        """Every frame of a port is in exactly one counter."""
        s = port.stats
        assert s.tpr == s.roc + s.rx_filtered + s.rx_mac_control + s.gprc
        assert s.rxnfgpc == s.rx_filtered + s.gprc
        places = sum(s.qprc) + sum(s.qprdc) + sum(s.rxmpc) + s.rx_off + s.rx_queue_off + s.rx_dma_dropped
        assert s.gprc == places + s.rx_waiting
        assert s.gprc == s.prc64 + s.prc127 + s.prc255 + s.prc511 + s.prc1023 + s.prc1522
        assert s.gptc == s.tpt == sum(s.qptc) + s.lxontxc + s.lxofftxc == s.txdgpc + s.lxontxc + s.lxofftxc
        assert s.gptc == s.ptc64 + s.ptc127 + s.ptc255 + s.ptc511 + s.ptc1023 + s.ptc1522
