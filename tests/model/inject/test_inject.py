"""Injected misbehaviour of the data path: what it does, how it ends, and that every frame stays accounted for."""

from itertools import pairwise

import pytest

from ixyfwd.errors import UsageError
from ixyfwd.model.inject.injector import Injector
from ixyfwd.model.inject.kinds import KINDS, find_kind, read_parameters, split_words
from ixyfwd.model.wires.generator import GeneratorWire
from tests.testing.model_fakes import Bench, Clock
from tests.testing.model_frames import frame
from tests.testing.model_hand import DD, IOVA, PLAIN, RS, Hand, Ring

ALL_ONES = 0xFFFFFFFF
RST = 1 << 26
LINKS_UP = 1 << 30
SECOND_NS = 1_000_000_000


class Unused:
    """For kinds of the data path, which need neither link nor NVM."""


def injector(hand: Hand, number: int, clock: Clock | None = None) -> Injector:
    unused = Unused()
    return Injector(hand.ports[number], unused, unused, unused, clock or Clock(), card=unused)  # type: ignore[arg-type]


def counted(found: Injector, kind: str) -> int:
    return found.report()[kind]["count"]


def done(hand: Hand, ring: Ring, index: int) -> bool:
    return bool(hand.desc(ring, index)[1] >> 32 & DD)


def sent_frames(count: int) -> list[bytes]:
    return [frame(n) for n in range(count)]


# What can be asked for


def test_every_kind_has_usable_defaults() -> None:
    for kind in KINDS.values():
        values = read_parameters(kind, {})
        assert set(values) == {parameter.name for parameter in kind.all_parameters}
        assert read_parameters(kind, {name: value for name, value in values.items() if value is not None}) == values


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["queue=128"], "queue=128, expected a whole number from 0 to 127"),
        (["queue=1.5"], "a whole number"),
        (["queue=nan"], "a whole number"),
        (["direction=up"], "expected one of rx, tx, both"),
        (["speed=3"], "no parameter 'speed', expected queue, direction, seconds"),
        (["queue"], "found 'queue', expected key=value or off"),
        (["queue=1", "queue=2"], "queue is given twice"),
        (["seconds=0"], "a number from 0.001"),
    ],
)
def test_wrong_parameters_are_said(words: list[str], sentence: str) -> None:
    kind = find_kind("stuck-dd")
    with pytest.raises(UsageError, match=sentence):
        read_parameters(kind, split_words(kind, words))


def test_a_wrong_request_changes_nothing() -> None:
    with Hand() as hand:
        found = injector(hand, 0)
        with pytest.raises(UsageError, match="no misbehaviour is called 'rain'"):
            found.begin("rain", {})
        found.begin("rx-stall", {"queue": 3})
        with pytest.raises(UsageError, match="queue="):
            found.begin("rx-stall", {"queue": "x"})
        assert found.report()["rx-stall"]["parameters"] == {"queue": 3}
        with pytest.raises(UsageError, match="tx-stall is not injected; active: rx-stall"):
            found.end("tx-stall")


def test_an_injection_ends_after_its_seconds() -> None:
    with Hand() as hand:
        clock = Clock()
        found = injector(hand, 0, clock)
        found.begin("rx-stall", {"seconds": 2})
        clock.ns += 2 * SECOND_NS - 1
        found.tick()
        assert found.report()["rx-stall"]["active"]
        clock.ns += 1
        found.tick()
        assert not found.report()["rx-stall"]["active"]
        assert not hand.ports[0].injected.rx_stalls
        found.clear()
        assert found.report() == {}


# Stalls


@pytest.mark.parametrize("mapped", [True, False])
def test_rx_stall_drops_what_cannot_wait_and_counts_it(mapped: bool) -> None:
    with Hand(mapped=mapped) as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, entries=64), hand.tx_ring(b)
        found = injector(hand, 0)
        found.begin("rx-stall", {"queue": 0})
        hand.send(tx, sent_frames(5))
        assert hand.receive(rx) == []
        assert a.rx_head(0) == 0 and a.stats.qprdc[0] + a.stats.rxmpc[0] == 5
        found.end("rx-stall")
        hand.send(tx, sent_frames(3))
        assert [one.data for one in hand.receive(rx)] == sent_frames(3)
        hand.accounts_close(a)
        assert not hand.fault_kinds(a)


def test_rx_stall_makes_a_wire_wait_that_can() -> None:
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(GeneratorWire(flows=4, rate="max", count=20))
        rx = hand.rx_ring(a, entries=128)
        found = injector(hand, 0)
        found.begin("rx-stall", {})
        a.start_feed()
        hand.run(5)
        assert a.wire_stats()["generator"]["sent"] == 0
        found.end("rx-stall")
        hand.run(5)
        assert len(hand.receive(rx)) == 20
        hand.accounts_close(a)


def test_tx_stall_stops_the_head_of_one_queue() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx = hand.rx_ring(a, entries=64)
        tx = [hand.tx_ring(b, queue) for queue in (0, 1)]
        found = injector(hand, 1)
        found.begin("tx-stall", {"queue": 1})
        for ring in tx:
            hand.send(ring, sent_frames(4))
        assert (b.tx_head(0), b.tx_head(1)) == (4, 0)
        assert len(hand.receive(rx)) == 4
        found.end("tx-stall")
        hand.run()
        assert b.tx_head(1) == 4 and len(hand.receive(rx)) == 4
        hand.accounts_close(b)


# Write-backs


def test_stuck_dd_moves_data_and_heads_but_writes_nothing_back() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, entries=24), hand.tx_ring(b)
        hand.send(tx, sent_frames(20))
        assert len(hand.receive(rx)) == 20  # what is withheld lies across the end of the ring
        receiving, sending = injector(hand, 0), injector(hand, 1)
        receiving.begin("stuck-dd", {"direction": "rx"})
        sending.begin("stuck-dd", {"direction": "tx"})
        hand.send(tx, sent_frames(10))
        hand.send(tx, sent_frames(3))
        assert hand.receive(rx) == []
        assert a.rx_head(0) == 33 % 24 and b.tx_head(0) == 33
        assert hand.read(rx.buffers[20], 60) == frame(0)
        assert not any(done(hand, tx, index) for index in range(20, 33))
        assert counted(receiving, "stuck-dd") == counted(sending, "stuck-dd") == 13
        hand.accounts_close(a)  # written to memory and on their way: the head says so
        receiving.end("stuck-dd")
        sending.end("stuck-dd")
        assert [one.data for one in hand.receive(rx)] == sent_frames(10) + sent_frames(3)
        assert all(done(hand, tx, index) for index in range(20, 33))
        hand.send(tx, sent_frames(12))
        assert len(hand.receive(rx)) == 12
        assert not hand.fault_kinds(a) and not hand.fault_kinds(b)


def test_a_queue_that_stops_forgets_what_was_withheld() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        injector(hand, 0).begin("stuck-dd", {})
        hand.send(tx, sent_frames(4))
        a.stop_rx(0)
        again = hand.ring(a, True, 0, 16)
        again.buffers[:] = rx.buffers  # nobody's any more: posting them again is no fault
        assert a.start_rx(0)
        for index, buffer in enumerate(again.buffers):
            hand.set_desc(again, index, IOVA + buffer, 0)
        hand.tail(again, 15)
        hand.run()
        assert not hand.fault_kinds(a)


def test_stuck_dd_survives_a_mapping_that_goes_away() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        found = injector(hand, 0)
        found.begin("stuck-dd", {})
        hand.send(tx, sent_frames(4))
        a.unmap_all()
        found.end("stuck-dd")
        assert hand.receive(rx) == []
        assert hand.fault_kinds(a)["dma_unmapped"] >= 4


def test_a_driver_that_reposts_what_is_withheld_harms_nobody() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        injector(hand, 0).begin("stuck-dd", {})
        injector(hand, 1).begin("stuck-dd", {})
        for turn in range(40):
            hand.send(tx, sent_frames(7))
            hand.tail(rx, (a.rx_head(0) - 1) % 16)
            assert b.tx_head(0) == (turn + 1) * 7 % 64
        hand.accounts_close(a)
        hand.accounts_close(b)


def test_late_write_backs_come_together_after_their_time() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        found = injector(hand, 0)
        found.begin("late-write-back", {"us": 50_000_000, "direction": "rx"})
        hand.send(tx, sent_frames(3))
        assert hand.receive(rx) == []
        found.begin("late-write-back", {"us": 1, "direction": "rx"})  # the first three are due at once
        assert len(hand.receive(rx)) == 3
        hand.send(tx, sent_frames(2))
        for _ in range(100):
            hand.run()
        assert len(hand.receive(rx)) == 2
        hand.accounts_close(a)


def test_one_queue_is_overtaken_by_the_others() -> None:
    with Hand() as hand:
        a, b = hand.ports
        slow, fast = hand.rx_ring(a, 0, 64), hand.rx_ring(a, 1, 64)
        tx = hand.tx_ring(b)
        found = injector(hand, 0)
        found.begin("reorder", {"queue": 0, "descriptors": 4, "us": 60_000_000})
        hand.send(tx, sent_frames(5))
        assert hand.receive(slow) == []
        _steer_hashed_to_queue_1(hand)
        hand.send(tx, _hashed(3))
        assert len(hand.receive(fast)) == 3 and hand.receive(slow) == []
        hand.send(tx, _hashed(1))
        assert len(hand.receive(fast)) == 1
        hand.run()
        assert [one.data for one in hand.receive(slow)] == sent_frames(5)
        assert counted(found, "reorder") == 5
        hand.accounts_close(a)


def _steer_hashed_to_queue_1(hand: Hand) -> None:
    for index in range(32):
        hand.set(hand.ports[0], 0xEB00 + 4 * index, 0x01010101)
    hand.set(hand.ports[0], "MRQC", 1 | 0xF30000)


def _hashed(count: int) -> list[bytes]:
    header = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + bytes.fromhex("4500002e0000000040110000 0a000001 0a000002")
    return [header + bytes([0, n, 0, 80, 0, 26, 0, 0]) + bytes(18) for n in range(count)]


# Damage


@pytest.mark.parametrize("direction", ["rx", "tx"])
def test_every_third_frame_is_damaged_and_the_sink_sees_it(direction: str) -> None:
    with Hand(cable=False) as hand:
        a, b = hand.ports
        a.plug(GeneratorWire(flows=4, count=30, rate="max"))
        b.plug(GeneratorWire(count=0))
        rx, tx = hand.rx_ring(a, entries=128), hand.tx_ring(b)
        found = injector(hand, 0 if direction == "rx" else 1)
        found.begin("corrupt", {"direction": direction, "every": 3})
        a.start_feed()
        hand.run(3)
        frames = [one.data for one in hand.receive(rx)]
        hand.send(tx, frames)
        sink = b.wire_stats()["sink"]
        assert sink["corrupted"] == counted(found, "corrupt") == 10
        assert sink["received"] == 30 and sink["lost"] == sink["foreign"] == 0
        hand.accounts_close(a)
        hand.accounts_close(b)


def test_damage_on_the_way_out_leaves_the_drivers_buffer_alone() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        injector(hand, 1).begin("corrupt", {"direction": "tx", "every": 1, "offset": 20, "bits": 1})
        hand.send(tx, [frame(1)])
        [received] = hand.receive(rx)
        assert hand.read(tx.buffers[0], 60) == frame(1)
        assert [at for at in range(60) if received.data[at] != frame(1)[at]] == [20]
        assert received.data[20] ^ frame(1)[20] == 1


def test_damage_by_probability_repeats_for_a_seed_and_ends_after_its_count() -> None:
    patterns = []
    for _ in range(2):
        with Hand() as hand:
            a, b = hand.ports
            rx, tx = hand.rx_ring(a, entries=64), hand.tx_ring(b)
            found = injector(hand, 0)
            found.begin("corrupt", {"direction": "rx", "probability": 0.3, "seed": 7, "count": 5})
            hand.send(tx, sent_frames(60))
            patterns.append([one.data != frame(n) for n, one in enumerate(hand.receive(rx))])
            found.tick()
            assert not found.report()["corrupt"]["active"]
    assert patterns[0] == patterns[1] and sum(patterns[0]) == 5


# Doorbells


@pytest.mark.parametrize("mapped", [True, False])
def test_a_lost_doorbell_is_heard_with_the_next_one(mapped: bool) -> None:
    with Hand(mapped=mapped) as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, entries=64), hand.tx_ring(b)
        hand.run()
        found = injector(hand, 1)
        found.begin("lost-doorbell", {"every": 2, "direction": "tx"})
        hand.run()  # the doorbells of before have been heard
        for sent, heard in ((2, 2), (3, 2), (1, 6), (1, 6)):
            hand.send(tx, sent_frames(sent))
            assert b.tx_head(0) == heard
        assert counted(found, "lost-doorbell") == 2
        found.end("lost-doorbell")
        hand.run()
        assert b.tx_head(0) == 7 and len(hand.receive(rx)) == 7
        assert not hand.fault_kinds(b)


# Registers: link, presence, semaphore, NVM


def test_link_down_and_back() -> None:
    bench = Bench()
    bench.pass_ms(20)
    assert bench.read("LINKS") & LINKS_UP
    bench.port.injector.begin("link-down", {})
    assert not bench.read("LINKS") & LINKS_UP and not bench.datapath.link
    bench.port.set_cable(False)
    bench.port.set_cable(True)
    bench.pass_ms(1000)
    assert not bench.read("LINKS") & LINKS_UP, "the cable itself is not what keeps it down"
    bench.port.injector.end("link-down")
    bench.pass_ms(20)
    assert bench.read("LINKS") & LINKS_UP and bench.datapath.link


def test_a_flap_ends_after_its_count_with_the_link_up() -> None:
    bench = Bench()
    bench.pass_ms(20)
    bench.port.injector.begin("link-flap", {"period-ms": 100, "count": 3})
    seen = []
    for _ in range(40):
        seen.append(bool(bench.read("LINKS") & LINKS_UP))
        bench.pass_ms(10)
    changes = sum(before != after for before, after in pairwise(seen))
    assert changes == 5 and seen[-1]
    assert bench.port.injector.report()["link-flap"] == {
        "active": False,
        "parameters": {"period-ms": 100, "count": 3},
        "count": 3,
    }


def test_slow_link_adds_to_every_link_up() -> None:
    bench = Bench()
    bench.port.injector.begin("slow-link", {"delay-ms": 500})
    bench.write("CTRL", 1 << 26)
    bench.pass_ms(500)
    assert not bench.read("LINKS") & LINKS_UP
    bench.pass_ms(20)
    assert bench.read("LINKS") & LINKS_UP
    assert bench.port.injector.report()["slow-link"]["count"] == 1


def test_a_device_that_is_gone_reads_all_ones_everywhere_and_comes_back_reset() -> None:
    bench = Bench()
    bench.write_config(4, 2, 6)
    bench.write("RETA", 7)
    bench.port.injector.begin("device-gone", {})
    assert bench.read("STATUS") == bench.read("RETA") == ALL_ONES
    assert bench.config(0, 4) == ALL_ONES
    assert bench.port.region_read(4, 0, 16) == b"\xff" * 16
    bench.datapath.store[0x6018 // 4] = 5  # through a mapped page
    bench.port.tick()
    assert bench.datapath.store[0x6018 // 4] == ALL_ONES
    bench.write("RETA", 1)
    bench.port.reset()
    bench.port.disconnect()
    bench.pass_ms(100)
    assert bench.read("RETA") == ALL_ONES
    assert not bench.datapath.bus_master and not bench.datapath.link and not bench.port.link_up
    assert not bench.port.receiving
    bench.port.injector.end("device-gone")
    assert bench.config(0, 4) == 0x10FB8086 and bench.read("RETA") == 0
    bench.pass_ms(20)
    assert bench.read("LINKS") & LINKS_UP and bench.datapath.link
    assert bench.misuses() == []


def test_a_reset_hangs_until_it_does_not() -> None:
    bench = Bench()
    bench.write("RETA", 1)
    bench.port.injector.begin("reset-hang", {})
    for _ in range(2):
        bench.write("CTRL", RST)
        assert bench.read("CTRL") & RST and bench.read("RETA") == 0
    assert bench.port.injector.report()["reset-hang"]["count"] == 2
    bench.port.injector.end("reset-hang")
    assert not bench.read("CTRL") & RST
    bench.write("CTRL", RST)
    assert not bench.read("CTRL") & RST


def test_smbi_is_held_until_it_is_not() -> None:
    bench = Bench()
    bench.port.injector.begin("smbi-held", {})
    for _ in range(3):
        assert bench.read("SWSM") & 1
        bench.write("SWSM", 0)
    assert bench.port.injector.report()["smbi-held"]["count"] == 3
    bench.port.injector.end("smbi-held")
    assert not bench.read("SWSM") & 1


def test_the_checksum_is_wrong_and_right_again() -> None:
    bench = Bench()
    right = _nvm_sum(bench)
    assert right == 0xBABA
    bench.port.injector.begin("eeprom-checksum", {})
    assert _nvm_sum(bench) != right
    bench.port.injector.begin("eeprom-checksum", {})
    bench.port.injector.clear()
    assert _nvm_sum(bench) == right


def _nvm_sum(bench: Bench) -> int:
    total = 0
    for word in range(0x40):
        bench.write("EERD", word << 2 | 1)
        total += bench.read("EERD") >> 16
    return total & 0xFFFF


def test_a_tx_descriptor_that_is_done_is_seen_by_these_tests() -> None:
    with Hand() as hand:
        hand.rx_ring(hand.ports[0])
        tx = hand.tx_ring(hand.ports[1])
        hand.send(tx, sent_frames(1), flags=PLAIN | RS)
        assert done(hand, tx, 0)
