"""MAC: filters, tags, CRC, checksums, and what is counted where (datasheet 7.1.1, 7.1.6, 8.2.3.23)."""

import struct
import zlib

import pytest
from scapy.all import ARP, ICMP, IP, SCTP, TCP, UDP, Dot1Q, Ether, IPv6, Raw
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting

from tests.testing.model_frames import frame
from tests.testing.model_hand import (
    IPCS,
    IPE,
    L4CS,
    L4E,
    PIF,
    UDPCS,
    VP,
    Hand,
    rx_window,
)  # fmt: skip

MINE = "02:00:00:00:00:01"
BROADCAST = "ff:ff:ff:ff:ff:ff"
GROUP = "01:00:5e:11:22:33"

Registers = dict[int | str, int]


def arp(destination: str) -> bytes:
    return bytes(Ether(dst=destination, src="02:00:00:00:00:02") / ARP()).ljust(60, b"\0")


def let_in(data: bytes, registers: Registers) -> bool:
    """Whether port a's filters let a frame through; what they count is checked."""
    with Hand() as hand:
        a, b = hand.ports
        for register, value in registers.items():
            hand.set(a, register, value)
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.send(tx, [data])
        found = [one.data for one in hand.receive(rx)]
        assert found in ([], [data])
        hand.accounts_close(a)
        assert a.stats.rx_filtered == 1 - len(found) and a.stats.rxnfgpc == 1
        return bool(found)


ADDRESS: Registers = {0xA200 + 8 * 9: 0x00000002, 0xA204 + 8 * 9: 0x80000100}  # RAL/RAH(9) = MINE


@pytest.mark.parametrize(
    "destination,registers,expected",
    [
        (BROADCAST, {"FCTRL": 1 << 10}, True),
        (BROADCAST, {"FCTRL": 3 << 8}, False),
        (MINE, {"FCTRL": 0}, False),
        (MINE, {"FCTRL": 0, **ADDRESS}, True),
        (MINE, {"FCTRL": 0, **ADDRESS, 0xA204 + 8 * 9: 0x100}, False),  # AV is 0
        ("02:00:00:00:00:03", {"FCTRL": 0, **ADDRESS}, False),
        ("02:00:00:00:00:03", {"FCTRL": 1 << 9}, True),
        (GROUP, {"FCTRL": 1 << 9}, False),
        (GROUP, {"FCTRL": 1 << 8}, True),
        (GROUP, {"FCTRL": 0, 0xA200: 0x115E0001, 0xA204: 0x80003322}, True),
    ],
)
def test_address_filters(destination: str, registers: Registers, expected: bool) -> None:
    assert let_in(arp(destination), registers) is expected


@pytest.mark.parametrize("mo,vector", [(0, 0x332), (1, 0x664), (2, 0xCC8), (3, 0x322)])
def test_multicast_table(mo: int, vector: int) -> None:
    """01:00:5e:11:22:33: bytes 4 and 5 are 0x22 and 0x33; MO picks 12 of their 16 bits."""
    table: Registers = {0x5200 + 4 * (vector >> 5): 1 << (vector & 31)}
    usual: Registers = {"FCTRL": 0, "MCSTCTRL": 4 | mo}
    assert let_in(arp(GROUP), {**usual, **table})
    assert not let_in(arp(GROUP), usual)
    assert not let_in(arp(GROUP), {**usual, **table, "MCSTCTRL": mo})  # MFE is 0


def test_only_the_inexact_table_sets_pif() -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.set(a, "MCSTCTRL", 4)
        hand.set(a, 0x5200 + 4 * (0x332 >> 5), 1 << (0x332 & 31))
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.send(tx, [arp(GROUP), arp("01:00:5e:00:00:01"), arp(MINE), arp(BROADCAST)])
        assert [bool(one.status & PIF) for one in hand.receive(rx)] == [True, False, False, False]


@pytest.mark.parametrize("mo,vector", [(0, 0x332), (1, 0x664), (2, 0xCC8), (3, 0x322)])
def test_unicast_table(mo: int, vector: int) -> None:
    """PFUTA is to unicast addresses what MTA is to multicast ones."""
    destination = "02:00:5e:11:22:33"
    table: Registers = {0xF400 + 4 * (vector >> 5): 1 << (vector & 31)}
    usual: Registers = {"FCTRL": 0, "MCSTCTRL": 4 | mo}
    assert let_in(arp(destination), {**usual, **table})
    assert not let_in(arp(destination), usual)
    assert not let_in(arp(destination), {**table, "FCTRL": 0})  # MFE is 0
    assert not let_in(arp(GROUP), {**usual, **table})


# VLAN


def tagged(vid: int, prio: int = 0) -> bytes:
    return bytes(Ether(dst=MINE, src=MINE) / Dot1Q(vlan=vid, prio=prio) / ARP()).ljust(64, b"\0")


@pytest.mark.parametrize("vid", [0, 1, 31, 32, 4095])
def test_vlan_filter(vid: int) -> None:
    on: Registers = {"VLNCTRL": 0x8100 | 1 << 30}
    bit: Registers = {0xA000 + 4 * (vid >> 5): 1 << (vid & 31)}
    assert not let_in(tagged(vid), on)
    assert let_in(tagged(vid), {**on, **bit})
    assert let_in(frame(0), on)  # untagged frames have no VLAN to filter by
    assert let_in(tagged(vid), {**bit, "VLNCTRL": 0x88A8 | 1 << 30})  # not VET: not a tag


@pytest.mark.parametrize("strip", [True, False])
def test_tag_is_reported_and_stripped_on_request(strip: bool) -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, rxdctl=1 << 25 | strip << 30), hand.tx_ring(b)
        data = tagged(0x123, 5)
        hand.send(tx, [data, frame(0)])
        one, plain = hand.receive(rx)
        assert one.status & VP and one.vlan == 0x123 | 5 << 13
        assert one.data == (data[:12] + data[16:] if strip else data)
        assert not plain.status & VP and plain.vlan == 0 and plain.data == frame(0)


def test_stripping_can_change_while_the_queue_runs() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        lengths = []
        for vme in (0, 1 << 30, 0):
            hand.set(a, rx_window(0) + 0x28, 1 << 25 | vme)
            hand.send(tx, [tagged(1)])
            lengths += [len(one.data) for one in hand.receive(rx)]
        assert lengths == [64, 60, 64]


# CRC and lengths


@pytest.mark.parametrize("hlreg0,rdrxctl,stripped", [(2, 2, True), (0, 2, False), (2, 0, False), (0, 0, False)])
def test_crc_is_there_unless_stripped(hlreg0: int, rdrxctl: int, stripped: bool) -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.set(a, "HLREG0", 0x08012C09 | hlreg0)
        hand.set(a, "RDRXCTL", 0x108808 | rdrxctl)
        rx, tx = hand.rx_ring(a, rxdctl=1 << 25 | 1 << 30), hand.tx_ring(b)
        hand.send(tx, [frame(0, 777), tagged(9)])
        plain, tag = hand.receive(rx)
        crc = b"" if stripped else struct.pack("<I", zlib.crc32(frame(0, 777)))
        assert plain.data == frame(0, 777) + crc
        data = tagged(9)
        assert tag.data == data[:12] + data[16:] + (b"" if stripped else struct.pack("<I", zlib.crc32(data)))
        extra = 0 if stripped else 8
        assert a.stats.gorc == a.stats.rxnfgbc == 777 + 64 + extra and a.stats.tor == 777 + 64 + 8
        assert a.stats.qbrc[0] == a.stats.rxdgbc == 777 + 60 + extra  # as delivered: without the tag
        assert not hand.fault_kinds(a)


def test_a_frame_that_just_fits_with_its_crc_and_one_that_does_not() -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.set(a, "HLREG0", 0x08012C09)
        rx, tx = hand.rx_ring(a, srrctl=1 << 28 | 1 << 25 | 1), hand.tx_ring(b)
        hand.send(tx, [frame(0, 1020), frame(1, 1022)])
        assert [one.pieces for one in hand.receive(rx)] == [(1024,), (1024, 2)]


@pytest.mark.parametrize(
    "size,tags,registers,good",
    [
        (1514, 0, {}, True),
        (1515, 0, {}, False),
        (1518, 1, {}, True),
        (1519, 1, {}, False),
        (1522, 2, {}, True),
        (1523, 2, {}, False),
        (1515, 0, {"MAXFRS": 9018 << 16}, False),  # JUMBOEN is 0
        (9014, 0, {"MAXFRS": 9018 << 16, "HLREG0": 0x08012C0F}, True),
        (9015, 0, {"MAXFRS": 9018 << 16, "HLREG0": 0x08012C0F}, False),
        (9018, 1, {"MAXFRS": 9018 << 16, "HLREG0": 0x08012C0F}, True),
        (80, 0, {"MAXFRS": 64 << 16, "HLREG0": 0x08012C0F}, False),
    ],
)
def test_longest_frame(size: int, tags: int, registers: Registers, good: bool) -> None:
    with Hand() as hand:
        a, b = hand.ports
        for register, value in registers.items():
            hand.set(a, register, value)
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        data = frame(0)[:12] + b"\x81\0\0\x01" * tags
        data += frame(0, size)[len(data) :]
        hand.queue_frame(tx, data, pieces=[2000] * ((size - 1) // 2000))
        hand.tail(tx, tx.next)
        hand.run(2)
        assert [one.data for one in hand.receive(rx)] == ([data] if good else [])
        assert (a.stats.gprc, a.stats.roc, a.stats.tpr) == (int(good), int(not good), 1)
        assert a.stats.tor == size + 4
        hand.accounts_close(a)


# statistics


@pytest.mark.parametrize(
    "size,register",
    [
        (60, "64"), (61, "127"), (123, "127"), (124, "255"), (251, "255"), (252, "511"), (507, "511"), (508, "1023"),
        (1019, "1023"), (1020, "1522"), (1514, "1522"),
    ],
)  # fmt: skip
def test_size_bins(size: int, register: str) -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.rx_ring(a)
        hand.send(hand.tx_ring(b), [frame(n, size) for n in range(3)])
        for name in ("64", "127", "255", "511", "1023", "1522"):
            expected = 3 if name == register else 0
            assert getattr(a.stats, f"prc{name}") == getattr(b.stats, f"ptc{name}") == expected
        assert a.stats.gorc == a.stats.qbrc[0] == 3 * size and a.stats.tor == b.stats.gotc == 3 * (size + 4)
        assert b.stats.qbtc[0] == b.stats.txdgbc == 3 * size


def test_casts_are_counted_both_ways() -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.rx_ring(a)
        hand.send(hand.tx_ring(b), [arp(BROADCAST), arp(GROUP), arp(GROUP), arp(MINE)])
        s, t = a.stats, b.stats
        assert (s.bprc, s.mprc, s.gprc, t.bptc, t.mptc, t.gptc) == (1, 2, 4, 1, 2, 4)


def test_rxen_off_counts_the_mac_only() -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.set(a, "RXCTRL", 0)
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.send(tx, [frame(0)])
        assert not hand.receive(rx)
        s = a.stats
        assert s.gprc == 1 and s.gorc == 60 and s.rxdgpc == sum(s.qprc) == 0 and s.rx_off == 1
        hand.accounts_close(a)


def test_queue_counters_go_through_the_maps() -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.set(a, 0x2300, 0x0000000B)  # RQSMR: rx queue 0 counts in 11
        hand.set(b, 0x8600 + 4 * 5, 0x00000700)  # TQSM: tx queue 21 counts in 7
        hand.rx_ring(a, post=2)
        hand.send(hand.tx_ring(b, 21), [frame(n, 100) for n in range(3)])
        assert (a.stats.qprc[11], a.stats.qbrc[11], a.stats.qprdc[11]) == (2, 200, 1)
        assert (b.stats.qptc[7], b.stats.qbtc[7]) == (3, 300)
        assert sum(a.stats.qprc) == 2 and sum(b.stats.qptc) == 3
        hand.accounts_close(a)
        hand.accounts_close(b)


# checksums and packet types

PACKETS = {
    "tcp4": (IP() / TCP() / Raw(b"abc"), IPCS | L4CS, 0b10001),
    "udp4": (IP() / UDP() / Raw(b"abcd"), IPCS | L4CS | UDPCS, 0b100001),
    "udp4 without": (IP() / UDP(chksum=0) / Raw(b"abcd"), IPCS, 0b100001),
    "udp4 bad": (IP() / UDP(chksum=0x1234) / Raw(b"abcd"), IPCS | L4CS | UDPCS | L4E, 0b100001),
    "tcp4 bad": (IP() / TCP(chksum=1), IPCS | L4CS | L4E, 0b10001),
    "ip bad": (IP(chksum=1) / TCP(), IPCS | IPE | L4CS, 0b10001),
    "icmp": (IP() / ICMP(), IPCS, 0b1),
    "sctp": (IP() / SCTP() / Raw(b"x" * 8), IPCS | L4CS, 0b1000001),
    "sctp bad": (IP() / SCTP(chksum=7) / Raw(b"x" * 8), IPCS | L4CS | L4E, 0b1000001),
    "sctp6": (IPv6(nh=132) / SCTP() / Raw(b"x" * 8), L4CS, 0b1000100),
    "options": (IP(options=b"\x01" * 12) / UDP() / Raw(b"odd"), IPCS | L4CS | UDPCS, 0b100011),
    "fragment": (IP(flags="MF") / UDP(chksum=1) / Raw(b"x" * 24), IPCS, 0b1),
    "later fragment": (IP(frag=3) / Raw(b"x" * 24), IPCS, 0b1),
    "tcp6": (IPv6() / TCP() / Raw(b"x"), L4CS, 0b10100),
    "udp6 bad": (IPv6() / UDP(chksum=9), L4CS | UDPCS | L4E, 0b100100),
    "tcp6 options": (IPv6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP() / Raw(b"x"), L4CS, 0b11100),
    "udp6 options bad": (IPv6() / IPv6ExtHdrDestOpt() / UDP(chksum=9), L4CS | UDPCS | L4E, 0b101100),
    "tcp6 routed": (IPv6() / IPv6ExtHdrRouting(addresses=["::5"]) / TCP(chksum=1), 0, 0b11100),
    "tcp6 fragment": (IPv6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(m=1) / TCP(chksum=1), 0, 0b1100),
    "options without an end": (IPv6(nh=60) / Raw(b"\x06\x09" + bytes(14)), 0, 0b1100),
    "icmp6": (IPv6(nh=58) / Raw(b"x" * 8), 0, 0b100),
    "arp": (ARP(), 0, 0),
    "cut": (Raw(b"\x45\0\x01\0"), 0, 0),
}


@pytest.mark.parametrize("vlan", [False, True])
@pytest.mark.parametrize("name", PACKETS)
def test_checksums_and_packet_type(name: str, vlan: bool) -> None:
    packet, status, packet_type = PACKETS[name]
    ether = Ether(dst=MINE, src=MINE, type={"arp": 0x806}.get(name, 0x86DD if isinstance(packet, IPv6) else 0x800))
    tagged_ether = Ether(dst=MINE, src=MINE) / Dot1Q(type=ether.type)
    whole = (tagged_ether if vlan else ether) / packet
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.send(tx, [bytes(whole)])
        (found,) = hand.receive(rx)
        assert found.status == status | (VP if vlan else 0)
        assert found.packet_type == packet_type
        assert a.stats.xec == int(bool(status & (IPE | L4E)))


def test_fragment_checksum_when_asked() -> None:
    packet = bytes(Ether(dst=MINE, src=MINE) / IP(id=0xBEEF, frag=5) / Raw(b"\x12\x34" * 14))
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        dwords = []
        for rxcsum in (1 << 12, 0, 1 << 13):
            hand.set(a, "RXCSUM", rxcsum)
            hand.send(tx, [packet])
            dwords += [one.dword1 for one in hand.receive(rx)]
        assert dwords == [(0x1234 * 14) % 0xFFFF << 16 | 0xBEEF, 0xBEEF, 0]


@pytest.mark.parametrize("length", [0, 3, 19, 21, 0xFFFF])
def test_lying_ip_lengths_are_not_followed(length: int) -> None:
    packet = bytearray(bytes(Ether(dst=MINE, src=MINE) / IP() / UDP() / Raw(b"x" * 40)))
    packet[16:18] = struct.pack(">H", length)
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.send(tx, [bytes(packet)])
        (found,) = hand.receive(rx)
        assert found.data == bytes(packet)
        assert not found.status & L4CS


def test_mac_loopback_keeps_frames_inside() -> None:
    """HLREG0.LPBK: what is sent is received by the same port, and neither end of the cable sees anything."""
    with Hand() as hand:
        a, b = hand.ports
        hand.set(a, "HLREG0", 0x08012C0B | 1 << 15)
        rings = [hand.rx_ring(port) for port in (a, b)]
        txs = [hand.tx_ring(port) for port in (a, b)]
        inside = b"\x02" + bytes(range(99))
        hand.send(txs[0], [inside])
        hand.send(txs[1], [b"\x02" + bytes(59)])
        assert [one.data for one in hand.receive(rings[0])] == [inside]
        assert hand.receive(rings[1]) == []
        assert a.stats.gptc == a.stats.gprc == 1 and b.stats.gprc == 0
        assert a.wire_stats()["sent"] == a.wire_stats()["received"] == 0
        hand.accounts_close(a)
        hand.set(a, "HLREG0")
        hand.send(txs[0], [inside])
        assert [one.data for one in hand.receive(rings[1])] == [inside]
