"""Generator and sink: what is sent is right, what comes back is judged right."""

import struct
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.all import IP, UDP, Ether

from ixyfwd.errors import UsageError
from ixyfwd.model.turn import idle_latency, turn
from ixyfwd.model.wires.generator import GeneratorWire
from ixyfwd.traffic.flows import end_points, template
from ixyfwd.traffic.schedule import IMIX, make_schedule
from tests.testing.model_hand import HASH_ALL, HASH_IP, MICROSOFT_KEY, SYMMETRIC_KEY, Hand


class Bench(Hand):
    """A generator and a sink at each of two ports; what port a receives is taken by hand."""

    def __init__(self, wire: GeneratorWire, far: GeneratorWire | None = None, entries: int = 256) -> None:
        super().__init__(cable=False)
        self.a, self.b = self.ports
        self.a.plug(wire)
        self.b.plug(far or GeneratorWire(count=0))
        self.rx = self.rx_ring(self.a, entries=entries)
        self.tx = self.tx_ring(self.b, entries=256)
        self.a.start_feed()

    def frames(self, count: int) -> list[bytes]:
        """The next frames of port a's generator."""
        found: list[bytes] = []
        while len(found) < count:
            self.run()
            new = [one.data for one in self.receive(self.rx)]
            assert new, "the generator stopped"
            found += new
        return found[:count]

    def sink(self) -> dict[str, Any]:
        found: dict[str, Any] = self.b.wire_stats()["sink"]
        return found

    def judge(self, frames: list[bytes]) -> dict[str, Any]:
        for at in range(0, len(frames), 200):
            self.send(self.tx, frames[at : at + 200])
        assert not self.fault_kinds(self.b)
        return self.sink()


TROUBLES = ("lost", "reordered", "duplicated", "corrupted", "foreign")


def troubles(sink: dict[str, Any]) -> dict[str, int]:
    return {key: sink[key] for key in TROUBLES if sink[key]}


# what is sent


@pytest.mark.parametrize("size", [64, 65, 128, 570, 1518])
def test_frames_are_what_they_should_be(size: int) -> None:
    with Bench(GeneratorWire(flows=5, frames=((size, 1),), rate="max", count=20)) as bench:
        frames = bench.frames(20)
        for number, data in enumerate(frames):
            packet = Ether(data)
            flow, sequence = number % 5, number // 5
            a, b, port_a, port_b = end_points(flow)
            assert len(data) == size - 4
            assert packet[Ether].dst == "02:00:00:00:00:00" and packet[Ether].src == "02:00:00:00:01:00"
            assert packet[IP].src == ".".join(map(str, a.to_bytes(4, "big")))
            assert packet[IP].dst == ".".join(map(str, b.to_bytes(4, "big")))
            assert (packet[UDP].sport, packet[UDP].dport, packet[UDP].chksum) == (port_a, port_b, 0)
            assert packet[IP].len == size - 18 and packet[UDP].len == size - 38
            del packet[IP].chksum
            assert Ether(bytes(packet))[IP].chksum == Ether(data)[IP].chksum
            assert struct.unpack_from("<BBIB3xI", data, 42) == (0, 0xA5, flow, 0, sequence)
        assert not bench.fault_kinds(bench.a)
        stats = bench.a.wire_stats()["generator"]
        assert stats["sent"] == 20 and stats["sent_bytes"] == 20 * size
        assert bench.a.feed_done() and bench.a.stats.gprc == 20
        assert bench.a.wire_stats()["totals"] == {"in": 20, "out": 0, "shortfall": stats["shortfall"]}
        bench.accounts_close(bench.a)


def test_the_generator_writes_exactly_the_frame() -> None:
    """Not a byte behind it: the next buffer is not the chip's to write."""
    with Bench(GeneratorWire(flows=1, rate="max", count=3)) as bench:
        for buffer in bench.rx.buffers[:4]:
            bench.write(buffer, b"\xee" * 2048)
        bench.run()
        for buffer in bench.rx.buffers[:3]:
            assert bench.read(buffer + 60, 1988) == b"\xee" * 1988
        assert bench.read(bench.rx.buffers[3], 2048) == b"\xee" * 2048


def test_a_given_mac_is_the_destination() -> None:
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(GeneratorWire(count=1, rate="max"), mac="00:1b:21:aa:bb:cc")
        rx = hand.rx_ring(a)
        a.start_feed()
        hand.run()
        assert hand.receive(rx)[0].data[:6] == bytes.fromhex("001b21aabbcc")


def test_both_ports_send_the_two_directions_of_a_flow() -> None:
    for flow in (0, 1, 63, 70000):
        there, back = (Ether(template(flow, 64, n, b"\2" * 6, b"\4" * 6)[:60]) for n in (0, 1))
        assert (there[IP].src, there[IP].dst) == (back[IP].dst, back[IP].src)
        assert (there[UDP].sport, there[UDP].dport) == (back[UDP].dport, back[UDP].sport)


def test_flows_differ() -> None:
    assert len({end_points(flow) for flow in range(100_000)}) == 100_000


@pytest.mark.parametrize("queues", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("fields", [HASH_ALL, HASH_IP])
def test_64_flows_spread_evenly_under_the_symmetric_key(queues: int, fields: int) -> None:
    counts = spread(SYMMETRIC_KEY, queues, fields)
    assert max(counts.values()) - min(counts.values()) <= 1 and len(counts) == queues


def test_64_flows_reach_every_queue_under_the_microsoft_key() -> None:
    counts = spread(MICROSOFT_KEY, 16, HASH_ALL)
    assert len(counts) >= 14 and max(counts.values()) <= 12


def spread(key: bytes, queues: int, fields: int) -> Counter[int]:
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        hand.rss(a, key, fields, queues)
        a.plug(GeneratorWire(flows=64, count=64, rate="max"))
        rings = [hand.rx_ring(a, queue, 80) for queue in range(queues)]
        a.start_feed()
        hand.run(4)
        return Counter({ring.queue: len(hand.receive(ring)) for ring in rings})


# sizes and rates


def test_imix_shares_are_exact() -> None:
    with Bench(GeneratorWire(flows=7, frames=IMIX, rate="max")) as bench:
        sizes = Counter(len(data) + 4 for data in bench.frames(12 * 7 * 8))
        assert sizes == {64: 7 * 7 * 8, 570: 4 * 7 * 8, 1518: 1 * 7 * 8}


@given(st.dictionaries(st.integers(64, 1518), st.integers(1, 12), min_size=1, max_size=6))
@settings(deadline=None)
def test_a_schedule_has_the_weights_and_spreads_them(weights: dict[int, int]) -> None:
    sizes, order = make_schedule(tuple(weights.items()), 1514)
    counts = Counter(order)
    total = sum(weights.values())
    assert {sizes[i] + 4: count * total // len(order) for i, count in counts.items()} == weights
    for prefix in range(len(order)):  # at no point is a size more than one turn ahead of or behind its share
        for index, size in enumerate(sizes):
            share = weights[size + 4] * prefix / total
            assert abs(order[:prefix].count(index) - share) <= len(sizes)


@pytest.mark.parametrize(
    "frames",
    [((63, 1),), ((15877, 1),), ((64, 0),), (), ((64, 4099), (65, 4097))],
    ids=["short", "long", "0", "none", "big"],
)
def test_impossible_sizes_are_refused(frames: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Bench(GeneratorWire(frames=frames))


@pytest.mark.parametrize("wire", [{"flows": 0}, {"rate": 0.0}, {"rate": -1.0}, {"rate": "recorded"}, {"count": -1}])
def test_impossible_generators_are_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"port a: .*expected"):
        Bench(GeneratorWire(**wire))


def timed_run(wire: GeneratorWire, milliseconds: int) -> tuple[int, int, int]:
    """(frames sent or given up, least and most ns of feeding) into a port whose queue is off, so that nothing holds the
    wire back; or, if it waits, into a ring that is soon full."""
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(wire)
        if wire.full == "wait":
            hand.rx_ring(a)
        hand.run()
        before = time.monotonic_ns()
        a.start_feed()
        started = time.monotonic_ns()
        hand.datapath.run(-1, milliseconds * 1_000_000, False)
        stopping = time.monotonic_ns()
        hand.run()  # settles the account up to some moment between the two readings
        stats = a.wire_stats()["generator"]
        assert stats["sent"] == a.stats.tpr
        return stats["sent"] + stats["shortfall"], stopping - started, time.monotonic_ns() - before


@pytest.mark.parametrize(
    "wire,frame_ns",
    [
        (GeneratorWire(rate="line"), 84 * 0.8),
        (GeneratorWire(rate="line", frames=((1518, 1),)), 1538 * 0.8),
        (GeneratorWire(rate="line", frames=IMIX), (7 * 84 + 4 * 590 + 1538) / 12 * 0.8),
        (GeneratorWire(rate=1e5), 1e4),
        (GeneratorWire(rate=5e6), 200),
        (GeneratorWire(rate="line", full="wait"), 84 * 0.8),
        (GeneratorWire(rate=1e5, full="wait"), 1e4),
    ],
    ids=["64 line", "1518 line", "imix line", "100k", "5M", "waits at line", "waits at 100k"],
)
def test_a_paced_generator_keeps_its_rate(wire: GeneratorWire, frame_ns: float) -> None:
    """Sent and given up together are what the time that passed allows, however slow the machine is."""
    done, least_ns, most_ns = timed_run(wire, 60)
    catching_up_ns = 17_000
    assert (least_ns - catching_up_ns) / frame_ns * 0.995 - 30 <= done <= most_ns / frame_ns * 1.005 + 30


def test_no_catching_up_after_a_pause() -> None:
    """A model that was away sends a burst worth 16 us at most; the rest is shortfall."""
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(GeneratorWire(rate=1e6))
        hand.run()
        a.start_feed()
        hand.run()
        before = a.wire_stats()["generator"]
        time.sleep(0.05)
        hand.run()
        after = a.wire_stats()["generator"]
        assert after["sent"] - before["sent"] <= 17
        assert after["shortfall"] - before["shortfall"] >= 49_000


@pytest.mark.parametrize("off", ["feed", "link"])
def test_time_off_is_no_shortfall(off: str) -> None:
    """Sent and given up together are no more than what the time on allows, however slow the machine is."""
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(GeneratorWire(rate=1e6))
        begun_ns = time.monotonic_ns()
        a.start_feed()
        hand.run()
        a.stop_feed() if off == "feed" else a.set_link(False)
        off_ns = time.monotonic_ns()
        time.sleep(0.1)
        hand.run()
        off_ns = time.monotonic_ns() - off_ns
        a.start_feed() if off == "feed" else a.set_link(True)
        hand.run()
        found = a.wire_stats()["generator"]
        on_ns = time.monotonic_ns() - begun_ns - off_ns
        assert found["sent"] + found["shortfall"] <= on_ns / 1000 * 1.005 + 30


def test_max_pauses_while_half_a_ring_is_with_the_driver() -> None:
    """So that a forwarder's tx ring of the same size always has room, but for the 32 descriptors of an RS interval."""
    with Bench(GeneratorWire(rate="max", flows=3), entries=256) as bench:
        bench.run(50)
        assert bench.a.stats.gprc == (255 - 31) // 2
        bench.receive(bench.rx)
        bench.run(50)
        assert bench.a.stats.gprc == 2 * ((255 - 31) // 2)


def test_max_does_not_wait_for_room_for_a_group_for_ever() -> None:
    """Descriptors given back two at a time are less than a group: their frames come, some rounds later."""
    with Bench(GeneratorWire(rate="max", flows=3), entries=256) as bench:
        bench.run(50)
        sent = (255 - 31) // 2
        assert len(bench.receive(bench.rx, refill=False)) == sent
        for tail in range(1, 11, 2):
            bench.tail(bench.rx, tail)
            bench.run(50)
            sent += 2
            assert bench.a.stats.gprc == sent
        bench.accounts_close(bench.a)


def test_no_flow_is_passed_over_when_a_ring_fills() -> None:
    with Bench(GeneratorWire(rate="max", flows=7), entries=256) as bench:
        flows = [struct.unpack_from("<I", data, 44)[0] for data in bench.frames(500)]
        assert flows == [number % 7 for number in range(500)]


def test_max_never_overruns_the_port() -> None:
    with Bench(GeneratorWire(rate="max", flows=3), entries=16) as bench:
        bench.run(50)
        s = bench.a.stats
        assert s.gprc == s.tpr == 15 and sum(s.qprdc) + sum(s.rxmpc) == 0
        assert bench.a.wire_stats()["generator"]["sent"] == 15


@pytest.mark.parametrize("off", ["rxen", "queue", "master"])
def test_max_waits_for_a_port_that_is_not_ready(off: str) -> None:
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(GeneratorWire(rate="max", count=10))
        hand.set(a, "RXCTRL", 0 if off == "rxen" else 1)
        a.set_bus_master(off != "master")
        rx = None if off == "queue" else hand.rx_ring(a, post=0)
        a.start_feed()
        hand.run(5)
        assert a.stats.tpr == 0 and not a.feed_done()
        hand.set(a, "RXCTRL")
        a.set_bus_master(True)
        if rx:
            hand.tail(rx, 15)
        else:
            rx = hand.rx_ring(a)
        hand.run(5)
        assert len(hand.receive(rx)) == 10 and a.feed_done()
        hand.accounts_close(a)


def test_a_full_queue_does_not_stop_the_flows_of_another() -> None:
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        hand.rss(a, SYMMETRIC_KEY, HASH_ALL, 2)
        a.plug(GeneratorWire(flows=64, rate="max"))
        full, free = hand.rx_ring(a, 0, 16, post=3), hand.rx_ring(a, 1, 256)
        a.start_feed()
        got = 0
        for _ in range(40):
            hand.run(20)
            got += len(hand.receive(free))
        assert len(hand.receive(full, refill=False)) == 3 and got > 1000


def test_a_paced_generator_overruns_a_full_port() -> None:
    with Bench(GeneratorWire(rate="line", count=1000), entries=16) as bench:
        while not bench.a.feed_done():
            bench.run()
        s = bench.a.stats
        assert s.qprc[0] == 15 and s.qprdc[0] == 985 and s.gprc == 1000
        bench.accounts_close(bench.a)


@pytest.mark.parametrize("entries", [16, 256])
def test_a_paced_generator_that_waits_never_overruns_a_full_port(entries: int) -> None:
    with Bench(GeneratorWire(rate="line", flows=3, full="wait"), entries=entries) as bench:
        room = 15 if entries == 16 else (255 - 31) // 2
        for turn in range(1, 4):
            while bench.a.stats.gprc < turn * room or bench.a.wire_stats()["generator"]["shortfall"] < turn * 100:
                bench.run()
            s = bench.a.stats
            assert s.gprc == s.tpr == turn * room and sum(s.qprdc) + sum(s.rxmpc) == 0
            assert len(bench.receive(bench.rx)) == room
        bench.accounts_close(bench.a)


def test_a_generator_that_waited_goes_on_at_its_rate_and_makes_nothing_good() -> None:
    with Bench(GeneratorWire(rate=1e5, flows=3, full="wait"), entries=256) as bench:
        while bench.a.wire_stats()["generator"]["shortfall"] < 1000:
            bench.run()
        bench.receive(bench.rx)  # room for 112 frames, which fell due long ago
        before, sent = time.monotonic_ns(), bench.a.wire_stats()["generator"]["sent"]
        bench.run(3)
        bursts = bench.a.wire_stats()["generator"]["sent"] - sent
        assert bursts <= (time.monotonic_ns() - before) / 1e4 + 3
        while bench.a.wire_stats()["generator"]["sent"] < sent + 20:
            bench.run()
        assert sum(bench.a.stats.qprdc) == 0
        bench.accounts_close(bench.a)


@pytest.mark.parametrize("special", ["crc", "strip", "legacy", "small buffers", "filtered"])
def test_special_ports_get_the_same_frames_the_general_way(special: str) -> None:
    wire = GeneratorWire(flows=4, frames=((64, 1), (1518, 1)), rate="max", count=40)
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(wire)
        if special == "crc":
            hand.set(a, "HLREG0", 0x08012C09)
        if special == "filtered":
            hand.set(a, "FCTRL", 0)
        srrctl = {"legacy": 1 << 28 | 2, "small buffers": 1 << 28 | 1 << 25 | 1}.get(special, 1 << 28 | 1 << 25 | 2)
        rx = hand.rx_ring(a, entries=256, srrctl=srrctl, rxdctl=1 << 25 | (special == "strip") << 30)
        a.start_feed()
        hand.run(5)
        assert a.feed_done() and a.stats.tpr == 40
        if special == "filtered":
            assert a.stats.rx_filtered == 40
        elif special == "legacy":
            lengths = [hand.desc(rx, n)[1] & 0xFFFF for n in range(40)]
            assert Counter(lengths) == {60: 20, 1514: 20}
        else:
            extra = 4 if special == "crc" else 0
            assert Counter(len(one.data) for one in hand.receive(rx)) == {60 + extra: 20, 1514 + extra: 20}
        assert not hand.fault_kinds(a)
        hand.accounts_close(a)


def test_a_new_configuration_is_followed_at_once() -> None:
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        hand.rss(a, SYMMETRIC_KEY, HASH_ALL, 1)
        a.plug(GeneratorWire(flows=16, rate="max"))
        rings = [hand.rx_ring(a, queue, 128) for queue in range(2)]
        a.start_feed()
        hand.run(1)
        first = [len(hand.receive(ring)) for ring in rings]
        for index in range(32):
            hand.set(a, 0xEB00 + 4 * index, 0x01010101)
        hand.run(1)
        second = [len(hand.receive(ring)) for ring in rings]
        assert first[0] > 0 == first[1] and second[1] > 0 == second[0]


# the sink


def test_untouched_traffic_is_clean() -> None:
    with Bench(GeneratorWire(flows=9, frames=IMIX, rate="max", count=1000)) as bench:
        frames = bench.frames(1000)
        sink = bench.judge(frames)
        assert troubles(sink) == {} and sink["received"] == 1000 and sink["touched"] == 0
        assert sink["bytes"] == sum(len(data) + 4 for data in frames)
        assert (sink["flows_seen"], sink["flows_on_several_queues"]) == (9, 0)
        latency = sink["latency_ns"]
        assert latency["count"] == 1000 and latency["sampled_every"] == 1
        steps = [latency[key] for key in ("p50", "p90", "p99", "p999", "p9999", "max")]
        assert steps == sorted(steps) and steps[0] > 0


def test_lost_frames() -> None:
    with Bench(GeneratorWire(flows=4, rate="max")) as bench:
        frames = bench.frames(400)
        gone = {0, 40, 41, 44, 45, 46, 47, 48, 200}
        sink = bench.judge([data for n, data in enumerate(frames) if n not in gone])
        assert troubles(sink) == {"lost": len(gone)}


def test_reordered_frames_are_not_lost() -> None:
    with Bench(GeneratorWire(flows=1, rate="max")) as bench:
        frames = bench.frames(300)
        frames[10], frames[11] = frames[11], frames[10]
        frames.insert(160, frames.pop(100))  # 60 places late
        sink = bench.judge(frames)
        assert troubles(sink) == {"reordered": 2}


def test_very_late_frames_stay_lost() -> None:
    with Bench(GeneratorWire(flows=1, rate="max")) as bench:
        frames = bench.frames(300)
        frames.insert(200, frames.pop(100))
        assert troubles(bench.judge(frames)) == {"lost": 1, "reordered": 1}


def test_duplicates() -> None:
    with Bench(GeneratorWire(flows=2, rate="max")) as bench:
        frames = bench.frames(100)
        frames.insert(51, frames[50])
        frames.insert(80, frames[60])
        frames.append(frames[-1])
        assert troubles(bench.judge(frames)) == {"duplicated": 3}


def test_interleaving_flows_is_not_reordering() -> None:
    with Bench(GeneratorWire(flows=8, rate="max")) as bench:
        frames = bench.frames(400)
        assert troubles(bench.judge([data for flow in range(8) for data in frames[flow::8]])) == {}


@pytest.mark.parametrize("at", [0, 5, 6, 13, 14, 24, 29, 33, 34, 41, 44, 49, 51, 60, 1513])
def test_one_flipped_bit_is_corruption_and_not_loss(at: int) -> None:
    with Bench(GeneratorWire(flows=2, frames=((1518, 1),), rate="max")) as bench:
        frames = bench.frames(30)
        broken = bytearray(frames[10])
        broken[at] ^= 0x40
        found = troubles(bench.judge([*frames[:10], bytes(broken), *frames[11:]]))
        lost = 1 if at == 44 else 0  # a wrong flow number hides which frame this was
        assert found == {"corrupted": 1, **({"lost": lost} if lost else {})}


def test_payload_verification_ignores_headers() -> None:
    far = GeneratorWire(count=0, verify="payload")
    with Bench(GeneratorWire(flows=2, rate="max"), far) as bench:
        frames = bench.frames(20)
        frames[3] = b"\xaa" * 12 + frames[3][12:22] + b"\x11" + frames[3][23:]
        broken = bytearray(frames[5])
        broken[50] = 1
        frames[5] = bytes(broken)
        assert troubles(bench.judge(frames)) == {"corrupted": 1}


def test_wrong_length_is_corruption() -> None:
    with Bench(GeneratorWire(flows=1, frames=((128, 1),), rate="max")) as bench:
        frames = bench.frames(10)
        frames[4] = frames[4][:-1]
        assert troubles(bench.judge(frames)) == {"corrupted": 1}


def test_the_touched_byte_may_be_one_up() -> None:
    with Bench(GeneratorWire(flows=3, rate="max")) as bench:
        frames = [data[:48] + bytes([n % 3 == 0]) + data[49:] for n, data in enumerate(bench.frames(90))]
        frames[7] = frames[7][:48] + b"\x02" + frames[7][49:]
        sink = bench.judge(frames)
        assert sink["touched"] == 30 and troubles(sink) == {"corrupted": 1}


def test_strangers_are_foreign() -> None:
    with Bench(GeneratorWire(flows=3, rate="max")) as bench:
        frames = bench.frames(30)
        stranger = frames[0][:42] + b"\x07" + frames[0][43:]  # of a generator that does not exist
        sink = bench.judge([*frames[:10], b"\xff" * 60, bytes(17), stranger, *frames[10:]])
        assert troubles(sink) == {"foreign": 3} and sink["received"] == 33


def test_a_flow_on_two_queues_is_seen() -> None:
    with Bench(GeneratorWire(flows=4, rate="max")) as bench:
        frames = bench.frames(40)
        other = bench.tx_ring(bench.b, 70, 64)
        bench.judge(frames[:8])
        bench.send(other, [data for data in frames[8:] if data[44] == 2])
        sink = bench.sink()
        assert (sink["flows_seen"], sink["flows_on_several_queues"]) == (4, 1)
        assert bench.b.queues_of_flow(2) == (0, 70) and bench.b.queues_of_flow(1) == (0,)
        assert bench.datapath.flow_queues() == {0: (0,), 1: (0,), 2: (0, 70), 3: (0,)}


def test_both_directions_of_a_flow_are_joined() -> None:
    with Hand(cable=False) as hand:
        a, b = hand.ports
        rings = {}
        for number, port in enumerate((a, b)):
            port.plug(GeneratorWire(flows=3, rate="max", count=9))
            port.start_feed()
            rings[number] = hand.rx_ring(port), hand.tx_ring(port, queue=4 + number)
        hand.run(2)
        for number in (0, 1):
            frames = [one.data for one in hand.receive(rings[number][0])]
            hand.send(rings[1 - number][1], frames)
        assert hand.datapath.flow_queues() == dict.fromkeys(range(3), (4, 5))


def test_stamps_measure_the_time_between_wire_and_wire() -> None:
    with Bench(GeneratorWire(flows=1, rate="max", count=50)) as bench:
        frames = bench.frames(50)
        time.sleep(0.02)
        latency = bench.judge(frames)["latency_ns"]
        assert latency["p50"] * 1.04 >= 20_000_000 and latency["max"] >= latency["p9999"] >= 20_000_000
        assert latency["p50"] <= latency["max"]


def test_a_hundred_thousand_frames_turned_by_hand_arrive_whole() -> None:
    wire = GeneratorWire(flows=100, frames=IMIX, rate="max")
    done = turn(wire, queues=3, ring=128, batch=48, frames=100_000)  # raises if sinks or model complain
    assert done.frames >= 100_000


def test_the_models_own_latency_is_measured_though_frames_are_lost() -> None:
    """A null driver that is too slow on purpose: one frame at a time, and a new one every 5 ns."""
    wire = GeneratorWire(flows=4, frames=((64, 1),), rate=2e8)
    for stats in idle_latency(wire, duration_s=0.0002, ring=64, batch=1):
        assert stats["sink"]["lost"] > 0 and stats["sink"]["latency_ns"]["buckets"]
