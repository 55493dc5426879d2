"""One suite for both engines, in both modes: what engine/contract.py promises, judged by a strict fake device.

Frames here fit one buffer, so that a segmented engine must do with them what a plain one does; frames over several
buffers are in tests/engine/test_segments.py.
"""

import mmap
import struct

import pytest

from ixyfwd.engine.contract import EngineMemory
from ixyfwd.engine.open import open_engine
from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.arena import create_arena
from ixyfwd.memory.layout import compute_layout
from ixyfwd.pci.function import DmaMap
from ixyfwd.telemetry.counters import PortWord
from tests.testing.fake_nic import EVERY_ENGINE, Frame, MakeRig, Rig, port_of

RXE = 1 << 29
IPE = 1 << 31


@pytest.fixture(params=EVERY_ENGINE)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def frames(first: int, n: int) -> list[Frame]:
    return [Frame((60 + (first + i) % 1400,), (first + i) * 2654435761 % 2**32) for i in range(n)]


def deliver(rig: Rig, port: int, arriving: list[Frame]) -> None:
    for frame in arriving:
        assert rig.nic[port].receive(frame)


def test_start_fills_the_ring_and_hands_over_all_but_one(make_rig: MakeRig) -> None:
    rig = make_rig(ring_size=128)
    free = rig.engine.free_buffers()
    assert free == rig.layout.buffers
    rig.start()
    assert rig.nic[0].room() == 127
    assert rig.engine.free_buffers() == free - 128
    rig.check()


def test_start_with_too_small_a_pool_says_so_and_takes_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(ports=2, buffers=100)
    rig.start(0)
    with pytest.raises(IxyfwdError, match=r"worker 0: the receive ring of port 1 needs 64 buffers, 36 of 100 are free"):
        rig.engine.rx(1).start()
    assert rig.nic[1].poll_doorbells() == (None, None)
    assert rig.engine.free_buffers() == 36
    rig.check()


@pytest.mark.parametrize("worker", [0, 1])
def test_a_frame_is_described_completely(make_rig: MakeRig, worker: int) -> None:
    rig = make_rig(worker=worker)
    rig.start()
    batch = rig.engine.new_batch(8)
    expected_id = rig.ids(rig.layout.rx[0], [0])[0]
    deliver(rig, 0, [Frame((1514,), 0xFEDC_BA98, IPE | 0x40, vlan=0xFFF)])
    assert rig.rx(0, batch) == 1
    assert (batch.ids[0], batch.lengths[0], batch.hashes[0]) == (expected_id, 1514, 0xFEDC_BA98)
    assert batch.status[0] == IPE | 0x40 | 3
    rig.check(batch)


def test_empty_polls_change_nothing(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start()
    batch = rig.engine.new_batch(8)
    before = rig.content()
    for _ in range(3):
        assert rig.rx(0, batch) == 0
        assert rig.tx(0, batch) == 0
        assert rig.engine.tx(0).clean() == 0
    assert rig.content() == before


def test_rx_replaces_what_was_in_the_batch(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start()
    batch = rig.engine.new_batch(8)
    batch.count = 5
    assert rig.rx(0, batch) == 0
    assert batch.count == 0


@pytest.mark.parametrize("ring_size", [64, 128, 512, 4096])
@pytest.mark.parametrize("share", [1, 5, 31, 32])
def test_frames_go_through_in_order_around_the_ring(make_rig: MakeRig, ring_size: int, share: int) -> None:
    """Batches of up to half a ring: a started interval of up to 31 slots may wait for its RS besides."""
    batch_size = ring_size * share // 64
    rig = make_rig(ports=2, ring_size=ring_size)
    rig.start()
    batch = rig.engine.new_batch(batch_size)
    forwarded: list[int] = []
    total = 0
    while total < 2 * ring_size + 40:
        n = min(batch_size, rig.nic[0].room())
        deliver(rig, 0, frames(total, n))
        total += n
        assert rig.rx(0, batch) == n
        forwarded += batch.lengths[:n].tolist()
        assert rig.tx(1, batch) == n
        rig.nic[1].transmit(n)
    rig.check(batch)
    assert [length for _, length in rig.nic[1].sent] == forwarded == [60 + i % 1400 for i in range(total)]
    assert rig.counter(0, PortWord.RX_PACKETS) == rig.counter(1, PortWord.TX_PACKETS) == total
    assert rig.counter(0, PortWord.RX_BYTES) == rig.counter(1, PortWord.TX_BYTES) == sum(forwarded)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7, 33, 63, 64, 100, 4096])
def test_every_batch_size_takes_what_there_is(make_rig: MakeRig, batch_size: int) -> None:
    rig = make_rig()
    rig.start()
    batch = rig.engine.new_batch(batch_size)
    total = 0
    for round_ in range(40):
        arriving = min(rig.nic[0].room(), (round_ * 13) % 64)
        deliver(rig, 0, frames(total, arriving))
        left = arriving
        while left:
            n = rig.forward(0, 0, batch)
            assert n == min(left, batch_size)
            left -= n
            rig.nic[0].transmit(n)
        assert rig.rx(0, batch) == 0
        total += arriving
    totals = rig.counters(0)
    assert totals["RX_PACKETS"] == total == totals["TX_PACKETS"] + totals["TX_FULL"]
    assert totals["TX_FULL"] == 0 or batch_size > 32


def test_a_ring_that_the_device_filled_completely(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start()
    batch = rig.engine.new_batch(64)
    for start in range(5):
        deliver(rig, 0, frames(start, 63))
        assert not rig.nic[0].receive(Frame())
        assert rig.forward(0, 0, batch) == 63
        assert rig.nic[0].room() == 63
        rig.nic[0].transmit(63)


def test_a_full_tx_ring_drops_counts_and_recovers(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start()
    batch = rig.engine.new_batch(32)
    deliver(rig, 0, frames(0, 32))
    assert rig.forward(0, 0, batch) == 32
    deliver(rig, 0, frames(32, 32))
    assert rig.rx(0, batch) == 32
    assert rig.tx(0, batch) == 31  # 63 of 64 slots
    assert rig.counter(0, PortWord.TX_FULL) == 1
    deliver(rig, 0, frames(64, 10))
    assert rig.rx(0, batch) == 10
    assert rig.tx(0, batch) == 0
    assert rig.counters(0)["TX_FULL"] == 11
    rig.check(batch)
    rig.nic[0].transmit(31)  # the interval 0..31 is not complete
    deliver(rig, 0, frames(74, 5))
    assert rig.rx(0, batch) == 5
    assert rig.tx(0, batch) == 0
    rig.nic[0].transmit(1)
    deliver(rig, 0, frames(79, 5))
    assert rig.forward(0, 0, batch) == 5
    rig.nic[0].transmit(100)
    lengths = [length for _, length in rig.nic[0].sent]
    assert lengths == [60 + i for i in (*range(63), *range(79, 84))]
    totals = rig.counters(0)
    assert totals["RX_PACKETS"] == 84 == totals["TX_PACKETS"] + totals["TX_FULL"]
    rig.check(batch)


def test_clean_returns_whole_intervals_only(make_rig: MakeRig) -> None:
    rig = make_rig(ring_size=256)
    rig.start()
    batch = rig.engine.new_batch(256)
    deliver(rig, 0, frames(0, 200))
    rig.forward(0, 0, batch)
    free = rig.engine.free_buffers()
    for sent, freed in ((31, 0), (1, 32), (40, 32), (128, 128), (0, 0)):
        rig.nic[0].transmit(sent)
        assert rig.engine.tx(0).clean() == freed
        free += freed
        assert rig.engine.free_buffers() == free
        rig.check()


def test_a_burst_reclaims_once_the_ring_is_half_full(make_rig: MakeRig) -> None:
    """Looking earlier would fetch lines that the device is about to write."""
    rig = make_rig(ring_size=128)
    rig.start()
    batch = rig.engine.new_batch(32)
    reclaimed = []
    for first in range(0, 4 * 32, 32):
        deliver(rig, 0, frames(first, 32))
        rig.forward(0, 0, batch)
        rig.nic[0].transmit(32)
        reclaimed.append(rig.word(rig.layout.tx[0], 2))
    assert reclaimed == [0, 0, 64, 64]


def test_the_pool_runs_dry_and_recovers(make_rig: MakeRig) -> None:
    rig = make_rig(ring_size=64, buffers=64 + 40)
    rig.start()
    batch = rig.engine.new_batch(32)
    deliver(rig, 0, frames(0, 63))
    assert rig.forward(0, 0, batch) == 32
    assert rig.counter(0, PortWord.RX_NO_BUFFER) == 0
    assert rig.forward(0, 0, batch) == 8  # all that the pool can replace
    assert rig.counter(0, PortWord.RX_NO_BUFFER) == 1
    assert rig.engine.free_buffers() == 0
    assert rig.rx(0, batch) == 0
    assert rig.counter(0, PortWord.RX_NO_BUFFER) == 2
    rig.nic[0].transmit(40)
    assert rig.engine.tx(0).clean() == 32
    assert rig.forward(0, 0, batch) == 23
    rig.nic[0].transmit(100)
    assert [length for _, length in rig.nic[0].sent] == [60 + i for i in range(63)]


def test_error_frames_are_freed_and_counted(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start()
    batch = rig.engine.new_batch(16)
    arriving = [Frame((100 + i,), i, RXE if i in {0, 3, 4, 9} else 0) for i in range(10)]
    deliver(rig, 0, arriving)
    free = rig.engine.free_buffers()
    assert rig.rx(0, batch) == 6
    assert batch.lengths[:6].tolist() == [101, 102, 105, 106, 107, 108]
    assert batch.hashes[:6].tolist() == [1, 2, 5, 6, 7, 8]
    assert rig.engine.free_buffers() == free - 6
    assert rig.counters(0) == {
        "RX_PACKETS": 10, "RX_BYTES": sum(range(100, 110)), "RX_ERRORS": 4, "RX_NO_BUFFER": 0,
        "TX_PACKETS": 0, "TX_BYTES": 0, "TX_FULL": 0,
    }  # fmt: skip
    rig.check(batch)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 64])
def test_a_frame_over_several_descriptors_is_one_error_wherever_bursts_cut_it(engine: str, batch_size: int) -> None:
    rig = Rig(engine)
    rig.start()
    batch = rig.engine.new_batch(batch_size)
    seen: list[int] = []
    arriving = [Frame((70,)), Frame((2048, 500)), Frame((71,)), Frame((2048, 2048, 2048, 9)), Frame((72,))] * 5
    for frame in arriving:
        assert rig.nic[0].receive(frame)
    while rig.counter(0, PortWord.RX_PACKETS) < len(arriving):
        n = rig.rx(0, batch)
        seen += batch.lengths[:n].tolist()
        rig.check(batch)
        rig.tx(0, batch)
        rig.nic[0].transmit(n)
    assert seen == [70, 71, 72] * 5
    assert rig.counters(0)["RX_PACKETS"] == 25
    assert rig.counters(0)["RX_ERRORS"] == 10
    assert rig.counters(0)["RX_BYTES"] == sum(sum(frame.pieces) for frame in arriving)


def test_only_error_frames_give_an_empty_burst_and_a_doorbell(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start()
    batch = rig.engine.new_batch(16)
    deliver(rig, 0, [Frame(status=RXE)] * 7)
    assert rig.rx(0, batch) == 0
    assert rig.nic[0].room() == 63
    rig.check(batch)


def test_ports_share_the_pool_but_not_their_counters(make_rig: MakeRig) -> None:
    rig = make_rig(ports=3)
    rig.start()
    batch = rig.engine.new_batch(16)
    for source, target in ((0, 2), (1, 0), (2, 1), (0, 2)):
        deliver(rig, source, frames(0, 10))
        assert rig.forward(source, target, batch) == 10
    for nic in rig.nic:
        nic.transmit(100)
    assert [rig.counter(p, PortWord.RX_PACKETS) for p in range(3)] == [20, 10, 10]
    assert [rig.counter(p, PortWord.TX_PACKETS) for p in range(3)] == [10, 10, 20]
    assert [len(nic.sent) for nic in rig.nic] == [10, 10, 20]


def test_bound_callables_are_the_bursts(make_rig: MakeRig) -> None:
    rig = make_rig(ports=2)
    rig.start()
    one, other = rig.engine.new_batch(4), rig.engine.new_batch(8)
    take_one, take_other = rig.engine.rx(0).bind(one), rig.engine.rx(0).bind(other)
    send_one = rig.engine.tx(1).bind(one)
    deliver(rig, 0, frames(0, 12))
    assert (take_one(), take_other()) == (4, 8)
    assert other.lengths.tolist() == [64 + i for i in range(8)]
    assert send_one() == 4
    assert rig.engine.tx(1).burst(other) == 8
    for nic in rig.nic:
        nic.poll_doorbells()
    rig.nic[1].transmit(20)
    assert [length for _, length in rig.nic[1].sent] == [60 + i for i in range(12)]


def test_a_batch_made_by_hand_is_sent(make_rig: MakeRig) -> None:
    rig = make_rig(ports=2)
    rig.start()
    batch = rig.engine.new_batch(8)
    deliver(rig, 0, frames(0, 3))
    rig.rx(0, batch)
    batch.ids[0], batch.ids[2] = batch.ids[2], batch.ids[0]
    batch.lengths[1] = 1000
    order = batch.ids[:3].tolist()
    rig.tx(1, batch)
    rig.nic[1].transmit(3)
    assert rig.nic[1].sent == list(zip(order, (60, 1000, 62), strict=True))


def test_opening_again_rebuilds_pool_and_rings(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start()
    batch = rig.engine.new_batch(8)
    deliver(rig, 0, frames(0, 20))
    rig.forward(0, 0, batch)
    rig.engine.close()
    again = open_engine(rig.engine.name, rig.memory)
    assert again.free_buffers() == rig.layout.buffers
    again.rx(0).start()
    assert again.free_buffers() == rig.layout.buffers - 64
    assert [rig.word(rig.layout.rx[0], i) for i in range(4)] == [0, 63, 0, 0]
    assert [rig.word(rig.layout.tx[0], i) for i in range(4)] == [0, 0, 0, 0]


def test_a_closed_engine_says_so(engine: str) -> None:
    rig = Rig(engine)
    rig.start()
    batch = rig.engine.new_batch(8)
    rig.rx(0, batch)
    rig.engine.close()
    rig.engine.close()
    for use in (
        lambda: rig.engine.rx(0).burst(batch),
        lambda: rig.engine.tx(0).bind(batch),
        lambda: rig.engine.tx(0).clean(),
        lambda: rig.engine.rx(0).start(),
        rig.engine.free_buffers,
    ):
        with pytest.raises(IxyfwdError, match=f"worker 0: the {engine} engine was closed"):
            use()


def test_close_lets_the_arena_be_unmapped_while_callables_live(engine: str) -> None:
    whole = compute_layout(ports=1, workers=1, ring_size=64, buffers_per_worker=200)
    doorbells = memoryview(bytearray(8)).cast("I")
    with create_arena(whole.size, "plain") as arena:
        pages = DmaMap(2 << 20, (0,) * (whole.size >> 21))
        memory = EngineMemory(arena.view, whole.workers[0], [port_of(doorbells[0:1], doorbells[1:2], pages)])
        opened = open_engine(engine, memory)
        batch = opened.new_batch(16)
        opened.rx(0).start()
        calls = [opened.rx(0).bind(batch), opened.tx(0).bind(batch)]
        assert calls[0]() == 0
        opened.rx(0).burst(batch)
        opened.tx(0).clean()
        opened.close()
    assert arena.fd == -1
    doorbells.release()


def test_native_callables_do_nothing_after_close() -> None:
    rig = Rig("native")
    rig.start()
    batch = rig.engine.new_batch(8)
    receive, send = rig.engine.rx(0).bind(batch), rig.engine.tx(0).bind(batch)
    deliver(rig, 0, frames(0, 3))
    assert receive() == 3
    before = rig.content()
    rig.engine.close()
    assert (receive(), send()) == (0, 0)
    assert rig.content() == before


@pytest.mark.parametrize("entries", [32, 63, 96, 8192])
def test_ring_sizes_that_cannot_work_are_refused(engine: str, entries: int) -> None:
    whole = compute_layout(ports=1, workers=1, ring_size=entries, buffers_per_worker=entries * 2)
    bell = memoryview(bytearray(4)).cast("I")
    pages = DmaMap(2 << 20, (0,) * (whole.size >> 21))
    memory = EngineMemory(memoryview(mmap.mmap(-1, whole.size)), whole.workers[0], [port_of(bell, bell, pages)])
    with pytest.raises(IxyfwdError, match=f"a ring of {entries} descriptors"):
        open_engine(engine, memory)


def test_memory_that_does_not_fit_is_refused(make_rig: MakeRig) -> None:
    rig = make_rig()
    short = EngineMemory(rig.arena[: 1 << 20], rig.layout, rig.memory.ports)
    with pytest.raises(IxyfwdError, match="only 1048576 bytes are mapped"):
        open_engine(rig.engine.name, short)
    deaf = EngineMemory(rig.arena, rig.layout, [])
    with pytest.raises(IxyfwdError, match="1 ports but doorbells for 0"):
        open_engine(rig.engine.name, deaf)


def test_descriptors_beyond_the_ring_are_never_touched(make_rig: MakeRig) -> None:
    """The bytes between the rings of a layout keep their poison."""
    rig = make_rig(ports=2)
    layout = rig.layout
    used = [(r.descriptors, 16 * r.entries) for r in (*layout.rx, *layout.tx)]
    used += [(r.ids, 4 * r.entries) for r in (*layout.rx, *layout.tx)]
    used += [(r.state, 64) for r in (*layout.rx, *layout.tx)]
    used += [(layout.counters, 4096), (layout.pool, 64 + 4 * layout.buffers)]
    gaps = set(range(layout.base, layout.buffers_base)) - {b for at, n in used for b in range(at, at + n)}
    for at in gaps:
        rig.arena[at] = 0x5A
    rig.start()
    batch = rig.engine.new_batch(64)
    for i in range(20):
        deliver(rig, 0, frames(i, min(40, rig.nic[0].room())))
        rig.forward(0, 1, batch)
        rig.nic[1].transmit(64)
    assert all(rig.arena[at] == 0x5A for at in gaps)


def test_start_writes_what_the_datasheet_calls_the_read_format(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start()
    ring = rig.layout.rx[0]
    ids = rig.ids(ring, range(64))
    assert len(set(ids)) == 64
    for slot, buffer in enumerate(ids):
        raw = struct.unpack_from("<QQ", rig.arena, ring.descriptors + 16 * slot)
        assert raw == (rig.dma.address(rig.offsets[buffer]), 0)
