"""Whatever a driver writes, the model neither crashes nor touches memory that was not given to it."""

import ctypes
import mmap
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.model.datapath.binding import Datapath, DatapathPort
from tests.testing.model_frames import frame
from tests.testing.model_hand import DATA, DEXT, EOP, IFCS, IOVA, PLAIN, REGISTERS, Hand, rx_window, tx_window

GUARD_BYTES = 64 * 1024
OPEN_BYTES = 128 * 1024
RINGS = 4  # queues each way

words = st.integers(0, 2**64 - 1)
near = st.one_of(
    st.integers(IOVA - 4096, IOVA + OPEN_BYTES + 4096),
    st.sampled_from([IOVA, IOVA + OPEN_BYTES - 1, IOVA + OPEN_BYTES - 60, IOVA + OPEN_BYTES, 2**64 - 1, 0]),
    words,
)
flags = st.lists(
    st.sampled_from([EOP, IFCS, DEXT, DATA, PLAIN, 1 << 26, 1 << 27, 1 << 30, 1 << 31, 2 << 20]), max_size=4
)


@st.composite
def tx_second_halves(draw: st.DrawFn) -> int:
    """q1 of a tx descriptor: nonsense, or sense with one thing wrong."""
    if draw(st.booleans()):
        return draw(words)
    length = draw(st.one_of(st.integers(0, 70), st.integers(0, 0xFFFF)))
    bits = 0
    for flag in draw(flags):
        bits |= flag
    return draw(st.sampled_from([length << 46, 0, 1 << 40])) | bits | length


tails = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1))
actions = st.one_of(
    st.tuples(st.just("rx desc"), st.integers(0, RINGS - 1), st.integers(0, 31), near),
    st.tuples(st.just("tx desc"), st.integers(0, RINGS - 1), st.integers(0, 31), near, tx_second_halves()),
    st.tuples(st.just("rx tail"), st.integers(0, RINGS - 1), tails),
    st.tuples(st.just("tx tail"), st.integers(0, RINGS - 1), tails),
    st.tuples(st.just("start"), st.booleans(), st.integers(0, RINGS - 1), near, st.integers(0, 600), tails),
    st.tuples(st.just("stop"), st.booleans(), st.integers(0, RINGS - 1)),
    st.tuples(st.just("remap"), st.booleans()),
    st.tuples(st.just("register"), st.sampled_from(sorted(REGISTERS)), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("master"), st.booleans()),
    st.tuples(st.just("run")),
)


class Arena:
    """A file of which only the middle is given to the device; the rest is filled with a pattern and must keep it."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("fuzz", os.MFD_CLOEXEC)
        size = OPEN_BYTES + 2 * GUARD_BYTES
        os.ftruncate(self.fd, size)
        self.memory = mmap.mmap(self.fd, size)
        self.guard = bytes(range(256)) * (GUARD_BYTES // 256)
        self.memory[:GUARD_BYTES] = self.memory[-GUARD_BYTES:] = self.guard
        self.readonly = bytes(4096)

    def check(self) -> None:
        assert self.memory[:GUARD_BYTES] == self.guard and self.memory[-GUARD_BYTES:] == self.guard


def start(port: DatapathPort, rx: bool, queue: int, base: int, length: int, head: int) -> None:  # noqa: PLR0917
    window = rx_window(queue) if rx else tx_window(queue)
    for offset, value in ((0, base & 0xFFFFFFFF), (4, base >> 32), (8, length), (0x10, head), (0x14, 1 << 25 | 2)):
        port.store[(window + offset) // 4] = value & 0xFFFFFFFF
    (port.start_rx if rx else port.start_tx)(queue)


def act(arena: Arena, port: DatapathPort, action: tuple[Any, ...]) -> None:
    kind, *rest = action
    if kind in ("rx desc", "tx desc"):
        queue, index, q0, *second = rest
        at = GUARD_BYTES + queue * 1024 + (512 if kind == "tx desc" else 0) + 16 * index
        half = (ctypes.c_uint64 * 2).from_buffer(arena.memory, at)
        half[0], half[1] = q0 & 2**64 - 1, (second or [0])[0] & 2**64 - 1
        del half
    elif kind in ("rx tail", "tx tail"):
        queue, value = rest
        window = rx_window(queue) if kind == "rx tail" else tx_window(queue)
        port.store[(window + 0x18) // 4] = value
        port.tail_written(kind == "rx tail", queue)
    elif kind == "start":
        rx, queue, base, units, head = rest
        usual = IOVA + queue * 1024 + (0 if rx else 512)
        start(port, rx, queue, usual if base & 1 else base, 512 if units > 64 else units, head if head > 31 else 0)
    elif kind == "stop":
        rx, queue = rest
        (port.stop_rx if rx else port.stop_tx)(queue)
    elif kind == "remap":
        port.unmap_all()
        first_bytes = OPEN_BYTES // 2 if rest[0] else OPEN_BYTES
        port.map_dma(IOVA, first_bytes, arena.fd, GUARD_BYTES, True, True)
        if rest[0]:
            port.map_dma(IOVA + first_bytes, first_bytes, arena.fd, GUARD_BYTES + first_bytes, True, False)
    elif kind == "register":
        port.store[REGISTERS[rest[0]][0] // 4] = rest[1]
        port.reconfigure()
    elif kind == "master":
        port.set_bus_master(rest[0])


def play(script: list[tuple[Any, ...]], mapped: bool) -> None:
    arena = Arena()
    datapath = Datapath(["a", "b"])
    try:
        a, b = datapath.ports
        from ixyfwd.model.wires.cable import CableWire

        a.plug(CableWire("b"))
        b.plug(CableWire("a"))
        for port in (a, b):
            for offset, value in REGISTERS.values():
                port.store[offset // 4] = value
            port.reconfigure()
            port.set_tail_mapped(mapped)
            port.set_bus_master(True)
            act(arena, port, ("remap", False))
            for queue in range(RINGS):
                start(port, True, queue, IOVA + queue * 1024, 512, 0)
                start(port, False, queue, IOVA + queue * 1024 + 512, 512, 0)
        for number, action in enumerate(script):
            act(arena, datapath.ports[number & 1], action)
            datapath.run(-1, 0, False)
            arena.check()
        for port in (a, b):
            assert port.stats.gptc <= port.stats.tpt
            s = port.stats
            assert s.tpr == s.roc + s.rx_filtered + s.rx_mac_control + s.gprc
            places = sum(s.qprc) + sum(s.qprdc) + sum(s.rxmpc) + s.rx_off + s.rx_queue_off + s.rx_dma_dropped
            assert s.gprc == places + s.rx_waiting
    finally:
        datapath.close()
        os.close(arena.fd)
        arena.memory.close()


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(actions, max_size=40), st.booleans())
def test_nothing_a_driver_writes_leaves_its_memory(script: list[tuple[Any, ...]], mapped: bool) -> None:
    play(script, mapped)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(17, 1514), st.lists(st.integers(0, 400), max_size=5)), min_size=1, max_size=60),
    st.sampled_from([8, 16, 24, 64, 256]),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
)
def test_every_frame_arrives_once_and_in_order(
    shapes: list[tuple[int, list[int]]], entries: int, kilobytes: int, mapped: bool
) -> None:
    """Any cutting of frames into tx buffers, any ring and buffer size: what is sent is what is received."""
    with Hand(mapped=mapped) as hand:
        a, b = hand.ports
        rx = hand.rx_ring(a, entries=entries, srrctl=1 << 28 | 1 << 25 | kilobytes)
        tx = hand.tx_ring(b, entries=64)
        for number, (size, cuts) in enumerate(shapes):
            data = frame(number, max(size, 18))[:size]
            pieces, left = [], size
            for cut in cuts:
                pieces.append(min(cut, left))
                left -= pieces[-1]
            hand.queue_frame(tx, data, pieces=pieces)
            hand.tail(tx, tx.next)
            hand.run(2)
            (found,) = hand.receive(rx)
            assert found.data == data.ljust(60, b"\0")
        assert a.faults().total == b.faults().total == 0
        hand.accounts_close(a)
        hand.accounts_close(b)
