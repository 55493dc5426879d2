"""A strict 82599 of a few lines for the engine tests, and a worker's memory around it.

It shares no code with the engines: descriptor formats are spelt out again from the datasheet. Everything that a driver
must not do raises `Misuse`.
"""

import mmap
import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine, EngineMemory, EnginePort, RegisterBell
from ixyfwd.engine.open import open_engine
from ixyfwd.memory.layout import ARENA_PAGE_BYTES, RingLayout, WorkerLayout, compute_layout
from ixyfwd.pci.function import DmaMap
from ixyfwd.programs.registry import programs
from ixyfwd.programs.work import Place, Treat, bind_program
from ixyfwd.telemetry.counters import PROGRAM_BLOCK_WORDS, PortWord, port_word, program_word

ENGINES = ("native", "vector")
EVERY_ENGINE = (*ENGINES, "naive")
UNTOUCHED = 0xDEAD_BEEF  # lies in a doorbell until a driver writes it


class Misuse(AssertionError):
    """The driver did what the datasheet forbids."""


@dataclass(frozen=True)
class Frame:
    """What arrives: `pieces` are the bytes written to each descriptor's buffer."""

    pieces: tuple[int, ...] = (60,)
    rss_hash: int = 0x1234_5678
    status: int = 0  # besides DD and EOP
    vlan: int = 0

    @property
    def wanted(self) -> bool:
        """Whether a driver that takes a buffer for a frame is to hand it on."""
        return len(self.pieces) == 1 and not self.status & 1 << 29

    @property
    def length(self) -> int:
        """Of the whole frame."""
        return sum(self.pieces)


class Owned:
    """The descriptors [head, tail) of a ring, which are the device's, as they were when it got them."""

    def __init__(self, arena: memoryview, ring: RingLayout, id_at: dict[int, int]) -> None:
        self.arena, self.ring, self.id_at = arena, ring, id_at
        self.head = self.tail = 0
        self.seen = bytearray(16 * ring.entries)
        self.posted: dict[int, int] = {}  # buffer id -> slot
        self.cells = arena[ring.descriptors : ring.descriptors + 16 * ring.entries]
        self.cells[:] = b"\xff" * len(self.cells)

    def __len__(self) -> int:
        return (self.tail - self.head) % self.ring.entries

    def add(self) -> bytes:
        """Take the descriptor at the tail over."""
        at = 16 * self.tail
        raw = bytes(self.cells[at : at + 16])
        address = int.from_bytes(raw[:8], "little")
        if address not in self.id_at:
            raise Misuse(f"descriptor {self.tail} says {raw.hex()}: no buffer is there")
        buffer = self.id_at[address]
        if buffer in self.posted:
            raise Misuse(f"buffer {buffer} was posted twice, in {self.posted[buffer]} and {self.tail}")
        self.posted[buffer] = self.tail
        self.seen[at : at + 16] = raw
        self.tail = (self.tail + 1) % self.ring.entries
        return raw

    def take(self, write_back: bytes | None) -> int:
        """Finish the descriptor at the head, with or without write-back; returns its buffer."""
        at = 16 * self.head
        buffer = self.id_at[int.from_bytes(self.seen[at : at + 8], "little")]
        del self.posted[buffer]
        if write_back is not None:
            self.cells[at : at + 16] = write_back
        self.head = (self.head + 1) % self.ring.entries
        return buffer

    def check(self) -> None:
        """No descriptor in here has changed."""
        first, last = 16 * self.head, 16 * self.tail
        runs = [(first, last)] if first <= last else [(first, len(self.seen)), (0, last)]
        for start, end in runs:
            if self.cells[start:end] != self.seen[start:end]:
                raise Misuse(f"a descriptor in {start // 16}..{end // 16 - 1} was rewritten while the device owned it")


class FakePort:
    """The device's side of one queue pair."""

    def __init__(
        self,
        arena: memoryview,
        rx: RingLayout,
        tx: RingLayout,
        id_at: dict[int, int],
        offsets: Sequence[int],
        *,
        segmented: bool = False,
    ) -> None:
        self.arena, self.offsets = arena, offsets
        self.rx, self.tx = Owned(arena, rx, id_at), Owned(arena, tx, id_at)
        self.rdt, self.tdt = array("I", [UNTOUCHED]), array("I", [UNTOUCHED])
        self.segmented = segmented  # whether the driver may send frames in several buffers
        self.sent: list[tuple[int, int]] = []  # by frame: first buffer id, length
        self.sent_pieces: list[tuple[tuple[int, int], ...]] = []  # by frame: (buffer id, length) of each piece
        self._incoming: list[tuple[Frame, int]] = []  # what `begin` began, and how much of it is written
        self._open: list[tuple[int, int, int]] = []  # descriptors of a frame whose EOP was not seen yet

    def poll_doorbells(self) -> tuple[int | None, int | None]:
        """What was written to RDT and TDT since the last look (None: nothing); takes over the new descriptors."""
        rdt = self._poll(self.rdt, self.rx, self._check_rx)
        tdt = self._poll(self.tdt, self.tx, self._check_tx)
        self.rx.check()
        self.tx.check()
        if self._open:
            raise Misuse(f"the transmit tail is in the middle of a frame: {self._open}")
        return rdt, tdt

    def room(self) -> int:
        """Receive descriptors that the device has."""
        return len(self.rx)

    def receive(self, frame: Frame) -> bool:
        """Write a frame back; False if there are too few descriptors for all of it."""
        if len(frame.pieces) > self.room():
            return False
        self.begin(frame, len(frame.pieces))
        return True

    def begin(self, frame: Frame, pieces: int) -> None:
        """Write the first descriptors of a frame back; `finish` does the rest."""
        self._incoming = [(frame, 0)]
        self.finish(pieces)

    def finish(self, pieces: int = 1 << 16) -> None:
        """Write the next descriptors, or all that are left, of a frame that `begin` began."""
        (frame, written) = self._incoming.pop()
        for k, length in list(enumerate(frame.pieces))[written : written + pieces]:
            last = k == len(frame.pieces) - 1
            status = 1 | (2 | frame.status if last else 0)
            rss_hash, vlan = (frame.rss_hash, frame.vlan) if last else (0, 0)
            buffer = self.rx.take(struct.pack("<IIIHH", 0x11, rss_hash, status, length, vlan))
            at = self.offsets[buffer]
            self.arena[at : at + 64] = bytes((length + i) % 256 for i in range(64))
        if written + pieces < len(frame.pieces):
            self._incoming = [(frame, written + pieces)]

    def transmit(self, limit: int) -> int:
        """Send up to `limit` frames, with write-back in the descriptors that ask for it; returns how many."""
        n = 0
        while n < limit and len(self.tx):
            pieces: list[tuple[int, int]] = []
            ended = False
            while not ended:
                address, d2 = struct.unpack_from("<QI", self.tx.seen, 16 * self.tx.head)
                write_back = struct.pack("<QII", address, 0, 1) if d2 & 1 << 27 else None
                pieces.append((self.tx.take(write_back), d2 & 0xFFFF))
                ended = bool(d2 & 1 << 24)
            self.sent.append((pieces[0][0], sum(length for _, length in pieces)))
            self.sent_pieces.append(tuple(pieces))
            n += 1
        return n

    def _poll(self, doorbell: "array[int]", owned: Owned, check: Callable[[int, bytes], None]) -> int | None:
        tail = doorbell[0]
        doorbell[0] = UNTOUCHED
        if tail == UNTOUCHED:
            return None
        if tail >= owned.ring.entries:
            raise Misuse(f"tail {tail} is outside the ring of {owned.ring.entries}")
        if tail == owned.tail:
            raise Misuse(f"tail {tail} was written again for nothing")
        while owned.tail != tail:
            check(owned.tail, owned.add())
        return tail

    def _check_rx(self, slot: int, raw: bytes) -> None:
        if raw[8:] != bytes(8):
            raise Misuse(f"receive descriptor {slot} says {raw.hex()}: it has a header buffer")
        if self.rx.id_at[int.from_bytes(raw[:8], "little")] in self.tx.posted:
            raise Misuse(f"receive descriptor {slot} names a buffer that is being sent")

    def _check_tx(self, slot: int, raw: bytes) -> None:
        d2, d3 = struct.unpack_from("<II", raw, 8)
        self._open.append((slot, d2, d3))
        if d2 & 1 << 24 or not self.segmented:
            self._check_tx_frame(self._open)
            self._open = []
        if self.tx.id_at[int.from_bytes(raw[:8], "little")] in self.rx.posted:
            raise Misuse(f"transmit descriptor {slot} names a buffer that is posted for receive")

    def _check_tx_frame(self, descriptors: Sequence[tuple[int, int, int]]) -> None:
        """IFCS, DEXT, data descriptor; EOP in the last one, and RS if the frame completes an interval; the frame's
        length in the first one; DD, CC, POPTS zero."""
        last = (1 << 24) | (1 << 27 if any(slot % 32 == 31 for slot, _, _ in descriptors) else 0)
        payload = sum(d2 & 0xFFFF for _, d2, _ in descriptors) << 14
        for k, (slot, d2, d3) in enumerate(descriptors):
            wanted = 0x2230_0000 | (last if k == len(descriptors) - 1 else 0)
            if d2 & ~0xFFFF != wanted or d3 != (payload if k == 0 else 0):
                raise Misuse(f"transmit descriptor {slot} says {d2:#010x} {d3:#010x}, {k} of {len(descriptors)}")


def port_of(rdt: memoryview, tdt: memoryview, dma: DmaMap) -> EnginePort:
    """A port of this chip's family with these tail registers."""
    return EnginePort("ixgbe", dma, RegisterBell(rdt), RegisterBell(tdt))


class Rig:
    """One worker's memory, a fake device on each port, an engine between them."""

    def __init__(
        self,
        engine: str,
        *,
        ports: int = 1,
        ring_size: int = 64,
        buffers: int | None = None,
        worker: int = 0,
        segmented: bool = False,
        apart: bool = False,
    ) -> None:
        """`apart`: every port finds the arena at device addresses of its own; else all do as `dma` has it."""
        wanted = ports * 2 * ring_size + 512 if buffers is None else buffers
        whole = compute_layout(ports=ports, workers=worker + 1, ring_size=ring_size, buffers_per_worker=wanted)
        layout = whole.workers[worker]
        if buffers is not None:  # exactly as many: the layout fills its last page
            layout = WorkerLayout(**{**layout.__dict__, "buffers": buffers})
        self.layout = layout
        self.arena = memoryview(mmap.mmap(-1, whole.size))
        pages = whole.size // ARENA_PAGE_BYTES
        # Neither contiguous nor in order, and beyond 32 bits: as physical memory is.
        self.dma = DmaMap(ARENA_PAGE_BYTES, tuple((0x1_0000 + 7 * (pages - i)) << 21 for i in range(pages)))
        self.offsets = layout.buffer_offsets()
        maps = [
            DmaMap(ARENA_PAGE_BYTES, tuple(page + (p * apart << 45) for page in self.dma.pages)) for p in range(ports)
        ]
        at = [{dma.address(offset): i for i, offset in enumerate(self.offsets)} for dma in maps]
        self.nic = [
            FakePort(self.arena, rx, tx, id_at, self.offsets, segmented=segmented)
            for rx, tx, id_at in zip(layout.rx, layout.tx, at, strict=True)
        ]
        seen = [port_of(memoryview(p.rdt), memoryview(p.tdt), dma) for p, dma in zip(self.nic, maps, strict=True)]
        self.memory = EngineMemory(self.arena, layout, seen, segmented)
        self.engine: Engine = open_engine(engine, self.memory)
        self.started: set[int] = set()

    def start(self, *ports: int) -> None:
        for port in ports or range(len(self.nic)):
            self.engine.rx(port).start()
            self.started.add(port)
            assert self.nic[port].poll_doorbells() == (self.layout.rx[port].entries - 1, None)

    def rx(self, port: int, batch: Batch) -> int:
        """A burst, with the device checking; RDT is written exactly if something was taken."""
        before = self.word(self.layout.rx[port], 0)
        n = self.engine.rx(port).burst(batch)
        assert n == batch.count
        after = self.word(self.layout.rx[port], 0)
        rdt, tdt = self.nic[port].poll_doorbells()
        assert tdt is None
        assert rdt == (None if before == after else (after - 1) % self.layout.rx[port].entries)
        return n

    def tx(self, port: int, batch: Batch) -> int:
        """A burst, with the device checking; TDT is written exactly if something was taken."""
        ring = self.layout.tx[port]
        tail = self.word(ring, 1)
        n = self.engine.tx(port).burst(batch)
        assert batch.count == 0
        rdt, tdt = self.nic[port].poll_doorbells()
        assert rdt is None
        assert tdt == ((tail + n) % ring.entries if n else None)
        return n

    def forward(self, source: int, target: int, batch: Batch) -> int:
        """A burst from one port to another; returns the frames that arrived in the batch."""
        n = self.rx(source, batch)
        self.check(batch)
        self.tx(target, batch)
        self.check(batch)
        return n

    def word(self, ring: RingLayout, index: int) -> int:
        return int(struct.unpack_from("<I", self.arena, ring.state + 4 * index)[0])

    def ids(self, ring: RingLayout, slots: Iterable[int]) -> list[int]:
        return [int(struct.unpack_from("<I", self.arena, ring.ids + 4 * slot)[0]) for slot in slots]

    def counter(self, port: int, word: PortWord) -> int:
        at = self.layout.counters + 8 * port_word(port, word)
        return int(struct.unpack_from("<Q", self.arena, at)[0])

    def counters(self, port: int) -> dict[str, int]:
        return {word.name: self.counter(port, word) for word in PortWord}

    def program(self, name: str, batch: Batch, *, index: int = 0, **options: object) -> Treat:
        """A program with these settings on a batch; `index` is its place in the list of programs."""
        settings = programs()[name](**options)
        treat = bind_program(name, settings.as_json(), Place(self.engine, batch, 0, index))
        return treat or (lambda: None)

    def program_words(self, index: int = 0) -> dict[int, int]:
        """The words of a program's block that are not 0."""
        first = self.layout.counters + 8 * program_word(index, 0)
        words = self.arena[first : first + 8 * PROGRAM_BLOCK_WORDS].cast("Q")
        return {word: value for word, value in enumerate(words) if value}

    def check(self, *batches: Batch) -> None:
        """Every buffer is in exactly one place: free stack, receive ring, transmit ring, batch."""
        layout = self.layout
        count = self.engine.free_buffers()
        places = list(struct.unpack_from(f"<{count}I", self.arena, layout.pool + 64))
        for port in self.started:
            places += self.ids(layout.rx[port], range(layout.rx[port].entries))
        for ring in layout.tx:
            clean, tail = self.word(ring, 2), self.word(ring, 1)
            places += self.ids(ring, ((clean + i) % ring.entries for i in range((tail - clean) % ring.entries)))
        for batch in batches:
            places += batch.ids[: batch.count].tolist()
        assert sorted(places) == list(range(layout.buffers))

    def content(self) -> bytes:
        """All of the worker's run of memory."""
        return bytes(self.arena[self.layout.base : self.layout.base + self.layout.size])


MakeRig = Callable[..., Rig]
KINDS: Mapping[str, MakeRig] = {  # the engines, in each mode that they have
    **{name: partial(Rig, name) for name in EVERY_ENGINE},
    **{f"{name}-segmented": partial(Rig, name, segmented=True) for name in ENGINES},
}
