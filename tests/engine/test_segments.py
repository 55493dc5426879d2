"""Frames over several buffers, in both engines, judged by the strict fake device."""

import struct
from typing import Any

import pytest

from ixyfwd.engine.batch import Batch
from ixyfwd.errors import IxyfwdError
from ixyfwd.telemetry.counters import PortWord
from tests.testing.fake_nic import ENGINES, Frame, Misuse, Rig

RXE = 1 << 29
EOP = 1 << 1
JUMBO = (2048, 2048, 2048, 2048, 822)  # 9,018 bytes with CRC


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def a_rig(engine: str, **options: Any) -> Rig:
    rig = Rig(engine, **options, segmented=True)
    rig.start()
    return rig


def runs(batch: Batch) -> list[list[int]]:
    """The lengths of each frame's segments."""
    found: list[list[int]] = [[]]
    for k in range(batch.count):
        found[-1].append(batch.lengths[k])
        if batch.status[k] & EOP:
            found.append([])
    assert found.pop() == []
    return found


def mixed(n: int) -> list[Frame]:
    """Frames of one to five segments, all different."""
    return [Frame((*[2048] * (k % 5), 60 + k), k * 2654435761 % 2**32) for k in range(n)]


@pytest.mark.parametrize("ring_size", [64, 128, 512])
@pytest.mark.parametrize("batch_size", [5, 7, 32])
def test_frames_of_all_sizes_go_through_in_order_around_the_ring(engine: str, ring_size: int, batch_size: int) -> None:
    rig = a_rig(engine, ports=2, ring_size=ring_size)
    batch = rig.engine.new_batch(batch_size)
    waiting = mixed(ring_size)
    arrived: list[Frame] = []
    while waiting or rig.counter(1, PortWord.TX_PACKETS) < len(arrived):
        while waiting and rig.nic[0].receive(waiting[0]):
            arrived.append(waiting.pop(0))
        while rig.forward(0, 1, batch):
            rig.nic[1].transmit(batch_size)
    rig.nic[1].transmit(ring_size)
    assert len(arrived) == ring_size
    assert [tuple(length for _, length in pieces) for pieces in rig.nic[1].sent_pieces] == [f.pieces for f in arrived]
    received, sent = rig.counters(0), rig.counters(1)
    assert received["RX_PACKETS"] == sent["TX_PACKETS"] == len(arrived)
    assert received["RX_BYTES"] == sent["TX_BYTES"] == sum(frame.length for frame in arrived)
    assert received["RX_ERRORS"] == sent["TX_FULL"] == 0


def test_a_frame_is_described_segment_by_segment(engine: str) -> None:
    rig = a_rig(engine)
    batch = rig.engine.new_batch(8)
    expected = rig.ids(rig.layout.rx[0], range(5))
    assert rig.nic[0].receive(Frame(JUMBO, 0xFEDC_BA98, 0x40, vlan=7))
    assert rig.rx(0, batch) == 5
    assert batch.ids[:5].tolist() == expected
    assert batch.lengths[:5].tolist() == list(JUMBO)
    assert batch.hashes[:5].tolist() == [0, 0, 0, 0, 0xFEDC_BA98]
    assert batch.status[:5].tolist() == [1, 1, 1, 1, 0x43]
    assert rig.counters(0)["RX_PACKETS"] == 1
    rig.check(batch)


def test_a_frame_is_taken_when_its_last_segment_is_there(engine: str) -> None:
    rig = a_rig(engine)
    batch = rig.engine.new_batch(8)
    assert rig.nic[0].receive(Frame((60,)))
    rig.nic[0].begin(Frame(JUMBO), 3)
    assert rig.rx(0, batch) == 1
    assert rig.tx(0, batch) == 1
    assert rig.rx(0, batch) == 0
    rig.nic[0].finish(1)
    assert rig.rx(0, batch) == 0
    rig.nic[0].finish()
    assert rig.rx(0, batch) == 5
    assert runs(batch) == [list(JUMBO)]


def test_a_burst_that_has_no_room_for_the_next_frame_leaves_it(engine: str) -> None:
    rig = a_rig(engine)
    batch = rig.engine.new_batch(12)
    for _ in range(3):
        assert rig.nic[0].receive(Frame(JUMBO))
    assert rig.rx(0, batch) == 10
    assert rig.tx(0, batch) == 10
    assert rig.rx(0, batch) == 5


def test_a_short_pool_holds_back_whole_frames(engine: str) -> None:
    rig = a_rig(engine, buffers=64 + 7)
    batch = rig.engine.new_batch(32)
    for _ in range(2):
        assert rig.nic[0].receive(Frame(JUMBO))
    assert rig.rx(0, batch) == 5
    assert rig.counters(0)["RX_NO_BUFFER"] == 1
    assert rig.engine.free_buffers() == 2
    rig.tx(0, batch)
    assert rig.rx(0, batch) == 0
    assert rig.counters(0)["RX_NO_BUFFER"] == 2
    rig.check(batch)


def test_error_frames_are_freed_whole_and_counted_once(engine: str) -> None:
    rig = a_rig(engine)
    batch = rig.engine.new_batch(32)
    free = rig.engine.free_buffers()
    for frame in (Frame(JUMBO, status=RXE), Frame((70,)), Frame((2048, 9)), Frame((71,), status=RXE), Frame((2048, 8))):
        assert rig.nic[0].receive(frame)
    assert rig.rx(0, batch) == 5
    assert runs(batch) == [[70], [2048, 9], [2048, 8]]
    assert rig.engine.free_buffers() == free - 5
    totals = rig.counters(0)
    assert (totals["RX_PACKETS"], totals["RX_ERRORS"]) == (5, 2)
    assert totals["RX_BYTES"] == 9014 + 70 + 2057 + 71 + 2056
    rig.check(batch)


def test_a_frame_that_no_burst_can_hold_is_dropped_and_stops_nothing(engine: str) -> None:
    """Only a device that ignores MAXFRS sends one; it must not block the ring for ever."""
    rig = a_rig(engine)
    batch = rig.engine.new_batch(5)
    for frame in (Frame((60,)), Frame((2048,) * 12), Frame((61,)), Frame(JUMBO)):
        assert rig.nic[0].receive(frame)
    seen: list[list[int]] = []
    for _ in range(6):
        rig.rx(0, batch)
        rig.check(batch)
        seen += runs(batch)
        rig.tx(0, batch)
    assert seen == [[60], [61], list(JUMBO)]
    totals = rig.counters(0)
    assert (totals["RX_PACKETS"], totals["RX_ERRORS"], totals["TX_PACKETS"]) == (4, 1, 3)
    assert totals["RX_BYTES"] == 60 + 12 * 2048 + 61 + 9014


def test_a_full_tx_ring_takes_whole_frames_and_counts_frames(engine: str) -> None:
    rig = a_rig(engine, ports=2)
    batch = rig.engine.new_batch(32)
    for _ in range(12):
        assert rig.nic[0].receive(Frame(JUMBO))
    sent = []
    while rig.rx(0, batch):
        rig.check(batch)
        sent.append(rig.tx(1, batch))
        rig.check(batch)
    assert sent == [30, 30]  # 63 slots: 12 frames
    assert rig.counters(1)["TX_PACKETS"] == 12
    for frame in (Frame((2048, 2048, 2048, 1)), Frame((64,)), Frame(JUMBO)):
        assert rig.nic[0].receive(frame)
    assert rig.rx(0, batch) == 10
    assert rig.tx(1, batch) == 0  # three slots: the frame at the head does not fit, and none overtakes it
    assert rig.counters(1)["TX_FULL"] == 3
    rig.check(batch)
    assert rig.nic[1].transmit(100) == 12
    for frame in (Frame((2048, 2048, 2048, 1)), Frame((64,))):
        assert rig.nic[0].receive(frame)
    assert rig.forward(0, 1, batch) == 5
    assert rig.nic[1].transmit(100) == 2
    assert [length for _, length in rig.nic[1].sent[12:]] == [6145, 64]


def test_clean_returns_up_to_the_last_report(engine: str) -> None:
    """RS stands at the EOP of the frame with slot 31, 63, ...: slots 30-34, 60-64 and 95-99 of these."""
    rig = a_rig(engine, ring_size=256)
    batch = rig.engine.new_batch(256)
    for _ in range(20):
        assert rig.nic[0].receive(Frame(JUMBO))
    assert rig.forward(0, 0, batch) == 100
    for sent, freed in ((6, 0), (1, 35), (5, 0), (1, 30), (6, 0), (1, 35), (0, 0)):
        rig.nic[0].transmit(sent)
        assert rig.engine.tx(0).clean() == freed
        rig.check()
    assert rig.word(rig.layout.tx[0], 2) == 100


def test_a_frame_that_the_batch_cuts_is_sent_as_far_as_it_goes(engine: str) -> None:
    """Only a program that edits batches makes one; the device must still see an end."""
    rig = a_rig(engine, ports=2)
    batch = rig.engine.new_batch(8)
    assert rig.nic[0].receive(Frame((2048, 100)))
    rig.rx(0, batch)
    batch.status[1] = 1
    assert rig.tx(1, batch) == 2
    assert rig.nic[1].transmit(2) == 1
    assert rig.counters(1)["TX_PACKETS"] == 1


def test_touch_reaches_the_first_segment_only(engine: str) -> None:
    rig = a_rig(engine, ports=2)
    batch = rig.engine.new_batch(16)
    touch = rig.program("touch", batch)
    for frame in (Frame(JUMBO), Frame((48,)), Frame((49,)), Frame((2048, 60))):
        assert rig.nic[0].receive(frame)
    assert rig.rx(0, batch) == 9
    at = [rig.offsets[buffer] + 48 for buffer in batch.ids[: batch.count]]
    before = [rig.arena[offset] for offset in at]
    touch()
    changed = [(rig.arena[offset] - old) % 256 for offset, old in zip(at, before, strict=True)]
    assert changed == [1, 0, 0, 0, 0, 0, 1, 1, 0]
    assert touch() == 9
    batch.count = 0
    assert touch() == 0


def test_the_naive_engine_takes_a_buffer_for_a_frame() -> None:
    with pytest.raises(IxyfwdError, match="the naive engine takes no frames over several buffers"):
        Rig("naive", segmented=True)


def test_the_fake_device_refuses_half_frames_and_misplaced_reports(engine: str) -> None:
    """The judge judges: descriptors that no engine writes."""
    rig = a_rig(engine)
    ring = rig.layout.tx[0]
    ids = rig.ids(rig.layout.rx[0], [0])
    for words in (
        [(0x2230_0000 | 60, 60 << 14)],  # no EOP
        [(0x2A30_0000 | 60, 120 << 14), (0x2330_0000 | 60, 0)],  # RS without EOP
        [(0x2230_0000 | 60, 60 << 14), (0x2330_0000 | 60, 0)],  # PAYLEN of the first piece
    ):
        nic = type(rig.nic[0])(
            rig.arena, rig.layout.rx[0], ring, {rig.dma.address(o): i for i, o in enumerate(rig.offsets)}, rig.offsets,
            segmented=True,
        )  # fmt: skip
        for slot, (d2, d3) in enumerate(words):
            address = rig.dma.address(rig.offsets[ids[0] + slot])
            struct.pack_into("<QII", rig.arena, ring.descriptors + 16 * slot, address, d2, d3)
        nic.tdt[0] = len(words)
        with pytest.raises(Misuse):
            nic.poll_doorbells()
