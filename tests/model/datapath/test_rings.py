"""Rings: ownership, wrap, write-back, several descriptors a frame, heads and tails (7.1.5 to 7.1.9, 7.2.3)."""

import struct

import pytest

from tests.testing.model_frames import frame
from tests.testing.model_hand import (
    CONTEXT,
    DATA,
    DD,
    DEXT,
    EOP,
    IFCS,
    IOVA,
    PLAIN,
    RS,
    Hand,
    rx_window,
    tx_window,
)  # fmt: skip


@pytest.mark.parametrize("mapped", [True, False])
def test_frames_pass_in_order_over_many_wraps(mapped: bool) -> None:
    with Hand(mapped=mapped) as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, entries=24), hand.tx_ring(b, entries=40)
        sent = [frame(n, 60 + n % 1400) for n in range(500)]
        got = []
        for at in range(0, 500, 20):
            hand.send(tx, sent[at : at + 20])
            got += [one.data for one in hand.receive(rx)]
        assert got == sent
        assert not hand.fault_kinds(a) and not hand.fault_kinds(b)
        assert a.rx_head(0) == 500 % 24 and b.tx_head(0) == 500 % 40
        assert hand.get(a, rx_window(0) + 0x10) == 500 % 24 and hand.get(b, tx_window(0) + 0x10) == 500 % 40


def test_head_equals_tail_gives_nothing_to_the_device() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, post=0), hand.tx_ring(b)
        hand.send(tx, [frame(1)])
        assert not hand.receive(rx)
        assert a.stats.qprdc[0] == 1 and a.rx_head(0) == 0


def test_at_most_entries_minus_one_are_with_the_device() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, entries=16), hand.tx_ring(b)
        hand.send(tx, [frame(n) for n in range(20)])
        assert len(hand.receive(rx)) == 15
        assert a.stats.qprdc[0] == 5
        hand.accounts_close(a)


def test_stale_status_bits_in_posted_descriptors_mean_nothing() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        for index in range(16):
            hand.set_desc(rx, index, IOVA + rx.buffers[index], 0xFFFFFFFF)
        hand.send(tx, [frame(1)])
        assert hand.read(rx.buffers[0], 60) == frame(1)
        assert a.rx_head(0) == 1
        assert hand.desc(rx, 1) == (IOVA + rx.buffers[1], 0xFFFFFFFF)


def test_dd_only_where_rs_was_asked() -> None:
    with Hand() as hand:
        _, b = hand.ports
        tx = hand.tx_ring(b)
        for n in range(10):
            hand.queue_frame(tx, frame(n), flags=PLAIN | (RS if n in (3, 9) else 0))
        hand.tail(tx, 10)
        hand.run()
        assert b.tx_head(0) == 10
        assert [n for n in range(10) if hand.desc(tx, n)[1] >> 32 & DD] == [3, 9]


@pytest.mark.parametrize("wthresh", [0, 1, 4, 8])
def test_wthresh_never_delays_a_write_back(wthresh: int) -> None:
    with Hand() as hand:
        _, b = hand.ports
        hand.set(b, tx_window(0) + 0x28, wthresh << 16 | 1 << 25)
        tx = hand.tx_ring(b)
        hand.send(tx, [frame(0)], flags=PLAIN | RS)
        assert hand.desc(tx, 0)[1] >> 32 & DD


def test_nothing_is_sent_before_te_and_everything_after() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.set(b, "DMATXCTL", 0)
        hand.send(tx, [frame(0)])
        assert b.tx_head(0) == 0
        hand.set(b, "DMATXCTL")
        hand.run()
        assert b.tx_head(0) == 1 and len(hand.receive(rx)) == 1


@pytest.mark.parametrize("down", [0, 1])
def test_nothing_moves_while_the_link_is_down(down: int) -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.ports[down].set_link(False)
        hand.send(tx, [frame(0)])
        assert not hand.receive(rx) and a.stats.tpr == 0
        assert b.stats.gptc == (1 if down == 0 else 0)  # a far end that is down swallows what is sent
        hand.ports[down].set_link(True)
        hand.send(tx, [frame(1)])
        assert [one.data for one in hand.receive(rx)] == ([frame(1)] if down == 0 else [frame(0), frame(1)])


def test_several_queues_each_way() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx = hand.rx_ring(a)
        queues = (0, 7, 63, 64, 127)
        rings = [hand.tx_ring(b, queue, 16) for queue in queues]
        for n, ring in enumerate(rings):
            hand.queue_frame(ring, frame(n))
            hand.tail(ring, 1)
        hand.run(2)
        assert {one.data for one in hand.receive(rx)} == {frame(n) for n in range(5)}
        assert all(b.tx_head(queue) == 1 for queue in queues)


# several descriptors


@pytest.mark.parametrize("pieces", [(14,), (1, 1, 1), (20, 0, 40), (100, 200, 300)])
def test_tx_gathers_until_eop(pieces: tuple[int, ...]) -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b, entries=16)
        for n in range(12):  # across the ring's end
            hand.queue_frame(tx, frame(n, 700), pieces=pieces)
            hand.queue_frame(tx, frame(n + 100))
            hand.tail(tx, tx.next)
            hand.run(2)
            assert [one.data for one in hand.receive(rx)] == [frame(n, 700), frame(n + 100)]
        assert not hand.fault_kinds(b)


def test_a_frame_whose_end_is_not_posted_yet_waits() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.queue_frame(tx, frame(0, 300), pieces=(100, 100))
        hand.tail(tx, 2)
        hand.run(3)
        assert b.tx_head(0) == 0 and not hand.receive(rx)
        hand.tail(tx, 3)
        hand.run(2)
        assert b.tx_head(0) == 3 and hand.receive(rx)[0].data == frame(0, 300)
        assert not hand.fault_kinds(b)


def test_rx_spreads_a_long_frame() -> None:
    with Hand() as hand:
        a, b = hand.ports
        for port in hand.ports:
            hand.set(port, "HLREG0", 0x08012C0B | 4)
            hand.set(port, "MAXFRS", 9018 << 16)
        rx, tx = hand.rx_ring(a, entries=16, srrctl=1 << 28 | 1 << 25 | 1), hand.tx_ring(b)
        for size in (1024, 1025, 2048, 2049, 9000):
            hand.queue_frame(tx, frame(size, size), pieces=[2000] * ((size - 1) // 2000))
            hand.tail(tx, tx.next)
            hand.run(2)
            (found,) = hand.receive(rx)
            assert found.data == frame(size, size)
            assert found.pieces == tuple([1024] * ((size - 1) // 1024) + [size - (size - 1) // 1024 * 1024])
        assert a.stats.qprc[0] == 5 and a.stats.qbrc[0] == 1024 + 1025 + 2048 + 2049 + 9000
        assert not hand.fault_kinds(a) and not hand.fault_kinds(b)


def test_a_long_frame_is_delivered_whole_or_not_at_all() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, post=1, srrctl=1 << 28 | 1 << 25 | 1), hand.tx_ring(b)
        hand.send(tx, [frame(0, 1400)])
        assert not hand.receive(rx) and a.rx_head(0) == 0 and a.stats.qprdc[0] == 1
        hand.send(tx, [frame(1)])
        assert [one.data for one in hand.receive(rx)] == [frame(1)]


def test_only_the_last_descriptor_has_status() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, srrctl=1 << 28 | 1 << 25 | 1), hand.tx_ring(b)
        hand.send(tx, [frame(0, 1400)])
        assert hand.desc(rx, 0) == (0, 1024 << 32 | DD)
        assert hand.desc(rx, 1)[1] & 3 == 3


# other formats


def test_legacy_receive_and_transmit() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, srrctl=1 << 28 | 2), hand.tx_ring(b)
        hand.queue_frame(tx, frame(0, 100), flags=EOP | IFCS | RS)
        hand.tail(tx, 1)
        hand.run(2)
        assert hand.desc(rx, 0) == (IOVA + rx.buffers[0], 3 << 32 | 100)
        assert hand.read(rx.buffers[0], 100) == frame(0, 100)
        assert hand.desc(tx, 0)[1] >> 32 & DD
        assert hand.desc(tx, 0)[1] & 0xFFFF == 100  # a legacy write-back touches the status only
        assert not hand.fault_kinds(b)


def test_context_descriptors_are_consumed() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.set_desc(tx, 0, 14 << 9 | 20, CONTEXT | DEXT | RS)
        tx.next = 1
        hand.send(tx, [frame(0)])
        assert b.tx_head(0) == 2 and b.stats.gptc == 1 and len(hand.receive(rx)) == 1
        assert hand.desc(tx, 0)[1] >> 32 & DD
        assert not hand.fault_kinds(b)


def test_head_write_back_replaces_descriptor_write_back() -> None:
    with Hand() as hand:
        _, b = hand.ports
        at = hand.take(64)
        hand.set(b, tx_window(0) + 0x38, at | 1)
        hand.set(b, tx_window(0) + 0x3C, IOVA >> 32)
        tx = hand.tx_ring(b)
        hand.send(tx, [frame(n) for n in range(5)], flags=PLAIN)
        assert hand.read(at, 4) == b"\0\0\0\0"
        hand.send(tx, [frame(5)], flags=PLAIN | RS)
        assert struct.unpack("<I", hand.read(at, 4)) == (6,)
        assert not any(hand.desc(tx, n)[1] >> 32 & DD for n in range(6))


def test_short_frames_are_padded() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.send(tx, [frame(0)[:17]])
        assert hand.receive(rx)[0].data == frame(0)[:17].ljust(60, b"\0")
        assert b.stats.ptc64 == 1 and b.stats.gotc == 64
        hand.set(b, "HLREG0", 0x08012C0B & ~(1 << 10))
        hand.send(tx, [frame(0)[:30]])
        assert b.stats.gotc == 64 + 34  # as it is; the receiver's wire pads
        assert hand.receive(rx)[0].data == frame(0)[:30].ljust(60, b"\0")


# starting, stopping, doorbells


def test_trapped_tails_act_on_writes_only() -> None:
    with Hand(mapped=False) as hand:
        a, b = hand.ports
        tx, rx = hand.tx_ring(b), hand.rx_ring(a, post=4)
        a.store[(rx_window(0) + 0x18) // 4] = 12  # in the store, but nobody told the device
        hand.send(tx, [frame(n) for n in range(8)])
        assert len(hand.receive(rx, refill=False)) == 4
        a.tail_written(True, 0)
        hand.send(tx, [frame(n) for n in range(10)])
        assert len(hand.receive(rx, refill=False)) == 8


def test_trapped_stale_tail_is_not_taken_at_enable() -> None:
    with Hand(mapped=False) as hand:
        _, b = hand.ports
        tx = hand.ring(b, False, 0, 16)
        hand.set(b, tx.window + 0x18, 5)
        assert b.start_tx(0)
        hand.run()
        assert b.tx_head(0) == 0 and not hand.fault_kinds(b)


def test_mapped_tail_is_a_level_at_enable() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.ring(b, False, 0, 16)
        for n in range(3):
            hand.queue_frame(tx, frame(n))
        hand.set(b, tx.window + 0x18, 3)
        assert b.start_tx(0)
        hand.run(2)
        assert b.tx_head(0) == 3 and len(hand.receive(rx)) == 3


def test_head_may_be_written_until_the_device_begins() -> None:
    with Hand(mapped=False) as hand:
        a, b = hand.ports
        for rx, port in ((True, a), (False, b)):
            ring = hand.ring(port, rx, 0, 16)
            hand.set(port, ring.window + 0x14, 1 << 25 | 2)
            hand.set(port, ring.window + 0x10, 7)
            assert port.start_rx(0) if rx else port.start_tx(0)
            for index in range(16):
                flags = 0 if rx else PLAIN | 60 | 60 << 46
                hand.set_desc(ring, index, IOVA + ring.buffers[index], flags)
            hand.set(port, ring.window + 0x10, 0)
            assert port.head_written(rx, 0)
            hand.tail(ring, 3)
            hand.run()
            hand.set(port, ring.window + 0x10, 9)
            assert not port.head_written(rx, 0)
        assert a.rx_head(0) == 3 and b.tx_head(0) == 3
        assert not hand.fault_kinds(a)


def test_a_stopped_queue_takes_nothing_and_gives_its_buffers_back() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.run()
        a.stop_rx(0)
        hand.send(tx, [frame(0)])
        assert a.stats.rx_queue_off == 1 and a.stats.gprc == 1
        for n in range(16):
            hand.queue_frame(tx, frame(n))  # the buffers are the driver's again: sending from them is no fault
            index = (tx.next - 1) % tx.entries
            hand.write(rx.buffers[n], frame(n))
            hand.set_desc(tx, index, IOVA + rx.buffers[n], 60 << 46 | PLAIN | 60)
        hand.tail(tx, tx.next)
        hand.run()
        assert not hand.fault_kinds(a) and not hand.fault_kinds(b)
        assert b.stats.gptc == 17
        hand.accounts_close(a)


def test_reset_stops_all_and_a_restart_works() -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.rx_ring(a)
        hand.send(hand.tx_ring(b), [frame(0)])
        a.reset()
        b.reset()
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.send(tx, [frame(1)])
        assert [one.data for one in hand.receive(rx)] == [frame(1)]
        assert not hand.fault_kinds(a) and not hand.fault_kinds(b)


def test_without_drop_en_misses_are_counted_by_the_mac() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, post=2, srrctl=1 << 25 | 2), hand.tx_ring(b)
        hand.send(tx, [frame(n) for n in range(5)])
        assert len(hand.receive(rx)) == 2
        assert a.stats.rxmpc[0] == 3 and sum(a.stats.qprdc) == 0
        hand.accounts_close(a)


def test_bus_master_off_stops_dma() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.run()
        a.set_bus_master(False)
        hand.send(tx, [frame(0)])
        assert not hand.receive(rx, refill=False) and a.stats.qprdc[0] == 1
        assert not hand.fault_kinds(a)  # nothing was asked of the device meanwhile
        a.set_bus_master(True)
        hand.send(tx, [frame(1)])
        assert [one.data for one in hand.receive(rx)] == [frame(1)]


def test_data_without_eop_bits_of_others_is_plain(  # a descriptor with RS and EOP only in the last of three
) -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.queue_frame(tx, frame(0, 200), flags=DATA | DEXT | IFCS | EOP, pieces=(50, 50))
        index = (tx.next - 1) % tx.entries
        q0, q1 = hand.desc(tx, index)
        hand.set_desc(tx, index, q0, q1 | RS)
        hand.tail(tx, tx.next)
        hand.run(2)
        assert [bool(hand.desc(tx, n)[1] >> 32 & DD and not hand.desc(tx, n)[1] >> 33) for n in range(3)] == [
            False,
            False,
            True,
        ]
        assert hand.receive(rx)[0].data == frame(0, 200)
