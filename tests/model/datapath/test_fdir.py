"""The flow director through the whole receive path; its hash by the datasheet's definition, bit by bit."""

import random
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from scapy.all import IP, SCTP, TCP, UDP, Dot1Q, Ether, IPv6, Packet, Raw

from tests.testing.model_hand import HASH_ALL, MICROSOFT_KEY, Hand, Received, Ring

ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
FDIRCTRL, FDIRHASH, FDIRCMD, FDIRFREE, FDIRLEN, FDIRUSTAT, FDIRFSTAT, FDIRM = (
    *(0xEE00, 0xEE28, 0xEE2C, 0xEE38, 0xEE4C),
    *(0xEE50, 0xEE54, 0xEE70),
)
FDIRIPSA, FDIRIPDA, FDIRPORT, FDIRVLAN, FDIRDIP4M, FDIRSIP4M, FDIRTCPM, FDIRUDPM = (
    *(0xEE18, 0xEE1C, 0xEE20, 0xEE24),
    *(0xEE3C, 0xEE40, 0xEE44, 0xEE48),
)
FDIRHKEY, FDIRSKEY = 0xEE68, 0xEE6C
BUCKET_KEY, SIGNATURE_KEY = 0x3DAD14E2, 0x174D3614  # what Linux, DPDK and FreeBSD write
ADD, REMOVE, QUERY = 1, 2, 3
UPDATE, DROP, LAST, QUEUE_EN, VALID, CLEARHT = 1 << 3, 1 << 9, 1 << 11, 1 << 15, 1 << 2, 1 << 8
SIGNATURE = 1 | 6 << 16 | 10 << 24  # FDIRCTRL as Linux sets it for signatures: flexible bytes are the EtherType
PERFECT, REPORT, ALWAYS = 1 << 4, 1 << 5, 1 << 7
FLM, TOO_LONG, COLLISION = 1 << 2, 1 << 20, 1 << 22
RSS_QUEUES = 4
QUEUES = (0, 1, 2, 3, 20, 70, 127)


def slow_hash(stream: bytes, key: int) -> int:
    """Hash[15:0] ^= Ext_S[15+i:i] for each bit i of Ext_K: S is the stream, byte 0 first; K is repeated 11 times."""
    whole = int.from_bytes(stream, "big")
    size = 8 * len(stream)
    extended = (whole & 0x7FFF) << size + 15 | whole << 15 | whole >> size - 15
    keys = sum(key << 32 * n for n in range(11))
    result = 0
    for i in range(size + 15):
        if keys >> i + 1 & 1:
            result ^= extended >> i & 0xFFFF
    return result & 0x7FFF


def stream(frame: Packet, *, ports: bool = True) -> bytes:
    """The 42 bytes of a frame: VLAN, addresses, ports, flexible bytes, pool, flow type."""
    net = frame[IPv6] if IPv6 in frame else frame[IP]
    version = socket.AF_INET6 if IPv6 in frame else socket.AF_INET
    flow = {UDP: 1, TCP: 2, SCTP: 3}.get(type(net.payload), 0) | (4 if IPv6 in frame else 0)
    tag = frame[Dot1Q].vlan | frame[Dot1Q].prio << 13 if Dot1Q in frame else 0
    source, destination = (socket.inet_pton(version, one).ljust(16, b"\0") for one in (net.src, net.dst))
    numbers = (net.payload.sport, net.payload.dport) if flow & 3 in {1, 2} and ports else (0, 0)
    flex = bytes(frame)[12:14]
    return struct.pack(">H16s16sHH2sBB", tag, source, destination, *numbers, flex, 0, flow)


def linux_hash(frame: Packet) -> int:
    """FDIRHASH as ixgbe's ATR computes it for the packets that answer: everything folded into two words first."""
    data = stream(frame)
    common = 0
    for at in range(2, 42, 4):
        word = data[at : at + 4] if at < 38 else data[38:40] + b"\0\0"
        common ^= int.from_bytes(word, "big")
    tail = int.from_bytes(data[40:42] + data[0:2], "big")
    hashes = []
    for key in (BUCKET_KEY, SIGNATURE_KEY):
        low, high = common >> 16 | common << 16 & 0xFFFFFFFF, common ^ tail ^ tail >> 16
        total = (low if key & 1 else 0) ^ (high if key >> 16 & 1 else 0)
        low ^= tail ^ tail << 16 & 0xFFFFFFFF
        for n in range(1, 16):
            total ^= (low >> n if key >> n & 1 else 0) ^ (high >> n if key >> n + 16 & 1 else 0)
        hashes.append(total & 0x7FFF)
    return hashes[0] | hashes[1] << 16


def hashes(data: bytes) -> int:
    return slow_hash(data, BUCKET_KEY) | slow_hash(data, SIGNATURE_KEY) << 16


class Director:
    """A port with RSS over four queues and the flow director on."""

    def __init__(self, stack: ExitStack, control: int, **registers: int) -> None:
        self.hand = stack.enter_context(Hand())
        self.port, other = self.hand.ports
        self.hand.rss(self.port, MICROSOFT_KEY, HASH_ALL, RSS_QUEUES)
        for register, value in {"FDIRHKEY": BUCKET_KEY, "FDIRSKEY": SIGNATURE_KEY, **registers}.items():
            self.hand.set(self.port, globals()[register], value)
        self.start(control)
        self.rings: list[Ring] = [self.hand.rx_ring(self.port, queue) for queue in QUEUES]
        self.tx = self.hand.tx_ring(other)

    def start(self, control: int) -> None:
        self.hand.set(self.port, FDIRCTRL, control)
        self.port.init_flow_director()

    def command(self, hash_value: int, command: int) -> bool:
        self.hand.set(self.port, FDIRHASH, hash_value)
        self.hand.set(self.port, FDIRCMD, command)
        interrupt = self.port.command_flow_director()
        assert self.get(FDIRCMD) & 3 == 0
        return interrupt

    def add(self, frame: Packet, queue: int, *, flags: int = UPDATE | LAST | QUEUE_EN) -> bool:
        flow = stream(frame)[-1]
        return self.command(linux_hash(frame), ADD | flags | flow << 5 | queue << 16)

    def get(self, register: int) -> int:
        return self.hand.get(self.port, register)

    def send(self, *frames: Packet) -> list[Received]:
        found = []
        for frame in frames:
            self.hand.send(self.tx, [bytes(frame)])
            found += [one for ring in self.rings for one in self.hand.receive(ring)]
        self.hand.accounts_close(self.port)
        assert not self.hand.fault_kinds(self.port)
        return found

    def queues(self, *frames: Packet) -> list[int | None]:
        return [one.queue if one.queue >= RSS_QUEUES else None for one in self.send(*frames)]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def flow(number: int = 0, l4: type[Packet] = TCP, *, vlan: int | None = None, six: bool = False) -> Packet:
    chance = random.Random(number)
    addresses = [chance.randbytes(16 if six else 4) for _ in range(2)]
    source, destination = (socket.inet_ntop(socket.AF_INET6 if six else socket.AF_INET, one) for one in addresses)
    link = ETHER if vlan is None else ETHER / Dot1Q(vlan=vlan & 0xFFF, prio=vlan >> 13)
    ports = {"sport": chance.randrange(65536), "dport": chance.randrange(65536)}
    return Ether(bytes(link / (IPv6 if six else IP)(src=source, dst=destination) / l4(**ports) / Raw(b"x" * 20)))


SHAPES = [(l4, vlan, six) for l4 in (TCP, UDP) for vlan in (None, 5, 0xA123) for six in (False, True)]


@pytest.mark.parametrize("l4,vlan,six", SHAPES)
def test_a_filter_programmed_as_linux_does_finds_its_flow(
    stack: ExitStack, l4: type[Packet], vlan: int | None, six: bool
) -> None:
    director = Director(stack, SIGNATURE)
    mine, other = flow(1, l4, vlan=vlan, six=six), flow(2, l4, vlan=vlan, six=six)
    assert linux_hash(mine) == hashes(stream(mine))
    director.add(mine, 70)
    found = director.send(mine, other)
    assert [one.queue for one in found] == [70, found[1].queue] and found[1].queue < RSS_QUEUES
    assert [one.status & FLM for one in found] == [FLM, 0]
    assert all(one.rss_type not in {0, 15} and one.dword1 for one in found), "not reported: RSS as ever"
    assert (director.port.stats.fdirmatch, director.port.stats.fdirmiss) == (1, 1)


def test_the_hash_is_the_datasheets_for_any_flow_and_any_key(stack: ExitStack) -> None:
    """With REPORT_STATUS_ALWAYS the chip tells the hashes of packets that match nothing."""
    chance = random.Random(7)
    director = Director(stack, SIGNATURE | 2 | REPORT | ALWAYS)
    for number in range(40):
        keys = chance.getrandbits(32), chance.getrandbits(32)
        for register, key in zip((FDIRHKEY, FDIRSKEY), keys, strict=True):
            director.hand.set(director.port, register, key)
        frame = flow(number, chance.choice([TCP, UDP]), vlan=chance.choice([None, 77]), six=chance.random() < 0.5)
        (found,) = director.send(frame)
        bucket, signature = (slow_hash(stream(frame), key) for key in keys)
        assert (found.rss_type, found.dword1) == (15, bucket << 16 | signature)


def test_sctp_has_no_ports_and_fragments_are_not_looked_up(stack: ExitStack) -> None:
    director = Director(stack, SIGNATURE)
    sctp, fragment = flow(1, SCTP), flow(2)
    fragment[IP].flags = "MF"
    director.add(sctp, 20)
    again = sctp.copy()
    again[SCTP].sport ^= 1
    assert director.queues(sctp, again, fragment) == [20, 20, None]
    assert (director.port.stats.fdirmatch, director.port.stats.fdirmiss) == (2, 0)


def test_what_fdirm_masks_does_not_count(stack: ExitStack) -> None:
    director = Director(stack, SIGNATURE, FDIRM=0b11 | 1 << 4)  # VLAN and flexible bytes
    plain, tagged = flow(1), flow(1, vlan=0xA005)
    data = stream(plain)
    director.command(hashes(data[:38] + b"\0\0" + data[40:]), ADD | QUEUE_EN | 2 << 5 | 20 << 16)
    assert director.queues(plain, tagged) == [20, 20]


def test_update_collision_remove_and_query(stack: ExitStack) -> None:
    director = Director(stack, SIGNATURE)
    mine = flow(1)
    for _ in range(2):
        director.add(mine, 20, flags=QUEUE_EN)
    director.add(mine, 70, flags=QUEUE_EN)  # another action: the old one stays
    (found,) = director.send(mine)
    assert found.queue == 20 and found.status & COLLISION
    director.add(mine, 70)
    assert director.queues(mine) == [70]
    assert (director.get(FDIRFREE), director.get(FDIRUSTAT)) == (1 << 16 | 8190, 1)
    director.command(linux_hash(mine), QUERY)
    assert director.get(FDIRCMD) & VALID and director.get(FDIRCMD) >> 16 & 127 == 70
    assert director.get(FDIRHASH) & 1 << 15
    for _ in range(2):
        director.command(linux_hash(mine), REMOVE)
    assert director.queues(mine) == [None]
    assert (director.get(FDIRFREE) & 0xFFFF, director.get(FDIRUSTAT), director.get(FDIRFSTAT)) == (8191, 0x10001, 0x100)
    director.command(linux_hash(mine), QUERY)
    assert not director.get(FDIRCMD) & VALID and not director.get(FDIRHASH) & 1 << 15


def test_a_full_table_a_long_bucket_and_a_flush(stack: ExitStack) -> None:
    director = Director(stack, SIGNATURE & ~(15 << 24) | 2 << 24 | 4 << 28)  # long: behind two; 64 free: tell
    mine = flow(1)
    bucket = linux_hash(mine) & 0x7FFF
    for signature in (0x7001, 0x7002, 0x7003):
        director.command(bucket | signature << 16, ADD)
    director.add(mine, 20)
    (found,) = director.send(mine)
    assert found.queue == 20 and found.status & TOO_LONG
    assert director.get(FDIRLEN) == bucket << 16 | 4
    due = [director.command(index & 0x1FFF | index >> 13 << 16, ADD) for index in range(9000)]
    assert director.get(FDIRFREE) == 0 and director.get(FDIRFSTAT) & 0xFF == 0xFF
    assert due[8191 - 4 - 64 :].count(True) == 1 + 9000 - (8191 - 4) and due.index(True) == 8191 - 4 - 64
    director.command(0, CLEARHT)
    director.start(SIGNATURE)
    assert director.get(FDIRFREE) == 8191
    assert director.queues(mine) == [None]


def test_what_software_writes_into_fdirfree_makes_no_room(stack: ExitStack) -> None:
    director = Director(stack, 1 | PERFECT)
    director.hand.set(director.port, FDIRFREE, 0xFFFF)
    for index in range(2100):
        director.hand.set(director.port, FDIRIPSA, index)
        director.command(index << 16, ADD)
    assert director.get(FDIRFREE) == 0 and director.get(FDIRFSTAT) == 2100 - 2047


def test_reset_and_pballoc_0_switch_it_off(stack: ExitStack) -> None:
    director = Director(stack, SIGNATURE)
    mine = flow(1)
    director.add(mine, 20)
    director.start(0)
    assert director.queues(mine) == [None] and director.get(FDIRFREE) == 0
    assert not director.add(mine, 20)
    director.start(SIGNATURE)
    director.add(mine, 20)
    director.port.reset()
    assert director.port.stats.fdirmiss == director.port.stats.fdirmatch == 0


def wire(text: str) -> int:
    return int.from_bytes(socket.inet_aton(text), "little")


def add_perfect(director: Director, frame: Packet, queue: int, index: int, *, flags: int = 0, **keep: int) -> None:
    """As ixgbe_fdir_write_perfect_filter does it: what is masked is 0. `keep`: masks, 1 = compared."""
    ip, l4 = frame[IP], frame[IP].payload
    source = wire(ip.src) & keep.get("source", 0xFFFFFFFF)
    destination = wire(ip.dst) & keep.get("destination", 0xFFFFFFFF)
    ports = (l4.sport | l4.dport << 16) & keep.get("ports", 0xFFFFFFFF)
    for register, value in ((FDIRIPSA, source), (FDIRIPDA, destination), (FDIRPORT, ports), (FDIRVLAN, 0)):
        director.hand.set(director.port, register, value)
    kind = {UDP: 1, TCP: 2}[type(l4)]
    parts = struct.pack("<I12xI12x", source, destination) + struct.pack(">HHH", ports & 0xFFFF, ports >> 16, 0)
    bucket = slow_hash(b"\0\0" + parts + bytes([0, kind]), BUCKET_KEY) & 0x1FFF
    director.command(bucket | index << 16, ADD | UPDATE | QUEUE_EN | LAST | flags | kind << 5 | queue << 16)


NO_VLAN_NO_FLEX = 0b110111  # FDIRM as Linux has it for a filter of addresses and ports


def test_perfect_filters_compare_every_field_and_report_their_index(stack: ExitStack) -> None:
    director = Director(stack, 1 | PERFECT | REPORT | 127 << 8 | 6 << 16, FDIRM=NO_VLAN_NO_FLEX)
    mine = flow(1)
    add_perfect(director, mine, 20, 0xBEEF)
    (found,) = director.send(mine)
    assert (found.queue, found.rss_type, found.dword1 & 0xFFFF, found.status & FLM) == (20, 15, 0xBEEF, FLM)
    others = []
    for layer, field in ((IP, "src"), (IP, "dst"), (TCP, "sport"), (TCP, "dport")):
        other = mine.copy()
        setattr(other[layer], field, "9.9.9.9" if layer is IP else 9)
        others.append(other)
    assert director.queues(*others) == [None] * 4
    assert director.get(FDIRFREE) == 2046


def test_perfect_filters_with_masks_of_bits(stack: ExitStack) -> None:
    masks = {"FDIRSIP4M": wire("0.0.0.255"), "FDIRDIP4M": 0xFFFFFFFF}  # 1 = not compared
    reversed_ports = 0xF000 << 16 | 0xFFFF  # destination: its low 4 bits, source: all of them
    director = Director(
        stack, 1 | PERFECT, FDIRM=NO_VLAN_NO_FLEX, FDIRTCPM=reversed_ports, FDIRUDPM=reversed_ports, **masks
    )
    mine = ETHER / IP(src="10.1.2.3", dst="10.9.9.9") / TCP(sport=5, dport=0x1234)
    add_perfect(director, mine, 20, 1, source=wire("255.255.255.0"), destination=0, ports=0xFFF0 << 16)
    same = ETHER / IP(src="10.1.2.99", dst="10.8.8.8") / TCP(sport=6, dport=0x123F)
    other = ETHER / IP(src="10.1.2.99", dst="10.8.8.8") / TCP(sport=6, dport=0x124F)
    assert director.queues(mine, same, other) == [20, 20, None]


def test_a_drop_filter_leads_to_the_drop_queue(stack: ExitStack) -> None:
    director = Director(stack, 1 | PERFECT | 99 << 8, FDIRM=NO_VLAN_NO_FLEX)
    mine = flow(1)
    add_perfect(director, mine, 99, 1, flags=DROP)
    assert director.send(mine) == []
    assert director.port.stats.rx_queue_off == 1
