"""The rings of the toy family beside those of the 82599, by hand: what `engine/contract.py` promises."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ixyfwd.nic
from ixyfwd.engine.contract import CallBell, EngineMemory, EnginePort
from ixyfwd.engine.open import open_engine
from ixyfwd.engine.verdict import PASS, drop_for, out_of
from ixyfwd.errors import UsageError
from ixyfwd.memory.layout import ARENA_PAGE_BYTES, WorkerLayout, compute_layout
from ixyfwd.memory.pool import NO_BUFFER
from ixyfwd.nic.limits import widest_of
from ixyfwd.pci.function import DmaMap
from ixyfwd.telemetry.counters import PortWord, ProgramWord
from tests.testing.fake_nic import EVERY_ENGINE, FakePort, Frame, Rig, port_of
from tests.testing.support import ROOT

BASE = 7 << 40


@pytest.fixture(scope="module", autouse=True)
def toy_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`ixyfwd.nic.toy`, as if it were in the tree."""
    top = tmp_path_factory.mktemp("families")
    (top / "toy").symlink_to(ROOT / "tests" / "toys" / "family")
    ixyfwd.nic.__path__.append(str(top))
    yield
    ixyfwd.nic.__path__.remove(str(top))
    for name in [name for name in sys.modules if name.startswith("ixyfwd.nic.toy")]:
        del sys.modules[name]


class MixedRig(Rig):
    """A worker between a toy, port 0, and an 82599, port 1, at different device addresses."""

    def __init__(self, engine: str, entries: int = 64, buffers: int = 640, *, segmented: bool = False) -> None:
        from ixyfwd.nic.toy.device import Device, DeviceRing
        from ixyfwd.nic.toy.limits import LIMITS

        from ixyfwd.nic.ixgbe.limits import LIMITS as IXGBE

        both = widest_of([IXGBE, LIMITS]).ring
        whole = compute_layout(ports=2, workers=1, ring_size=entries, buffers_per_worker=buffers, ring_format=both)
        self.layout = layout = WorkerLayout(**{**whole.workers[0].__dict__, "buffers": buffers})
        self.arena = memoryview(bytearray(whole.size))
        pages = range(0, whole.size, ARENA_PAGE_BYTES)
        toys, chips = (DmaMap(ARENA_PAGE_BYTES, tuple(base + page for page in pages)) for base in (BASE, 1 << 33))
        self.offsets = layout.buffer_offsets()
        at = {chips.address(offset): i for i, offset in enumerate(self.offsets)}
        self.chip = FakePort(self.arena, layout.rx[1], layout.tx[1], at, self.offsets)
        self.device = device = Device(1 << 30, 1 << 30)
        device.memory, device.base = self.arena, BASE
        self.toy_rx, self.toy_tx = (
            DeviceRing(self._poisoned(ring.descriptors, LIMITS.ring.bytes_for(entries)), entries)
            for ring in (layout.rx[0], layout.tx[0])
        )
        self.bell = os.eventfd(0, os.EFD_NONBLOCK)
        toy = EnginePort("toy", toys, CallBell(self.bell), CallBell(self.bell))
        ports = [toy, port_of(memoryview(self.chip.rdt), memoryview(self.chip.tdt), chips)]
        self.memory = EngineMemory(self.arena, layout, ports, segmented)
        self.engine = open_engine(engine, self.memory)
        self.started = {0, 1}

    def start_both(self) -> None:
        for port in (0, 1):
            self.engine.rx(port).start()
        self.chip.poll_doorbells()

    def _poisoned(self, at: int, size: int) -> memoryview:
        from ixyfwd.nic.toy.port import ToyPort

        ring = self.arena[at : at + size]
        ToyPort("toy:p/0", "p").poison(ring)
        return ring.cast("I")

    def check(self, *batches: Any) -> None:
        """Every buffer is in one place; slots of the toy's tx ring are not in order, so they say what they hold."""
        layout, count = self.layout, self.engine.free_buffers()
        words = self.arena[layout.pool + 64 : layout.pool + 64 + 4 * count].cast("I")
        places = words.tolist()
        for ring in layout.rx:
            places += self.ids(ring, range(ring.entries))
        places += [one for one in self.ids(layout.tx[0], range(layout.tx[0].entries)) if one != NO_BUFFER]
        chip = layout.tx[1]
        clean, tail = self.word(chip, 2), self.word(chip, 1)
        places += self.ids(chip, ((clean + i) % chip.entries for i in range((tail - clean) % chip.entries)))
        for batch in batches:
            places += batch.ids[: batch.count].tolist()
        assert sorted(places) == list(range(layout.buffers))
        assert self.device.faults == []

    def close(self) -> None:
        self.engine.close()
        os.close(self.bell)


@pytest.mark.slow
@pytest.mark.parametrize("engine", EVERY_ENGINE)
@given(
    rounds=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.lists(st.integers(0, 3), min_size=48, max_size=48)),
        max_size=12,
    ),
    buffers=st.integers(130, 400),
)
@settings(max_examples=40, deadline=None)
def test_frames_between_families_are_all_accounted_for(
    engine: str, rounds: list[tuple[int, int, list[int]]], buffers: int
) -> None:
    rig = MixedRig(engine, buffers=buffers)
    rig.start_both()
    batch = rig.engine.new_batch(48)
    steps = [
        (
            rig.engine.rx(port).bind(batch),
            rig.engine.bind_settle(batch, port),
            rig.engine.bind_dispatch(batch, 1 - port),
        )
        for port in (0, 1)
    ]
    clear = rig.engine.bind_pass_all(batch)
    for toys, chips, verdicts in rounds:
        rig.device.left = toys
        rig.device.receive(rig.toy_rx)
        for _ in range(min(chips, rig.chip.room())):
            rig.chip.receive(Frame((60,)))
        for receive, settle, send in steps:
            receive()
            rig.chip.poll_doorbells()
            rig.check(batch)
            clear()
            for i in range(batch.count):
                batch.verdicts[i] = (PASS, out_of(0), out_of(1), drop_for(2))[verdicts[i]]
            settle()
            rig.check(batch)
            send()
            rig.chip.poll_doorbells()
            rig.check()
        rig.device.send(rig.toy_tx)
        rig.chip.transmit(40)
    taken = dropped = 0
    for port in (0, 1):
        words, counted = rig.counters(port), rig.program_words(port)
        in_ = counted.get(ProgramWord.IN, 0)
        assert in_ == words["RX_PACKETS"] - words["RX_ERRORS"]
        assert in_ == sum(counted.get(word, 0) for word in (ProgramWord.PASSED, ProgramWord.OUT, ProgramWord.DROPS + 2))
        taken += in_
        dropped += counted.get(ProgramWord.DROPS + 2, 0)
    sent = [rig.counter(port, PortWord.TX_PACKETS) for port in (0, 1)]
    assert taken == dropped + sum(sent) + sum(rig.counter(port, PortWord.TX_FULL) for port in (0, 1))
    assert rig.device.counts["tx_packets"] == sent[0]
    rig.close()


@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_the_toy_is_called_once_for_a_burst_and_never_for_none(engine: str) -> None:
    rig = MixedRig(engine)
    rig.start_both()
    batch = rig.engine.new_batch(16)
    assert os.eventfd_read(rig.bell) == 1
    assert rig.engine.rx(0).burst(batch) == rig.engine.tx(0).burst(batch) == rig.engine.tx(0).clean() == 0
    rig.device.receive(rig.toy_rx)
    assert rig.engine.rx(0).burst(batch) == 16
    assert os.eventfd_read(rig.bell) == 1
    assert rig.engine.tx(0).burst(batch) == 16
    assert os.eventfd_read(rig.bell) == 1
    with pytest.raises(BlockingIOError):
        os.eventfd_read(rig.bell)
    rig.check()
    rig.close()


@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_bursts_do_nothing_after_close(engine: str) -> None:
    rig = MixedRig(engine)
    rig.start_both()
    batch = rig.engine.new_batch(16)
    calls = rig.engine.rx(0).bind(batch), rig.engine.tx(0).bind(batch)
    rig.device.receive(rig.toy_rx)
    rig.close()
    batch.count = 3
    assert [call() for call in calls] == [0, 0]


def test_frames_over_several_buffers_are_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="toy ports take no frames over several buffers"):
        MixedRig("native", segmented=True)
