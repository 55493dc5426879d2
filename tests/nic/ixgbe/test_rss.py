"""RSS: the hash by Microsoft's vectors, the symmetric key, the redirection table, flows from text and frames."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from ixyfwd.errors import UsageError
from ixyfwd.nic.flow import Flow, flow_of_frame, parse_flow
from ixyfwd.nic.ixgbe.descriptors import RSS_TYPES
from ixyfwd.nic.ixgbe.rss import key_words, reta_words
from ixyfwd.nic.rss import (
    FIELD_NAMES,
    MICROSOFT_KEY,
    SYMMETRIC_KEY,
    RssOptions,
    flows_per_queue,
    imbalance,
    key_bytes,
    predict,
    spread,
    steer,
    toeplitz,
)

# source, destination, hash of addresses, hash with ports, RETA indices of both, symmetric hash with ports
VECTORS = [
    ("66.9.149.187:2794", "161.142.100.80:1766", 0x323E8FC2, 0x51CCC178, 66, 120, 0x9FCC9FCC),
    ("199.92.111.2:14230", "65.69.140.83:4739", 0xD718262A, 0xC626B0EA, 42, 106, 0x60D760D7),
    ("24.19.198.95:12898", "12.22.207.184:38024", 0xD2D0A5DE, 0x5C2B394A, 94, 74, 0x3A3E3A3E),
    ("38.27.205.30:48228", "209.142.163.6:2217", 0x82989176, 0xAFC7327F, 118, 127, 0xD26ED26E),
    ("153.39.163.191:44251", "202.188.127.2:1303", 0x5D1809C5, 0x10E828A2, 69, 34, 0xF23EF23E),
    ("[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x2CC18CD5, 0x40207D3D, 85, 61, 0x13EB13EB),
    ("[3ffe:501:8::260:97ff:fe40:efab]:14230", "[ff02::1]:4739", 0x0F0C461C, 0xDDE51BBF, 28, 63, 0x36913691),
    (
        "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
        "[fe80::200:f8ff:fe21:67cf]:38024",
        0x4B61E985,
        0x02D1FEEF,
        5,
        111,
        0x08090809,
    ),
]
ADDRESSES_ONLY = ("ipv4", "ipv6")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector[0])
def test_microsoft_vectors(protocol: str, vector: tuple[str, str, int, int, int, int, int]) -> None:
    source, destination, ip_hash, l4_hash, ip_index, l4_index, symmetric = vector
    flow = parse_flow(f"{protocol} {source} {destination}")
    with_ports = predict(flow, RssOptions(queues=16, key="microsoft"))
    assert (with_ports.hash, with_ports.index, with_ports.queue) == (l4_hash, l4_index, l4_index % 16)
    assert with_ports.field == f"{protocol}{flow.version}"
    addresses = predict(flow, RssOptions(queues=16, key="microsoft", fields=ADDRESSES_ONLY))
    assert (addresses.hash, addresses.index, addresses.queue) == (ip_hash, ip_index, ip_index % 16)
    assert addresses.field == f"ipv{flow.version}"
    for direction in (flow, flow.reversed()):
        assert predict(direction, RssOptions(queues=16)).hash == symmetric


@pytest.mark.parametrize(
    ("text", "type_code"),
    [
        ("tcp 1.2.3.4:5 6.7.8.9:10", 1),
        ("1.2.3.4 6.7.8.9", 2),
        ("tcp [1::]:5 [2::]:6", 3),
        ("1:: 2::", 5),
        ("udp 1.2.3.4:5 6.7.8.9:10", 7),
        ("udp [1::]:5 [2::]:6", 8),
    ],
)
def test_the_type_is_what_the_descriptor_will_say(text: str, type_code: int) -> None:
    field = predict(parse_flow(text), RssOptions()).field
    assert field is not None and RSS_TYPES[field] == type_code


def test_key_words_are_those_of_the_registers() -> None:
    assert key_words(MICROSOFT_KEY) == (
        0xDA565A6D, 0xC20E5B25, 0x3D256741, 0xB08FA343, 0xCB2BCAD0,
        0xB4307BAE, 0xA32DCB77, 0x0CF23080, 0x3BB7426A, 0xFA01ACBE,
    )  # fmt: skip
    assert key_words(SYMMETRIC_KEY) == (0x5A6D5A6D,) * 10


IPV4 = st.ip_addresses(v=4)
IPV6 = st.ip_addresses(v=6)
PORT = st.integers(0, 65535)
FLOWS = st.one_of(
    st.builds(Flow, IPV4, IPV4),
    st.builds(Flow, IPV6, IPV6),
    st.builds(Flow, IPV4, IPV4, st.sampled_from(["tcp", "udp"]), PORT, PORT),
    st.builds(Flow, IPV6, IPV6, st.sampled_from(["tcp", "udp"]), PORT, PORT),
)


@given(FLOWS, st.integers(1, 16))
def test_the_symmetric_key_brings_both_directions_to_one_queue(flow: Flow, queues: int) -> None:
    options = RssOptions(queues=queues)
    there, back = predict(flow, options), predict(flow.reversed(), options)
    assert there == back
    assert 0 <= there.queue < queues


@given(FLOWS)
def test_a_flow_survives_its_text(flow: Flow) -> None:
    assert parse_flow(str(flow)) == flow


@given(st.binary(min_size=1, max_size=36), st.binary(min_size=40, max_size=40), st.integers(0, 287))
def test_toeplitz_is_linear(data: bytes, key: bytes, bit: int) -> None:
    """The hash of a XOR is the XOR of the hashes; a single bit picks 32 consecutive key bits."""
    bit %= 8 * len(data)
    single = (1 << (8 * len(data) - 1 - bit)).to_bytes(len(data), "big")
    mixed = bytes(a ^ b for a, b in zip(data, single, strict=True))
    window = int.from_bytes(key, "big") >> (320 - 32 - bit) & 0xFFFFFFFF
    assert toeplitz(key, single) == window
    assert toeplitz(key, mixed) == toeplitz(key, data) ^ window


@pytest.mark.parametrize("queues", range(1, 17))
def test_the_table_is_even_to_one_entry(queues: int) -> None:
    shares = Counter(spread(queues))
    assert sorted(shares) == list(range(queues))
    assert max(shares.values()) - min(shares.values()) <= 1


@given(st.integers(1, 16).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_steering_is_even_and_moves_only_what_it_must(case: tuple[int, set[int]]) -> None:
    queues, live = case
    before = spread(queues)
    after = steer(before, queues, sorted(live))
    shares = Counter(after)
    assert set(shares) == live
    assert max(shares.values()) - min(shares.values()) <= 1
    assert all(new == old for old, new in zip(before, after, strict=True) if old in live)


@pytest.mark.parametrize("live", [[], [4], [-1, 2]])
def test_steering_to_nobody_is_refused(live: list[int]) -> None:
    with pytest.raises(UsageError, match="RSS cannot be steered to queues"):
        steer(spread(4), 4, live)


def test_reta_words_put_entry_zero_lowest() -> None:
    words = reta_words(spread(16))
    assert words[:4] == (0x03020100, 0x07060504, 0x0B0A0908, 0x0F0E0D0C)
    assert len(words) == 32


def test_a_custom_table_decides() -> None:
    options = RssOptions(queues=2, reta=(1,) * 128)
    assert predict(parse_flow("1.2.3.4 5.6.7.8"), options).queue == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queues": 0}, "RSS spreads over 1 to 16 queues, not 0"),
        ({"queues": 17}, "RSS spreads over 1 to 16 queues, not 17"),
        ({"fields": ("ipv4", "sctp4")}, "'sctp4' is not an RSS field; expected some of ipv4"),
        ({"key": "6d5a"}, "'6d5a' is not an RSS key; expected 'symmetric', 'microsoft' or 80 hex digits"),
        ({"key": "zz" * 40}, "is not an RSS key"),
        ({"reta": (0,) * 127}, "has 128 or 512 entries, not 127"),
        ({"reta": (1,) * 128}, "names queue 1; expected 0 to 0"),
    ],
)
def test_wrong_options_are_one_sentence(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RssOptions(**change)  # type: ignore[arg-type]


def test_keys_by_name_and_by_digits() -> None:
    assert key_bytes("symmetric") == SYMMETRIC_KEY
    assert key_bytes(MICROSOFT_KEY.hex()) == key_bytes("microsoft") == MICROSOFT_KEY
    assert key_bytes(MICROSOFT_KEY.hex(":")) == MICROSOFT_KEY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found 0 end points"),
        ("udp 10.0.0.1:1", "found 1 end points"),
        ("10.0.0.1 10.0.0.2 10.0.0.3", "found 3 end points"),
        ("udp 10.0.0.1 10.0.0.2:80", "'10.0.0.1' has no port"),
        ("udp 10.0.0.1:x 10.0.0.2:80", "'x' is not a port; expected 0 to 65535"),
        ("udp 10.0.0.1:65536 10.0.0.2:80", "'65536' is not a port"),
        ("udp 10.0.0.1:-1 10.0.0.2:80", "'-1' is not a port"),
        ("udp 10.0.0.1:٣ 10.0.0.2:80", "is not a port"),
        ("10.0.0.1:5 10.0.0.2:6", "say tcp or udp in front"),
        ("10.0.0.256 10.0.0.2", "'10.0.0.256' is not an IP address"),
        ("tcp 2001:db8::1:80 [2001:db8::2]:443", "must stand in brackets"),
        ("tcp [2001:db8::1]:80 10.0.0.1:443", "one end is IPv4, the other IPv6"),
        ("fe80::1%eth0 fe80::2", "has a zone"),
    ],
)
def test_wrong_flows_are_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_flow(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_no_text_is_more_than_a_usage_error(text: str) -> None:
    try:
        parse_flow(text)
    except UsageError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["udp 10.0.0.1:1 -> 10.0.0.2:2", "UDP  10.0.0.1:1 10.0.0.2:2 "])
def test_flows_are_read_generously(text: str) -> None:
    assert str(parse_flow(text)) == "udp 10.0.0.1:1 10.0.0.2:2"


V4 = IP(src="10.0.0.1", dst="10.0.0.2")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
DATA = Raw(b"x" * 32)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (Ether() / V4 / UDP(sport=5, dport=6) / DATA, "udp 10.0.0.1:5 10.0.0.2:6"),
        (Ether() / V4 / TCP(sport=5, dport=6) / DATA, "tcp 10.0.0.1:5 10.0.0.2:6"),
        (Ether() / Dot1Q(vlan=7) / V4 / UDP(sport=5, dport=6) / DATA, "udp 10.0.0.1:5 10.0.0.2:6"),
        (Ether() / V4 / ICMP() / DATA, "10.0.0.1 10.0.0.2"),
        (Ether() / IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / UDP(sport=5, dport=6) / DATA, "10.0.0.1 10.0.0.2"),
        (Ether() / IP(src="10.0.0.1", dst="10.0.0.2", frag=3, proto=17) / DATA, "10.0.0.1 10.0.0.2"),
        (
            Ether() / IP(src="10.0.0.1", dst="10.0.0.2", options=b"\x01" * 8) / TCP(sport=5, dport=6) / DATA,
            "tcp 10.0.0.1:5 10.0.0.2:6",
        ),
        (Ether() / V6 / UDP(sport=5, dport=6) / DATA, "udp [2001:db8::1]:5 [2001:db8::2]:6"),
        (Ether() / V6 / IPv6ExtHdrDestOpt() / UDP(sport=5, dport=6) / DATA, "2001:db8::1 2001:db8::2"),
        (Ether() / ARP(), None),
        (Ether(type=0x88CC) / DATA, None),
    ],
    ids=lambda case: case.summary() if isinstance(case, Packet) else "",
)
def test_flows_of_frames(packet: Packet, expected: str | None) -> None:
    flow = flow_of_frame(bytes(packet))
    assert (None if flow is None else str(flow)) == expected


@given(st.binary(max_size=80))
def test_any_bytes_are_a_flow_or_none(frame: bytes) -> None:
    flow_of_frame(frame)
    flow_of_frame(bytes(12) + b"\x08\x00" + frame)
    flow_of_frame(bytes(12) + b"\x86\xdd\x60" + frame)


def test_what_is_not_hashed_goes_to_queue_zero() -> None:
    options = RssOptions(queues=4, fields=("ipv6",))
    found = predict(parse_flow("udp 10.0.0.1:1 10.0.0.2:2"), options)
    assert (found.hash, found.field, found.index, found.queue) == (0, None, None, 0)


def test_every_field_has_a_prediction() -> None:
    for name in FIELD_NAMES:
        end = ("10.0.0.1", "10.0.0.2") if name.endswith("4") else ("[2001:db8::1]", "[2001:db8::2]")
        text = " ".join(end) if name.startswith("ip") else f"{name[:3]} {end[0]}:1 {end[1]}:2"
        assert predict(parse_flow(text), RssOptions(fields=(name,))).field == name


def test_imbalance_of_many_flows() -> None:
    flows = [parse_flow(f"udp 10.0.{n // 250}.{n % 250}:{1000 + n} 10.1.0.1:80") for n in range(1000)]
    options = RssOptions(queues=4)
    counts = flows_per_queue(flows, options)
    assert sum(counts) == 1000 and len(counts) == 4
    expected = Counter(predict(flow, options).queue for flow in flows)
    assert counts == [expected[queue] for queue in range(4)]
    assert imbalance(counts) == max(counts) / 250
    assert imbalance([5, 5]) == 1.0
    assert imbalance([8, 0, 0, 0]) == 4.0
    assert imbalance([0, 0]) == 1.0


def test_a_larger_table_is_predicted_by_its_own_size() -> None:
    """On an X550 nine bits of the hash count."""
    flow = parse_flow("udp 10.0.0.1:1 10.0.0.2:2")
    options = RssOptions(queues=3)
    found = predict(flow, options, options.table(512))
    assert found.index == found.hash & 511 and found.queue == found.index % 3


def test_a_table_of_another_size_than_the_devices_is_refused() -> None:
    with pytest.raises(UsageError, match="has 128 entries; expected the device's 512"):
        RssOptions(reta=(0,) * 128).table(512)
