"""The fused loop: what the burst functions do, without Python between them; judged by the same strict fake device."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.engine.contract import FusingEngine
from ixyfwd.telemetry.counters import NO_PAUSES, NOT_LOOKED, PortWord, Word
from tests.testing.fake_nic import UNTOUCHED, Frame, Rig

RXE = 1 << 29
TOUCHED_BYTE = 48
LINKS = [(0, 1), (1, 0)]

LENGTHS = st.integers(40, 1518)
FRAMES = st.builds(
    Frame,
    pieces=st.one_of(
        LENGTHS.map(lambda n: (n,)), LENGTHS.map(lambda n: (n,)), st.lists(LENGTHS, min_size=2, max_size=3).map(tuple)
    ),
    status=st.sampled_from([0, 0, 0, 0, 0x40, RXE]),
)
ARRIVALS = st.one_of(st.lists(FRAMES, min_size=1, max_size=40), st.integers(1, 63).map(lambda n: [Frame((60,))] * n))
OPERATIONS = st.one_of(
    st.tuples(st.just("receive"), st.integers(0, 1), ARRIVALS),
    st.tuples(st.just("transmit"), st.integers(0, 1), st.integers(1, 80)),
    st.tuples(st.just("forward"), st.just(0), st.none()),
)


class Fused:
    """A rig of two ports with the fused loop over both directions."""

    def __init__(
        self,
        batch: int,
        *,
        touches: bool = False,
        rounds: int = 4,
        shared_cpu: bool = False,
        pause_ns: int = NO_PAUSES,
        **rig: Any,
    ) -> None:
        self.rig = Rig("native", ports=2, **rig)
        self.rig.start()
        assert isinstance(self.rig.engine, FusingEngine)
        self.forward: Callable[[], int] = self.rig.engine.bind_forward(
            LINKS, batch, "touch" if touches else None, rounds, shared_cpu=shared_cpu, pause_ns=pause_ns
        )
        self.page = self.rig.arena[self.rig.layout.counters : self.rig.layout.counters + 4096].cast("Q")

    def run(self) -> tuple[int, int]:
        """One call; returns bursts and empty rounds at the end. The device looks at whatever was written."""
        before = [self.page[word] for word in (Word.POLLS, Word.EMPTY_POLLS, Word.BURSTS)]
        done = self.forward()
        for nic in self.rig.nic:
            nic.poll_doorbells()
        self.rig.check()
        polls, empty, bursts = (
            self.page[word] - old for word, old in zip((Word.POLLS, Word.EMPTY_POLLS, Word.BURSTS), before, strict=True)
        )
        assert bursts == done >> 16
        assert done & 0xFFFF <= empty <= polls
        return done >> 16, done & 0xFFFF

    def account(self) -> list[int]:
        """received - sent - dropped, by direction."""
        totals = [self.rig.counters(port) for port in (0, 1)]
        return [
            totals[a]["RX_PACKETS"] - totals[a]["RX_ERRORS"] - totals[b]["TX_PACKETS"] - totals[b]["TX_FULL"]
            for a, b in LINKS
        ]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    batch=st.sampled_from([1, 2, 4, 7, 32, 64]),
    buffers=st.sampled_from([130, 150, 200, 400]),
    touches=st.booleans(),
    operations=st.lists(OPERATIONS, max_size=25),
)
def test_whatever_arrives_every_frame_is_accounted_for(
    batch: int, buffers: int, touches: bool, operations: list[tuple[str, int, object]]
) -> None:
    fused = Fused(batch, touches=touches, buffers=buffers)
    wanted: list[list[int]] = [[], []]
    for name, port, argument in operations:
        nic = fused.rig.nic[port]
        match name, argument:
            case "receive", list(arriving):
                wanted[1 - port] += [f.pieces[0] for f in arriving if nic.receive(f) and f.wanted]
            case "transmit", int(limit):
                nic.transmit(limit)
            case _:
                fused.run()
        assert fused.account() == [0, 0]
    for _ in range(40):  # a burst of nothing but errors counts as empty, so silence is no end
        fused.run()
    for nic in fused.rig.nic:
        nic.transmit(4096)
    assert fused.account() == [0, 0]
    for port, nic in enumerate(fused.rig.nic):
        sent = [length for _, length in nic.sent]
        full = fused.rig.counter(port, PortWord.TX_FULL)
        waiting = len(wanted[port]) - len(sent) - full
        assert waiting >= 0
        assert full or waiting == 0 or fused.rig.engine.free_buffers() == 0
        remaining = iter(wanted[port])
        assert all(length in remaining for length in sent), "order was lost"
    fused.rig.engine.close()


@pytest.mark.parametrize("batch", [1, 3, 8, 32])
@pytest.mark.parametrize("ring_size", [64, 256])
def test_frames_go_through_in_order_around_both_rings(batch: int, ring_size: int) -> None:
    fused = Fused(batch, ring_size=ring_size)
    lengths = [60 + i % 1400 for i in range(3 * ring_size)]
    fed = 0
    while fed < len(lengths):
        chunk = lengths[fed : fed + (fed % 29 + 1)]
        assert all(fused.rig.nic[0].receive(Frame((length,))) for length in chunk)
        fed += len(chunk)
        while fused.run()[0]:
            fused.rig.nic[1].transmit(4096)
    assert [length for _, length in fused.rig.nic[1].sent] == lengths
    totals = fused.rig.counters(0), fused.rig.counters(1)
    assert totals[0]["RX_PACKETS"] == totals[1]["TX_PACKETS"] == len(lengths)
    assert totals[0]["RX_BYTES"] == totals[1]["TX_BYTES"] == sum(lengths)
    assert totals[1]["TX_FULL"] == 0


@pytest.mark.parametrize("batch", [1, 8])
def test_one_byte_of_long_frames_is_incremented(batch: int) -> None:
    fused = Fused(batch, touches=True)
    lengths = [60, 49, 48, 40, 1514] * 2
    for length in lengths:
        assert fused.rig.nic[0].receive(Frame((length,)))
    while fused.run()[0]:
        pass
    fused.rig.nic[1].transmit(4096)
    assert [length for _, length in fused.rig.nic[1].sent] == lengths
    for buffer, length in fused.rig.nic[1].sent:
        at = fused.rig.offsets[buffer]
        expected = bytearray((length + i) % 256 for i in range(64))
        if length > TOUCHED_BYTE:
            expected[TOUCHED_BYTE] = (expected[TOUCHED_BYTE] + 1) % 256
        assert bytes(fused.rig.arena[at : at + 64]) == expected


def test_rounds_and_empty_rounds_end_a_call() -> None:
    fused = Fused(4, rounds=3)
    bursts, empty = fused.run()
    assert (bursts, empty) == (0, 3), "nothing there: as many rounds as there may be"
    idle = Fused(4, rounds=1000)
    bursts, empty = idle.run()
    assert bursts == 0
    assert empty == idle.page[Word.EMPTY_POLLS] == idle.page[Word.POLLS] < 1000, "Python looks around before that"
    for _ in range(40):
        assert fused.rig.nic[0].receive(Frame((60,)))
    assert fused.run() == (3, 0), "three rounds of a burst each, more waiting"
    for _ in range(5):
        assert fused.rig.nic[1].receive(Frame((60,)))
    while fused.run()[1] == 0:
        pass
    assert len(fused.rig.nic[0].tx) == 5
    assert len(fused.rig.nic[1].tx) == 40


def test_an_empty_poll_writes_nothing() -> None:
    fused = Fused(8)
    before = fused.rig.content()[4096:]  # behind the counters page
    fused.forward()
    assert fused.rig.content()[4096:] == before
    assert all(nic.rdt[0] == nic.tdt[0] == UNTOUCHED for nic in fused.rig.nic)


def test_a_call_after_close_does_nothing() -> None:
    fused = Fused(8)
    assert fused.rig.nic[0].receive(Frame((60,)))
    fused.rig.engine.close()
    before = fused.rig.content()
    assert fused.forward() == 0
    assert fused.rig.content() == before


def test_a_full_ring_drops_and_counts() -> None:
    """Nobody sends: what the target ring cannot hold is freed and counted, as by the burst functions."""
    fused = Fused(16, buffers=400)
    received = 0
    for _ in range(12):
        received += sum(fused.rig.nic[0].receive(Frame((60,))) for _ in range(16))
        fused.run()
    totals = fused.rig.counters(0), fused.rig.counters(1)
    assert totals[0]["RX_PACKETS"] == received == totals[1]["TX_PACKETS"] + totals[1]["TX_FULL"]
    assert totals[1]["TX_PACKETS"] == 63
    assert totals[1]["TX_FULL"] == received - 63


@pytest.mark.parametrize("shared_cpu", [False, True])
def test_busy_time_is_that_of_rounds_with_frames(shared_cpu: bool) -> None:
    fused = Fused(16, buffers=400, shared_cpu=shared_cpu)
    fused.run()
    assert fused.page[Word.BUSY_NS] == 0, "nothing came"
    for _ in range(60):
        assert fused.rig.nic[0].receive(Frame((60,)))
    began = time.monotonic_ns()
    bursts, _ = fused.run()
    took = time.monotonic_ns() - began
    assert bursts > 0 and 0 < fused.page[Word.BUSY_NS] < took
    busy = fused.page[Word.BUSY_NS]
    while fused.run()[0]:
        busy = fused.page[Word.BUSY_NS]
    fused.run()
    assert fused.page[Word.BUSY_NS] == busy


def test_one_empty_round_is_enough_where_others_wait_for_the_cpu() -> None:
    fused = Fused(4, rounds=1000, shared_cpu=True)
    assert fused.run() == (0, 1)


PAUSE_S = 0.05
SHORTEST_PAUSE_NS = 40_000_000  # longer than the machine takes the CPU away, mostly; the tests say "at least"


def with_a_pause(fused: Fused) -> float:
    """Frames, a pause, a call; the most that the pause can have been, in ns."""
    while not fused.run()[0]:
        assert fused.rig.nic[0].receive(Frame((60,)))
    fused.run()
    began = time.monotonic_ns()
    time.sleep(PAUSE_S)
    fused.run()
    return time.monotonic_ns() - began


def test_a_pause_between_two_calls_is_counted_once() -> None:
    fused = Fused(4, pause_ns=SHORTEST_PAUSE_NS)
    longest_ns = with_a_pause(fused)
    assert fused.page[Word.PAUSES] >= 1
    assert fused.page[Word.PAUSED_NS] >= PAUSE_S * 1e9
    assert PAUSE_S * 1e9 <= fused.page[Word.LONGEST_PAUSE_NS] <= max(longest_ns, fused.page[Word.PAUSED_NS])
    found = fused.page[Word.PAUSES]
    fused.page[Word.LOOKED_NS] += 3_600_000_000_000  # an hour that it was meant to sleep
    fused.run()
    assert fused.page[Word.PAUSES] == found


def test_a_wait_without_a_planned_end_is_no_pause() -> None:
    fused = Fused(4, pause_ns=SHORTEST_PAUSE_NS)
    with_a_pause(fused)
    fused.page[Word.LOOKED_NS] = NOT_LOOKED
    found = fused.page[Word.PAUSES]
    time.sleep(PAUSE_S)
    fused.run()
    assert fused.page[Word.PAUSES] == found


def test_without_a_shortest_pause_none_is_counted() -> None:
    fused = Fused(4)
    with_a_pause(fused)
    assert (fused.page[Word.PAUSES], fused.page[Word.PAUSED_NS]) == (0, 0)


def test_nothing_before_the_first_frame_is_a_pause() -> None:
    fused = Fused(4, pause_ns=SHORTEST_PAUSE_NS)
    fused.run()
    time.sleep(PAUSE_S)
    fused.run()
    assert fused.page[Word.PAUSES] == 0


@pytest.mark.parametrize(("cost_ns", "counted"), [(1, True), (10**12, False)])
def test_bursts_explain_a_gap_by_what_they_have_cost(cost_ns: int, counted: bool) -> None:
    """With pauses from the first ns on every spell is judged; what bursts have cost is written into the page."""
    fused = Fused(4, pause_ns=0)
    assert fused.rig.nic[0].receive(Frame((60,)))
    fused.run()
    fused.page[Word.BURSTS], fused.page[Word.BUSY_NS] = 1000, 1000 * cost_ns
    fused.page[Word.LOOKED_NS] = NOT_LOOKED
    before = fused.page[Word.PAUSED_NS]
    for _ in range(8):
        assert fused.rig.nic[0].receive(Frame((60,)))
    once = fused.rig.engine
    assert isinstance(once, FusingEngine)
    bursts = once.bind_forward([(0, 1)], 4, None, 1, pause_ns=0)() >> 16
    assert bursts == 1
    assert (fused.page[Word.PAUSED_NS] > before) is counted
