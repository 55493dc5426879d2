"""Filters that choose a queue before RSS: EtherType, SYN, 5-tuple (datasheet 7.1.2), through the whole receive path."""

import socket
import struct
from collections.abc import Iterable
from typing import Any

import pytest
from scapy.all import ICMP, IP, SCTP, TCP, UDP, Dot1Q, Ether, IPv6, Packet, Raw

from tests.testing.model_hand import HASH_ALL, MICROSOFT_KEY, Hand, Received

ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
ETQF, ETQS, SYNQF = 0x5128, 0xEC00, 0xEC30
SAQF, DAQF, SDPQF, FTQF, L34T_IMIR = 0xE000, 0xE200, 0xE400, 0xE600, 0xE800
ENABLE = 1 << 31
SKIP_SOURCE, SKIP_DESTINATION, SKIP_SPORT, SKIP_DPORT, SKIP_PROTOCOL = (1 << bit for bit in range(25, 30))
RSS_QUEUES = 4
QUEUES = (0, 1, 2, 3, 9, 70, 127)  # RSS leads to the first four, filters to the others


def tuple_filter(
    number: int, queue: int, *, flags: int = 0, priority: int = 1, packet: Packet | None = None
) -> dict[int, int]:
    """Registers of filter `number` as DPDK writes them: addresses and ports in the order of the wire."""
    packet = packet if packet is not None else IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1000, dport=2000)
    (source,), (destination,) = (struct.unpack("<I", socket.inet_aton(one)) for one in (packet.src, packet.dst))
    l4 = packet.payload
    ports = struct.unpack("<I", struct.pack(">HH", l4.sport, l4.dport))[0] if hasattr(l4, "sport") else 0
    protocol = {TCP: 0, UDP: 1, SCTP: 2}.get(type(l4), 3)
    values = {
        SAQF: source,
        DAQF: destination,
        SDPQF: ports,
        L34T_IMIR: queue << 21 | 0x80000,
        FTQF: ENABLE | flags | priority << 2 | protocol,
    }
    return {register + 4 * number: value for register, value in values.items()}


def through(frames: Iterable[Packet], registers: dict[int, int]) -> list[Received]:
    """Send frames into a port with these registers and RSS on; returns each with the queue it came to."""
    found = []
    with Hand() as hand:
        a, b = hand.ports
        hand.rss(a, MICROSOFT_KEY, HASH_ALL, RSS_QUEUES)
        for register, value in registers.items():
            hand.set(a, register, value)
        rings, tx = [hand.rx_ring(a, queue) for queue in QUEUES], hand.tx_ring(b)
        for frame in frames:
            hand.send(tx, [bytes(frame)])
            arrived = [one for ring in rings for one in hand.receive(ring)]
            assert len(arrived) == 1
            found += arrived
        assert not hand.fault_kinds(a)
        hand.accounts_close(a)
    return found


def queues(frames: Iterable[Packet], registers: dict[int, int]) -> list[int | None]:
    """Queues that frames came to; None for one that RSS chose."""
    return [one.queue if one.queue >= RSS_QUEUES else None for one in through(frames, registers)]


def ip(src: str = "10.0.0.1", dst: str = "10.0.0.2", **fields: Any) -> IP:
    return IP(src=src, dst=dst, **fields)


FLOW = ETHER / ip() / TCP(sport=1000, dport=2000)
OTHERS = {
    "source": ETHER / ip(src="10.0.0.9") / TCP(sport=1000, dport=2000),
    "destination": ETHER / ip(dst="10.0.0.9") / TCP(sport=1000, dport=2000),
    "source port": ETHER / ip() / TCP(sport=1001, dport=2000),
    "destination port": ETHER / ip() / TCP(sport=1000, dport=2001),
    "protocol": ETHER / ip() / UDP(sport=1000, dport=2000),
}
SKIPS = dict(zip(OTHERS, (SKIP_SOURCE, SKIP_DESTINATION, SKIP_SPORT, SKIP_DPORT, SKIP_PROTOCOL), strict=True))


def test_a_tuple_filter_takes_its_flow_and_no_other() -> None:
    tagged = ETHER / Dot1Q(vlan=5) / FLOW.payload
    found = queues([FLOW, tagged, *OTHERS.values()], tuple_filter(127, 70))
    assert found == [70, 70, None, None, None, None, None]


@pytest.mark.parametrize("name", OTHERS)
def test_a_masked_field_is_not_compared(name: str) -> None:
    found = queues([FLOW, *OTHERS.values()], tuple_filter(3, 9, flags=SKIPS[name]))
    assert found == [9, *(9 if other == name else None for other in OTHERS)]


def test_the_highest_priority_wins_and_then_the_lowest_number() -> None:
    registers = tuple_filter(0, 9, priority=2) | tuple_filter(5, 70, priority=7) | tuple_filter(6, 127, priority=7)
    assert queues([FLOW], registers) == [70]
    assert queues([FLOW], registers | {FTQF + 20: 0}) == [127]


def test_ports_are_those_of_whole_packets_over_ipv4() -> None:
    fragment = ETHER / ip(flags="MF") / TCP(sport=1000, dport=2000)
    six = ETHER / IPv6(src="::1", dst="::2") / TCP(sport=1000, dport=2000)
    everything = SKIP_SOURCE | SKIP_DESTINATION | SKIP_SPORT | SKIP_DPORT | SKIP_PROTOCOL
    assert queues([fragment, six], tuple_filter(0, 9)) == [None, None]
    assert queues([fragment, six], tuple_filter(0, 9, flags=everything)) == [9, None]


@pytest.mark.parametrize("l4", [UDP(sport=7, dport=8), SCTP(sport=7, dport=8), ICMP()], ids=["udp", "sctp", "other"])
def test_protocols(l4: type[Packet]) -> None:
    flags = 0 if hasattr(l4, "sport") else SKIP_SPORT | SKIP_DPORT
    registers = tuple_filter(0, 9, flags=flags, packet=ip() / l4)
    assert queues([ETHER / ip() / l4 / Raw(b"x" * 20), FLOW], registers) == [9, None]


def test_syn_filter_and_its_place_before_or_behind_the_tuples() -> None:
    frames = [ETHER / ip() / TCP(sport=1000, dport=2000, flags=flags) for flags in ("S", "SA", "A")]
    assert queues(frames, {SYNQF: 1 | 127 << 1}) == [127, 127, None]
    assert queues(frames, {SYNQF: 1 | 127 << 1} | tuple_filter(0, 9)) == [9, 9, 9]
    assert queues(frames, {SYNQF: ENABLE | 1 | 127 << 1} | tuple_filter(0, 9)) == [127, 127, 9]


def test_a_filtered_frame_still_tells_its_hash() -> None:
    plain, filtered = (through([FLOW], registers)[0] for registers in ({}, tuple_filter(0, 9)))
    assert plain.dword1 == filtered.dword1 != 0 and plain.rss_type == filtered.rss_type == 1


def test_ethertype_filters_name_themselves_and_choose_a_queue() -> None:
    lldp, eapol, other = (ETHER.copy() / Raw(b"x" * 50) for _ in range(3))
    lldp.type, eapol.type, other.type = 0x88CC, 0x888E, 0x9999
    tagged = ETHER / Dot1Q(vlan=3, prio=5, type=0x88CC) / Raw(b"x" * 50)
    registers = {ETQF + 4: ENABLE | 0x88CC, ETQS + 4: ENABLE | 70 << 16, ETQF + 28: ENABLE | 0x888E}
    found = through([lldp, eapol, other, tagged], registers)
    assert [one.queue for one in found] == [70, 0, 0, 70]
    assert [one.packet_type for one in found] == [1 << 11 | 1, 1 << 11 | 7, 0, 1 << 11 | 1]
    by_priority = registers | {ETQF + 4: ENABLE | 1 << 19 | 5 << 16 | 0x88CC}
    assert [one.queue for one in through([lldp, tagged], by_priority)] == [0, 70]
