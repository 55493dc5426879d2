"""Transmit offloads: checksums, segmentation and tags, judged by scapy (datasheet 7.2.3 to 7.2.5)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, PadN
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkCookieAck
from scapy.packet import Packet, Raw

from tests.testing.model_frames import frame
from tests.testing.model_hand import CONTEXT, DATA, DD, DEXT, EOP, IC, IFCS, IOVA, PLAIN, RS, TSE, VLE, Hand, Ring

IXSM, TXSM, CC = 1 << 8, 2 << 8, 1 << 7  # dword 3
IPV4, UDP_TYPE, TCP_TYPE, SCTP_TYPE = 1 << 10, 0, 1 << 11, 2 << 11  # dword 2 of a context
FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80
JUMBO = 0x08012C0F  # HLREG0 with JUMBOEN
PROTOCOLS = {TCP: (TCP_TYPE, 16, 6), UDP: (UDP_TYPE, 6, 17), SCTP: (SCTP_TYPE, 8, 132)}  # L4T, checksum at, number


@dataclass(frozen=True)
class Prepared:
    """A packet as software leaves it to the chip."""

    raw: bytes
    ip_at: int
    l4_at: int
    payload_at: int
    ipv4: bool
    l4_type: int

    def context(self, *, index: int = 0, mss: int = 0, vlan: int = 0) -> tuple[int, int]:
        q0 = vlan << 16 | self.ip_at << 9 | self.l4_at - self.ip_at
        d2 = CONTEXT | DEXT | self.l4_type | (IPV4 if self.ipv4 else 0)
        return q0, (mss << 16 | self.payload_at - self.l4_at << 8 | index << 4) << 32 | d2

    @property
    def sums(self) -> int:
        return TXSM | (IXSM if self.ipv4 else 0)


def ones_sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def prepare(packet: Packet, *, segment: bool = False) -> Prepared:
    """Zero in the IPv4 checksum, the pseudo header's sum (without the length to segment) in that of L4."""
    raw = bytearray(bytes(packet))
    ip = packet.getlayer(IP) or packet.getlayer(IPv6)
    ipv4 = isinstance(ip, IP)
    kind = next(one for one in PROTOCOLS if packet.haslayer(one))
    l4_type, field, number = PROTOCOLS[kind]
    ip_at, l4_at = len(raw) - len(bytes(ip)), len(raw) - len(bytes(packet[kind]))
    payload_at = l4_at + {TCP: raw[l4_at + 12] // 16 * 4 if kind is TCP else 0, UDP: 8, SCTP: 12}[kind]
    if ipv4:
        raw[ip_at + 10 : ip_at + 12] = b"\0\0"
        addresses = bytes(raw[ip_at + 12 : ip_at + 20])
    else:
        addresses = bytes(raw[ip_at + 8 : ip_at + 40])
    pseudo = addresses + struct.pack(">II", number, 0 if segment else len(raw) - l4_at)
    if kind is SCTP:
        raw[l4_at + 8 : l4_at + 12] = bytes(4)
    else:
        raw[l4_at + field : l4_at + field + 2] = struct.pack(">H", ones_sum(pseudo))
    if segment:  # the chip fills them in
        length_at = ip_at + (2 if ipv4 else 4)
        raw[length_at : length_at + 2] = b"\0\0"
    return Prepared(bytes(raw), ip_at, l4_at, payload_at, ipv4, l4_type)


def give(hand: Hand, tx: Ring, raw: bytes, d2: int, d3: int, *, cuts: Sequence[int] = ()) -> None:
    """Data descriptors of a frame, cut at `cuts` and wherever a buffer ends."""
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw)), *range(0, len(raw), 2048)})
    for start, end in pairwise(edges):
        buffer = tx.buffers[tx.next]
        hand.write(buffer, raw[start:end])
        last = EOP | d2 & RS if end == len(raw) else 0
        hand.set_desc(tx, tx.next, IOVA + buffer, d3 << 32 | d2 & ~(EOP | RS) | last | end - start)
        tx.next = (tx.next + 1) % tx.entries


def give_context(hand: Hand, tx: Ring, context: tuple[int, int]) -> None:
    hand.set_desc(tx, tx.next, *context)
    tx.next = (tx.next + 1) % tx.entries


def tagged(raw: bytes, vlan: int | None) -> bytes:
    return raw if vlan is None else raw[:12] + struct.pack(">HH", 0x8100, vlan) + raw[12:]


def payload(size: int) -> bytes:
    return bytes((i * 7 + (i >> 8) * 31 + 5) & 255 for i in range(size))


@dataclass(frozen=True)
class Shape:
    kind: type[Packet]
    version: int = 4
    extras: int = 0  # words of IPv4 options, or whether IPv6 has an extension header
    inner: bool = False  # a tag that software has put in
    size: int = 100

    def packet(self, **fields: Any) -> Packet:
        """The packet with every length and checksum right; `fields` are those of TCP or UDP."""
        link = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01")
        if self.inner:
            link /= Dot1Q(vlan=77)
        if self.version == 4:
            net = IP(src="10.1.2.3", dst="10.200.5.6", id=0xFFFE, options=[IPOption_NOP()] * (4 * self.extras))
        else:
            net = IPv6(src="fd00::1:2", dst="fd00:ffff::abcd")
            if self.extras:
                net /= IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
        data = Raw(payload(self.size))
        if self.kind is SCTP:
            return Ether(bytes(link / net / SCTP(sport=5, dport=6, tag=9) / SCTPChunkCookieAck() / data))
        return Ether(bytes(link / net / self.kind(sport=4660, dport=80, **fields) / data))


def open_pair(hand: Hand) -> tuple[Ring, Ring]:
    a, b = hand.ports
    hand.set(a, "HLREG0", JUMBO)
    hand.set(a, "MAXFRS", 16000 << 16)
    return hand.rx_ring(a, entries=2048), hand.tx_ring(b, entries=128)


def arrive(hand: Hand, rx: Ring, tx: Ring) -> list[bytes]:
    hand.tail(tx, tx.next)
    hand.run(2)
    return [one.data for one in hand.receive(rx)]


def check_counts(hand: Hand, expected: list[bytes]) -> None:
    """The sender counts what left, the receiver found nothing wrong."""
    a, b = hand.ports
    assert not hand.fault_kinds(a) and not hand.fault_kinds(b)
    assert b.stats.gptc == len(expected) and b.stats.gotc == sum(len(one) + 4 for one in expected)
    assert a.stats.xec == 0 and b.stats.tx_dropped == 0
    hand.accounts_close(a)
    hand.accounts_close(b)


vlans = st.one_of(st.none(), st.integers(0, 0xFFFF))
cuttings = st.lists(st.integers(1, 1600), max_size=4)


def shapes(kinds: list[type[Packet]], sizes: st.SearchStrategy[int]) -> st.SearchStrategy[Shape]:
    return st.builds(Shape, st.sampled_from(kinds), st.sampled_from([4, 6]), st.integers(0, 10), st.booleans(), sizes)


@settings(max_examples=150, deadline=None)
@given(shapes([TCP, UDP, SCTP], st.integers(0, 3000)), vlans, cuttings, st.integers(0, 1))
def test_checksums_of_any_frame(shape: Shape, vlan: int | None, cuts: list[int], index: int) -> None:
    packet = shape.packet()
    ready = prepare(packet)
    expected = tagged(bytes(packet), vlan).ljust(60, b"\0")
    with Hand() as hand:
        rx, tx = open_pair(hand)
        give_context(hand, tx, ready.context(index=index, vlan=vlan or 0))
        flags = PLAIN | (0 if vlan is None else VLE)
        give(hand, tx, ready.raw, flags, len(ready.raw) << 14 | ready.sums | index << 4, cuts=cuts)
        assert arrive(hand, rx, tx) == [expected]
        check_counts(hand, [expected])


def test_each_checksum_is_inserted_only_when_asked_for() -> None:
    ready = prepare(Shape(TCP, size=100).packet())
    whole = bytes(Shape(TCP, size=100).packet())
    with Hand() as hand:
        rx, tx = open_pair(hand)
        give_context(hand, tx, ready.context())
        for d3 in (0, IXSM, TXSM, IXSM | TXSM):
            give(hand, tx, ready.raw, PLAIN, len(ready.raw) << 14 | d3)
        none, ip, tcp, both = arrive(hand, rx, tx)
    assert none == ready.raw and both == whole
    assert ip == whole[:50] + ready.raw[50:52] + whole[52:]
    assert tcp == whole[:24] + ready.raw[24:26] + whole[26:]


def test_a_udp_checksum_of_zero_is_sent_as_all_ones() -> None:
    packet = Shape(UDP, size=20).packet()
    rest = 0xFFFF - packet[UDP].chksum
    raw = bytes(packet)[:-2] + struct.pack(">H", ones_sum(bytes(packet)[-2:] + struct.pack(">H", 0xFFFF - rest)))
    packet = Ether(raw)
    del packet[UDP].chksum
    packet = Ether(bytes(packet))
    ready = prepare(packet)
    assert packet[UDP].chksum == 0xFFFF
    with Hand() as hand:
        rx, tx = open_pair(hand)
        give_context(hand, tx, ready.context())
        give(hand, tx, ready.raw, PLAIN, len(ready.raw) << 14 | ready.sums)
        assert arrive(hand, rx, tx) == [bytes(packet)]


def segments(packet: Packet, mss: int, vlan: int | None) -> list[bytes]:
    """What must leave: built by scapy, each segment a packet of its own."""
    kind = TCP if packet.haslayer(TCP) else UDP
    data = bytes(packet[kind].payload)
    found = []
    for number, at in enumerate(range(0, len(data), mss)):
        one = packet.copy()
        one[kind].remove_payload()
        one[kind].add_payload(Raw(data[at : at + mss]))
        for layer, fields in ((IP, ("len", "chksum")), (IPv6, ("plen",)), (kind, ("chksum",)), (UDP, ("len",))):
            for name in fields if one.haslayer(layer) else ():
                delattr(one[layer], name)
        if one.haslayer(IP):
            one[IP].id = packet[IP].id + number & 0xFFFF
        if kind is TCP:
            one[TCP].seq = packet[TCP].seq + at & 0xFFFFFFFF
            flags = int(packet[TCP].flags)
            last = at + mss >= len(data)
            one[TCP].flags = flags & ~(FIN | PSH) if not last else flags & ~CWR if number else flags
        found.append(tagged(bytes(one), vlan).ljust(60, b"\0"))
    return found


tcp_fields = st.fixed_dictionaries(
    {
        "flags": st.integers(0, 0xFF),
        "seq": st.integers(0, 2**32 - 1),
        "options": st.integers(0, 10).map(lambda words: [("NOP", None)] * (4 * words)),
    }
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(shapes([TCP, UDP], st.integers(1, 20000)), tcp_fields, st.integers(64, 9000), vlans, cuttings)
def test_segmentation(shape: Shape, fields: dict[str, Any], mss: int, vlan: int | None, cuts: list[int]) -> None:
    packet = shape.packet(**(fields if shape.kind is TCP else {}))
    ready = prepare(packet, segment=True)
    expected = segments(packet, mss, vlan)
    with Hand() as hand:
        rx, tx = open_pair(hand)
        give_context(hand, tx, ready.context(mss=mss, vlan=vlan or 0))
        flags = PLAIN | TSE | RS | (0 if vlan is None else VLE)
        give(hand, tx, ready.raw, flags, len(ready.raw) - ready.payload_at << 14 | ready.sums, cuts=cuts)
        assert arrive(hand, rx, tx) == expected
        check_counts(hand, expected)
        assert hand.ports[1].tx_head(0) == tx.next and hand.desc(tx, tx.next - 1)[1] >> 32 & DD


def test_segments_keep_the_flags_that_software_says() -> None:
    packet = Shape(TCP, size=400).packet(flags=0xFF)
    ready = prepare(packet, segment=True)
    with Hand() as hand:
        rx, tx = open_pair(hand)
        hand.set(hand.ports[1], "DTXTCPFLGL", 0x0C0 << 16 | 0x0F3)
        hand.set(hand.ports[1], "DTXTCPFLGH", 0x001)
        give_context(hand, tx, ready.context(mss=100))
        give(hand, tx, ready.raw, PLAIN | TSE | RS, 400 << 14 | ready.sums)
        assert [int(Ether(one)[TCP].flags) for one in arrive(hand, rx, tx)] == [0xF3, 0xC0, 0xC0, 0x01]


def test_the_largest_packet_that_ip_can_say_is_segmented() -> None:
    packet = Shape(TCP, size=65535 - 40).packet(flags=ACK | PSH)
    ready = prepare(packet, segment=True)
    with Hand() as hand:
        rx, tx = open_pair(hand)
        give_context(hand, tx, ready.context(mss=1460))
        give(hand, tx, ready.raw, PLAIN | TSE, len(ready.raw) - 54 << 14 | ready.sums)
        expected = segments(packet, 1460, None)
        assert arrive(hand, rx, tx) == expected
        check_counts(hand, expected)


def test_two_contexts_stay_until_they_are_replaced_and_belong_to_their_queue() -> None:
    tcp, udp = (prepare(Shape(kind, size=200).packet()) for kind in (TCP, UDP))
    good = {one: bytes(Shape(kind, size=200).packet()) for one, kind in ((tcp, TCP), (udp, UDP))}
    with Hand() as hand:
        rx, tx = open_pair(hand)
        other = hand.tx_ring(hand.ports[1], 1)
        give_context(hand, tx, tcp.context(index=0))
        give_context(hand, tx, udp.context(index=1))
        order = [(tcp, 0), (udp, 1), (udp, 1), (tcp, 0)]
        for one, index in order:
            give(hand, tx, one.raw, PLAIN, len(one.raw) << 14 | one.sums | index << 4)
        assert arrive(hand, rx, tx) == [good[one] for one, _ in order]
        give_context(hand, tx, udp.context(index=0))
        give(hand, tx, udp.raw, PLAIN, len(udp.raw) << 14 | udp.sums)
        assert arrive(hand, rx, tx) == [good[udp]]
        give(hand, other, tcp.raw, PLAIN, len(tcp.raw) << 14 | tcp.sums)
        assert arrive(hand, rx, other) == []
        assert hand.fault_kinds(hand.ports[1]) == {"bad_descriptor": 1}


def test_a_restarted_ring_has_no_contexts() -> None:
    ready = prepare(Shape(TCP, size=100).packet())
    with Hand() as hand:
        rx, tx = open_pair(hand)
        give_context(hand, tx, ready.context())
        assert arrive(hand, rx, tx) == []
        hand.ports[1].stop_tx(0)
        tx = hand.tx_ring(hand.ports[1])
        give(hand, tx, ready.raw, PLAIN, len(ready.raw) << 14 | ready.sums)
        assert arrive(hand, rx, tx) == []
        assert hand.fault_kinds(hand.ports[1]) == {"bad_descriptor": 1}


@pytest.mark.parametrize("cuts", [(), (20, 36)])
def test_legacy_checksum_and_tag(cuts: tuple[int, ...]) -> None:
    packet = Shape(TCP, size=300).packet()
    ready = prepare(packet)
    raw = ready.raw[:24] + bytes(packet)[24:26] + ready.raw[26:]  # the header's checksum is software's
    with Hand() as hand:
        rx, tx = open_pair(hand)
        css, cso = 34, 50
        for flags, vlan in ((IC, None), (IC | VLE, 0xE123), (0, None), (VLE, 5)):
            give(hand, tx, raw, EOP | IFCS | flags | cso << 16, (vlan or 0) << 16 | css << 8, cuts=cuts)
        whole = bytes(packet)
        expected = [whole, tagged(whole, 0xE123), raw, tagged(raw, 5)]
        assert arrive(hand, rx, tx) == expected
        assert not hand.fault_kinds(hand.ports[1])


def test_the_tag_has_the_type_of_dmatxctl() -> None:
    ready = prepare(Shape(UDP, size=100).packet())
    with Hand() as hand:
        rx, tx = open_pair(hand)
        hand.set(hand.ports[1], "DMATXCTL", 0x88A80005)
        give_context(hand, tx, ready.context(vlan=9))
        give(hand, tx, ready.raw, PLAIN | VLE, len(ready.raw) << 14)
        assert arrive(hand, rx, tx) == [ready.raw[:12] + b"\x88\xa8\0\x09" + ready.raw[12:]]


def context(
    mac: int = 14, ip: int = 20, l4: int = 20, mss: int = 1000, *, d2: int = IPV4 | TCP_TYPE, index: int = 0
) -> tuple[int, int]:
    return mac << 9 | ip, (mss << 16 | l4 << 8 | index << 4) << 32 | CONTEXT | DEXT | d2


BOTH = IXSM | TXSM
BAD = {
    "IXSM without a context": (None, 0, IXSM),
    "TXSM without a context": (None, 0, TXSM),
    "VLE without a context": (None, VLE, 0),
    "TSE without a context": (None, TSE, BOTH),
    "CC without a context": (None, 0, CC),
    "the other slot": (context(index=1), 0, IXSM),
    "slot 2": (context(), 0, IXSM | 2 << 4),
    "reserved POPTS": (context(), 0, 1 << 11),
    "reserved L4T": (context(d2=IPV4 | 3 << 11), 0, TXSM),
    "IP header beyond the end": (context(ip=320), 0, IXSM),
    "IP header too short": (context(ip=16), 0, IXSM),
    "no MAC header": (context(mac=0), 0, IXSM),
    "L4 header beyond the end": (context(ip=270), 0, TXSM),
    "no headers": (context(mac=0, ip=0), 0, TXSM),
    "IXSM for IPv6": (context(d2=TCP_TYPE), 0, IXSM),
    "not that version": (context(mac=15), 0, IXSM),
    "TSE without TXSM": (context(), TSE, IXSM),
    "TSE of IPv4 without IXSM": (context(), TSE, TXSM),
    "MSS 0": (context(mss=0), TSE, BOTH),
    "segmented SCTP": (context(d2=IPV4 | SCTP_TYPE), TSE, BOTH),
    "L4LEN too short": (context(l4=16), TSE, BOTH),
    "headers too long": (context(ip=300, l4=255), TSE, BOTH),
    "headers beyond the end": (context(l4=255, ip=30), TSE, BOTH),
    "TSE not of that version": (context(mac=15, l4=20), TSE, BOTH),
    "IPv6 header too short": (context(d2=TCP_TYPE, ip=36), TSE, TXSM),
}


@pytest.mark.parametrize("given_context,flags,d3", BAD.values(), ids=BAD)
def test_what_contradicts_itself_is_a_fault_and_not_sent(
    given_context: tuple[int, int] | None, flags: int, d3: int
) -> None:
    raw = prepare(Shape(TCP, size=234).packet()).raw
    assert len(raw) == 288
    with Hand() as hand:
        rx, tx = open_pair(hand)
        if given_context:
            give_context(hand, tx, given_context)
        headers = 0
        if flags & TSE and given_context:
            headers = (given_context[0] >> 9 & 127) + (given_context[0] & 511) + (given_context[1] >> 40 & 255)
        give(hand, tx, raw, PLAIN | flags | RS, max(288 - headers, 0) << 14 | d3)
        done = tx.next - 1
        give(hand, tx, frame(1), PLAIN, 60 << 14)
        assert arrive(hand, rx, tx) == [frame(1)]
        b = hand.ports[1]
        assert hand.fault_kinds(b) == {"bad_descriptor": 1} and b.faults().recent[0].index == done
        assert (b.stats.gptc, b.stats.tx_dropped) == (1, 1)
        assert hand.desc(tx, done)[1] >> 32 & DD
        hand.accounts_close(b)


@pytest.mark.parametrize("paylen", [0, 233, 235])
def test_paylen_of_a_segmented_packet_must_be_its_payload(paylen: int) -> None:
    ready = prepare(Shape(TCP, size=234).packet(), segment=True)
    with Hand() as hand:
        rx, tx = open_pair(hand)
        give_context(hand, tx, ready.context(mss=100))
        give(hand, tx, ready.raw, PLAIN | TSE, paylen << 14 | ready.sums)
        assert arrive(hand, rx, tx) == []
        assert hand.fault_kinds(hand.ports[1]) == {"bad_descriptor": 1}


@pytest.mark.parametrize("css,cso", [(34, 99), (100, 50), (34, 255)])
def test_legacy_checksum_outside_the_frame(css: int, cso: int) -> None:
    with Hand() as hand:
        rx, tx = open_pair(hand)
        give(hand, tx, frame(0, 100), EOP | IFCS | IC | cso << 16, css << 8)
        assert arrive(hand, rx, tx) == []
        assert hand.fault_kinds(hand.ports[1]) == {"bad_descriptor": 1}


def test_a_context_for_a_slot_that_is_not_there() -> None:
    with Hand() as hand:
        rx, tx = open_pair(hand)
        give_context(hand, tx, context(index=2))
        give(hand, tx, frame(0), PLAIN, 60 << 14)
        assert arrive(hand, rx, tx) == [frame(0)]
        assert hand.fault_kinds(hand.ports[1]) == {"bad_descriptor": 1}


halves = st.integers(0, 2**64 - 1)
d2_bits = st.lists(st.sampled_from([EOP, IFCS, DEXT, DATA, VLE, TSE, IC, RS, 1 << 18]), max_size=4)
data_d2 = d2_bits.map(lambda bits: PLAIN | sum(set(bits) - {EOP, IFCS, DEXT, DATA}))
contexts = st.one_of(
    st.tuples(halves, halves.map(lambda q1: q1 & ~(15 << 20) | CONTEXT | DEXT)),
    st.builds(
        context, st.integers(0, 127), st.integers(0, 511), st.integers(0, 255), st.integers(0, 2000),
        d2=st.sampled_from([0, IPV4, IPV4 | TCP_TYPE, TCP_TYPE, SCTP_TYPE, IPV4 | SCTP_TYPE]), index=st.integers(0, 2),
    ),
)  # fmt: skip
nonsense = st.tuples(contexts, data_d2, halves, st.integers(0, 2500), st.booleans(), cuttings)


@settings(max_examples=200, deadline=None)
@given(st.lists(nonsense, min_size=1, max_size=6))
def test_random_contexts_never_do_harm(script: list[tuple[Any, ...]]) -> None:
    """Every frame is sent or dropped, and the port goes on."""
    with Hand() as hand:
        rx, tx = open_pair(hand)
        b = hand.ports[1]
        for given_context, d2, word, size, honest, cuts in script:
            give_context(hand, tx, given_context)
            q0, q1 = given_context
            headers = (q0 >> 9 & 127) + (q0 & 511) + (q1 >> 40 & 255) if d2 & TSE else 0
            paylen = max(size - headers, 0) if honest else word >> 14 & 0x3FFFF
            raw = b"E" * size
            before = b.stats.gptc + b.stats.tx_dropped
            give(hand, tx, raw, d2, paylen << 14 | word & 0x3FFF, cuts=cuts)
            arrive(hand, rx, tx)
            assert b.tx_head(0) == tx.next
            assert b.stats.gptc + b.stats.tx_dropped >= before + (size > 0)
        hand.accounts_close(b)
        give(hand, tx, frame(7), PLAIN, 60 << 14)
        assert arrive(hand, rx, tx) == [frame(7)]
