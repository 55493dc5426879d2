"""The receive packet buffer: waiting, head-of-line blocking, misses, pause frames (datasheet 7.1, 3.7.7)."""

import pytest

from ixyfwd.model.datapath.binding import DatapathPort
from ixyfwd.model.wires.generator import GeneratorWire
from tests.testing.model_fakes import Bench
from tests.testing.model_frames import flow
from tests.testing.model_hand import HASH_ALL, SYMMETRIC_KEY, Hand, Ring

RXPBSIZE, FCRTL, FCRTH, FCCFG, MFLCN, RXCTRL = 0x3C00, 0x3220, 0x3260, 0x3D00, 0x4294, 0x3000
KEEP = 1 << 25 | 2  # SRRCTL without DROP_EN
TFCE, RFCE, ENABLE = 1 << 3, 1 << 3, 1 << 31
KB = 1 << 10


def frame(number: int, size: int = 60) -> bytes:
    return b"\x02" + b"\0" * 11 + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(size - 18)


def waiting_ring(hand: Hand, port: DatapathPort, buffer_bytes: int = 512 * KB, post: int = 2, queue: int = 0) -> Ring:
    hand.set(port, RXPBSIZE, buffer_bytes)
    return hand.rx_ring(port, queue, post=post, srrctl=KEEP)


def test_frames_wait_and_come_in_order() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = waiting_ring(hand, a), hand.tx_ring(b)
        sent = [frame(n, 60 + 40 * n) for n in range(30)]
        hand.send(tx, sent)
        assert a.stats.rx_waiting == 28 and a.stats.gprc == 30
        hand.accounts_close(a)
        got = []
        for _ in range(10):
            got += [one.data for one in hand.receive(rx)]
            hand.run(2)
        assert got == sent
        assert a.stats.rx_waiting == sum(a.stats.rxmpc) == sum(a.stats.qprdc) == 0
        hand.accounts_close(a)
        assert not hand.fault_kinds(a)


def test_what_finds_the_buffer_full_is_missed() -> None:
    """1 KB holds sixteen frames of 64 bytes."""
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = waiting_ring(hand, a, KB), hand.tx_ring(b)
        hand.send(tx, [frame(n) for n in range(30)])
        assert a.stats.rx_waiting == 16 and a.stats.rxmpc[0] == 12
        hand.accounts_close(a)
        got = []
        for _ in range(10):
            got += [one.data for one in hand.receive(rx)]
            hand.run(2)
        assert got == [frame(n) for n in range(18)], "the newest are missed, not the oldest"


def test_no_buffer_at_all() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = waiting_ring(hand, a, 0), hand.tx_ring(b)
        hand.send(tx, [frame(n) for n in range(5)])
        assert len(hand.receive(rx)) == 2 and a.stats.rxmpc[0] == 3 and a.stats.rx_waiting == 0
        hand.accounts_close(a)


def test_many_wraps_of_the_buffer() -> None:
    """Sizes that leave holes at its end; every byte comes out as it went in."""
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = waiting_ring(hand, a, 8 * KB, post=1), hand.tx_ring(b)
        sent, got, number = [], [], 0
        for step in range(200):
            batch = [frame(number + k, 60 + (number + k) * 37 % 1400) for k in range(3)]
            missed = a.stats.rxmpc[0]
            hand.send(tx, batch)
            sent += batch[: 3 - (a.stats.rxmpc[0] - missed)]
            number += 3
            got += [one.data for one in hand.receive(rx)]
            hand.run()
            assert step < 5 or got
        while a.stats.rx_waiting or len(got) < len(sent):
            hand.run(2)
            got += [one.data for one in hand.receive(rx)]
        assert got == sent
        hand.accounts_close(a)


def test_a_blocked_queue_blocks_the_others() -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.rss(a, SYMMETRIC_KEY, HASH_ALL, queues=2)
        blocked, free = waiting_ring(hand, a, post=1), waiting_ring(hand, a, post=15, queue=1)
        probe = hand.tx_ring(b)
        by_queue: dict[int, list[bytes]] = {0: [], 1: []}
        for port in range(200):
            hand.send(probe, [flow(port)])
            for ring in (blocked, free):
                for one in hand.receive(ring):
                    by_queue[ring.queue].append(one.data)
            if min(map(len, by_queue.values())) >= 3:
                break
        to_blocked, to_free = by_queue[0][0], by_queue[1][0]
        posted = (blocked.next - 1 - a.rx_head(0)) % 16
        hand.send(probe, [to_blocked] * (posted + 2) + [to_free])
        assert [len(hand.receive(free)), a.stats.rx_waiting] == [0, 3]
        assert len(hand.receive(blocked)) == posted
        hand.run(2)
        assert [found.data for found in hand.receive(blocked)] == [to_blocked, to_blocked]
        assert [found.data for found in hand.receive(free)] == [to_free]
        hand.accounts_close(a)


def test_forced_drop() -> None:
    """PFQDE counts for a queue as DROP_EN does; frames that wait already are dropped too."""
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = waiting_ring(hand, a), hand.tx_ring(b)
        hand.send(tx, [frame(n) for n in range(5)])
        a.force_drop(0, True)
        hand.send(tx, [frame(9)])
        assert a.stats.qprdc[0] == 4 and a.stats.rx_waiting == 0
        assert len(hand.receive(rx)) == 2
        a.force_drop(0, False)
        hand.send(tx, [frame(9)] * 20)
        assert a.stats.rx_waiting == 5, "a ring of 16 takes 15"
        hand.accounts_close(a)


def test_pfqde_is_one_bit_for_each_queue() -> None:
    bench = Bench()
    bench.write("PFQDE", 5 << 8 | 1 << 16 | 1)
    bench.write("PFQDE", 6 << 8 | 1 << 16)
    assert bench.datapath.calls[-2:] == [("force_drop", 5, True), ("force_drop", 6, False)]
    bench.write("PFQDE", 5 << 8 | 1 << 17)
    assert bench.read("PFQDE") & 1 == 1


@pytest.mark.parametrize("how", ["reset", "queue off"])
def test_where_waiting_frames_end(how: str) -> None:
    with Hand() as hand:
        a, b = hand.ports
        _, tx = waiting_ring(hand, a), hand.tx_ring(b)
        hand.send(tx, [frame(n) for n in range(5)])
        if how == "reset":
            a.reset()
        else:
            a.stop_rx(0)
        hand.run(2)
        assert a.stats.rx_waiting == 0
        assert (a.stats.rx_off, a.stats.rx_queue_off) == ((3, 0) if how == "reset" else (0, 3))
        hand.accounts_close(a)


def test_reception_off_keeps_what_waits() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = waiting_ring(hand, a), hand.tx_ring(b)
        hand.send(tx, [frame(n) for n in range(5)])
        hand.set(a, RXCTRL, 0)
        assert len(hand.receive(rx)) == 2
        hand.send(tx, [frame(7)])
        assert a.stats.rx_waiting == 3 and a.stats.rx_off == 1
        hand.set(a, RXCTRL, 1)
        hand.run(2)
        assert [one.data for one in hand.receive(rx)] == [frame(n) for n in (2, 3, 4)]
        hand.accounts_close(a)


def test_a_full_buffer_makes_the_far_end_pause() -> None:
    """XOFF above FCRTH, XON at FCRTL: nothing is lost, and both ends count the pause frames."""
    with Hand() as hand:
        a, b = hand.ports
        for offset, value in ((FCCFG, TFCE), (FCRTH, ENABLE | 2 * KB), (FCRTL, ENABLE | 512)):
            hand.set(a, offset, value)
        hand.set(b, MFLCN, RFCE)
        rx, tx = waiting_ring(hand, a, 16 * KB), hand.tx_ring(b, entries=512)
        sent = [frame(n) for n in range(400)]
        hand.send(tx, sent)
        assert a.stats.lxofftxc == b.stats.lxoffrxcnt == 1
        assert a.stats.rxmpc[0] == 0 and b.stats.qptc[0] < 400
        got: list[bytes] = []
        while len(got) < 400:
            got += [one.data for one in hand.receive(rx)]
            hand.run(2)
        assert got == sent
        assert a.stats.lxontxc == b.stats.lxonrxcnt > 0
        assert a.stats.lxofftxc == b.stats.lxoffrxcnt == a.stats.lxontxc
        hand.accounts_close(a)
        hand.accounts_close(b)


def test_a_far_end_that_does_not_heed_pause_frames() -> None:
    with Hand() as hand:
        a, b = hand.ports
        for offset, value in ((FCCFG, TFCE), (FCRTH, ENABLE | 2 * KB), (FCRTL, ENABLE | 512)):
            hand.set(a, offset, value)
        _, tx = waiting_ring(hand, a, 16 * KB), hand.tx_ring(b, entries=512)
        hand.send(tx, [frame(n) for n in range(400)])
        assert a.stats.lxofftxc == 1 and b.stats.qptc[0] == 400 and a.stats.rxmpc[0] > 0
        hand.accounts_close(a)


def test_a_generator_fills_the_buffer_and_never_overtakes_it() -> None:
    with Hand(cable=False) as hand:
        a, _ = hand.ports
        a.plug(GeneratorWire(flows=1, rate=1e6, count=2000))
        a.set_link(True)
        rx = waiting_ring(hand, a, 512 * KB, post=15)
        a.start_feed()
        numbers: list[int] = []
        while not a.feed_done() or a.stats.rx_waiting:
            hand.run()
            numbers += [one.dword1 for one in hand.receive(rx)]
        numbers += [one.dword1 for one in hand.receive(rx)]
        assert len(numbers) == a.stats.gprc == 2000 - a.stats.rxmpc[0]
        hand.accounts_close(a)
        assert not hand.fault_kinds(a)
