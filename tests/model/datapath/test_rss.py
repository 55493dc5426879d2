"""RSS through the whole receive path (datasheet 7.1.2.8)."""

from typing import Any

import pytest
from scapy.all import ARP, IP, TCP, UDP, Dot1Q, Ether, IPv6, Packet, Raw, fragment
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment

from tests.testing.model_hand import HASH_ALL, HASH_IP, MICROSOFT_KEY, SYMMETRIC_KEY, VP, Hand, Received

V4 = [  # Microsoft's RSS vectors: source, destination, hash of addresses, hash with ports, symmetric hash with ports
    ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323E8FC2, 0x51CCC178, 0x9FCC9FCC),
    ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xD718262A, 0xC626B0EA, 0x60D760D7),
    ("24.19.198.95", 12898, "12.22.207.184", 38024, 0xD2D0A5DE, 0x5C2B394A, 0x3A3E3A3E),
    ("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xAFC7327F, 0xD26ED26E),
    ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5D1809C5, 0x10E828A2, 0xF23EF23E),
]
V6 = [
    ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2CC18CD5, 0x40207D3D, 0x13EB13EB),
    ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0F0C461C, 0xDDE51BBF, 0x36913691),
    (
        "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
        44251,
        "fe80::200:f8ff:fe21:67cf",
        38024,
        0x4B61E985,
        0x02D1FEEF,
        0x08090809,
    ),
]
ROWS = [(4, *row) for row in V4] + [(6, *row) for row in V6]
ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")


def ip(version: int, source: str, destination: str) -> Packet:
    return IP(src=source, dst=destination) if version == 4 else IPv6(src=source, dst=destination)


def through(
    frame: Packet, *, key: bytes = MICROSOFT_KEY, fields: int = HASH_ALL, queues: int = 16, legacy: bool = False
) -> Received:
    """Send one frame over a cable into a port with 16 queues; returns it with the queue it came to."""
    with Hand() as hand:
        a, b = hand.ports
        hand.rss(a, key, fields, queues)
        srrctl = 1 << 28 | (0 if legacy else 1 << 25) | 2
        rings = [hand.rx_ring(a, queue, srrctl=srrctl) for queue in range(16)]
        hand.send(hand.tx_ring(b), [bytes(frame)])
        found = [one for ring in rings for one in hand.receive(ring)]
        assert len(found) == 1
        assert not hand.fault_kinds(a)
        hand.accounts_close(a)
        return found[0]


@pytest.mark.parametrize("l4,type4,type6", [(TCP, 1, 3), (UDP, 7, 8)])
@pytest.mark.parametrize("row", ROWS, ids=[row[1] for row in ROWS])
def test_microsoft_vectors_with_ports(row: tuple[Any, ...], l4: type[Packet], type4: int, type6: int) -> None:
    version, source, sport, destination, dport, _, with_ports, _ = row
    frame = ETHER / ip(version, source, destination) / l4(sport=sport, dport=dport) / Raw(b"x" * 30)
    found = through(frame)
    assert found.dword1 == with_ports
    assert found.rss_type == (type4 if version == 4 else type6)
    assert found.queue == with_ports % 128 % 16
    assert found.data == bytes(frame)


@pytest.mark.parametrize("row", ROWS, ids=[row[1] for row in ROWS])
def test_microsoft_vectors_addresses_only(row: tuple[Any, ...]) -> None:
    version, source, sport, destination, dport, addresses, _, _ = row
    found = through(ETHER / ip(version, source, destination) / TCP(sport=sport, dport=dport), fields=HASH_IP)
    assert found.dword1 == addresses
    assert found.rss_type == (2 if version == 4 else 5)
    assert found.queue == addresses % 128 % 16


@pytest.mark.parametrize("row", ROWS, ids=[row[1] for row in ROWS])
def test_symmetric_key_brings_both_directions_together(row: tuple[Any, ...]) -> None:
    version, source, sport, destination, dport, _, _, symmetric = row
    there = through(ETHER / ip(version, source, destination) / UDP(sport=sport, dport=dport), key=SYMMETRIC_KEY)
    back = through(ETHER / ip(version, destination, source) / UDP(sport=dport, dport=sport), key=SYMMETRIC_KEY)
    assert there.dword1 == back.dword1 == symmetric
    assert there.queue == back.queue


def test_tagged_ip_is_hashed_like_untagged() -> None:
    _, source, sport, destination, dport, _, with_ports, _ = ROWS[0]
    frame = ETHER / Dot1Q(vlan=7) / ip(4, source, destination) / TCP(sport=sport, dport=dport) / Raw(b"x" * 20)
    found = through(frame)
    assert found.dword1 == with_ports and found.status & VP and found.vlan == 7


def test_fragments_are_hashed_by_address() -> None:
    _, source, sport, destination, dport, addresses, _, _ = ROWS[0]
    packet = ip(4, source, destination) / UDP(sport=sport, dport=dport) / Raw(b"x" * 900)
    for piece in fragment(packet, 400):
        found = through(ETHER / piece)
        assert (found.dword1, found.rss_type) == (addresses, 2)


def test_options_move_the_ports() -> None:
    _, source, sport, destination, dport, _, with_ports, _ = ROWS[0]
    frame = ETHER / IP(src=source, dst=destination, options=b"\x01" * 8) / TCP(sport=sport, dport=dport)
    found = through(frame)
    assert found.dword1 == with_ports
    assert found.packet_type == 0b010011  # IPv4, options, TCP


def test_extension_headers_are_passed_over() -> None:
    _, source, sport, destination, dport, _, with_ports, _ = ROWS[5]
    found = through(ETHER / ip(6, source, destination) / IPv6ExtHdrDestOpt() / TCP(sport=sport, dport=dport))
    assert (found.dword1, found.rss_type) == (with_ports, 3)
    assert found.packet_type == 0b11100  # IPv6 with extension, TCP


def test_a_fragment_header_leaves_the_addresses() -> None:
    _, source, sport, destination, dport, addresses, _, _ = ROWS[5]
    header = IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(m=1)
    found = through(ETHER / ip(6, source, destination) / header / TCP(sport=sport, dport=dport))
    assert (found.dword1, found.rss_type) == (addresses, 5)
    assert found.packet_type == 0b1100  # IPv6 with extension


def test_a_protocol_that_is_off_falls_back_to_addresses() -> None:
    _, source, sport, destination, dport, addresses, _, _ = ROWS[0]
    found = through(ETHER / ip(4, source, destination) / UDP(sport=sport, dport=dport), fields=0x030000)
    assert (found.dword1, found.rss_type) == (addresses, 2)


@pytest.mark.parametrize(
    "frame,fields",
    [
        (ETHER / ARP(), HASH_ALL),
        (ETHER / IP(src="1.2.3.4", dst="5.6.7.8") / UDP(), 0x300000),  # only IPv6
        (ETHER / IPv6(src="::1", dst="::2") / UDP(), 0x030000),  # only IPv4
    ],
    ids=["arp", "v4 off", "v6 off"],
)
def test_unhashed_frames_go_to_queue_0(frame: Packet, fields: int) -> None:
    found = through(frame, fields=fields)
    assert (found.dword1, found.rss_type, found.queue) == (0, 0, 0)


def test_steering_needs_neither_pcsd_nor_advanced_descriptors() -> None:
    _, source, sport, destination, dport, _, with_ports, _ = ROWS[0]
    frame = bytes(ETHER / IP(src=source, dst=destination, id=0x1234) / TCP(sport=sport, dport=dport))
    with Hand() as hand:
        a, b = hand.ports
        hand.rss(a, MICROSOFT_KEY, HASH_ALL)
        hand.set(a, "RXCSUM", 0)
        queue = with_ports % 128 % 16
        ring = hand.rx_ring(a, queue)
        tx = hand.tx_ring(b)
        hand.send(tx, [frame])
        (found,) = hand.receive(ring)
        assert found.dword1 == 0x1234 and found.rss_type == 1  # IP identification instead of the hash
        a.stop_rx(queue)
        ring = hand.rx_ring(a, queue, srrctl=1 << 28 | 2)
        hand.send(tx, [frame])
        q0, q1 = hand.desc(ring, 0)
        assert q0 == (1 << 32) + ring.buffers[0]  # legacy: the address is left alone
        assert q1 & 0xFFFF == 60 and q1 >> 32 & 3 == 3


def test_reta_entry_decides() -> None:
    _, source, sport, destination, dport, _, with_ports, _ = ROWS[1]
    frame = bytes(ETHER / ip(4, source, destination) / TCP(sport=sport, dport=dport))
    index = with_ports % 128
    with Hand() as hand:
        a, b = hand.ports
        hand.rss(a, MICROSOFT_KEY, HASH_ALL, 1)
        rings = [hand.rx_ring(a, queue) for queue in (0, 5)]
        tx = hand.tx_ring(b)
        hand.send(tx, [frame])
        hand.set(a, 0xEB00 + (index & ~3), 5 << 8 * (index & 3))
        hand.send(tx, [frame])
        assert [len(hand.receive(ring)) for ring in rings] == [1, 1]


def test_a_new_key_counts_at_once() -> None:
    _, source, sport, destination, dport, _, with_ports, symmetric = ROWS[2]
    frame = bytes(ETHER / ip(4, source, destination) / TCP(sport=sport, dport=dport))
    with Hand() as hand:
        a, b = hand.ports
        ring, tx = hand.rx_ring(a), hand.tx_ring(b)
        hashes = []
        for key in (MICROSOFT_KEY, SYMMETRIC_KEY):
            hand.rss(a, key, HASH_ALL, 1)
            hand.send(tx, [frame])
            hashes += [one.dword1 for one in hand.receive(ring)]
        assert hashes == [with_ports, symmetric]
