"""Test traffic on the wire, byte for byte: what generator wire and workers send, against frames kept here.

They are a format: captures that exist and sinks of other versions know them.
"""

from hashlib import sha256
from ipaddress import IPv4Address

import pytest

from ixyfwd.engine.traffic import TrafficEngine
from ixyfwd.model.wires.generator import GeneratorWire
from ixyfwd.roles.generate.request import EndPoint, Traffic, generate_order
from ixyfwd.roles.generate.worker import frames_of
from ixyfwd.telemetry.counters import PAGE_BYTES, Word
from ixyfwd.traffic.schedule import SendRate
from tests.testing.fake_nic import Rig
from tests.testing.model_hand import Hand

FRAMES = ((64, 2), (570, 1))  # bytes with CRC, weight
FLOWS, COUNT = 3, 12
STAMP = slice(56, 60)

# The first frame of each kind and a digest of COUNT frames, all with a time of 0.
GENERATOR_0 = (
    "02000000000002000000010008004500002e00004000401125c00a0000000a80008010001001001a0000"
    "00a500000000000000000000000000000000",
    "f95da23a73a67d6b78a86adda89bcd0bd3429f99cd27b2140d18089faeb0aabd",
)
GENERATOR_1 = (
    "02000000000102000000010108004500002e00004000401125c00a8000800a00000010011000001a0000"
    "01a500000000000000000000000000000000",
    "232812acc66567b7caf0a7668e71b2d3089854ebcedd6363a2b3991c2957ba0d",
)
SOURCE = (
    "02697879000002000000010008004500002e00004000401125c00a0000000a80008010001001001a0000"
    "00a500000000000000000000000000000000",
    "78ea68e20b8a33feeba90ab3e0d08378fe7ab2fa7cf249540f3a945538be2b1b",
)
SOURCE_OF_OWN_ENDS = (
    "0200000000bb0200000000aa08004500002e0000400040114e83c0000201c6336407fffe0035001a0000"
    "00a500000000000000000000000000000000",
    "3cf8923203f70372a140190b53f9f3ba499615cfec4aaedd7232df5c49df1693",
)
OWN_ENDS = (
    EndPoint(bytes.fromhex("0200000000aa"), IPv4Address("192.0.2.1"), 65534),
    EndPoint(bytes.fromhex("0200000000bb"), IPv4Address("198.51.100.7"), 53),
)


def seen(frames: list[bytes]) -> tuple[str, str]:
    """What is kept of frames: the head of the first one, and a digest of all with their lengths."""
    assert len(frames) == COUNT
    timeless = [frame[: STAMP.start] + bytes(4) + frame[STAMP.stop :] for frame in frames]
    digest = sha256(b"".join(len(frame).to_bytes(2, "big") + frame for frame in timeless))
    return timeless[0][:60].hex(), digest.hexdigest()


@pytest.mark.parametrize(("number", "expected"), [(0, GENERATOR_0), (1, GENERATOR_1)])
def test_the_generator_wire_sends_the_frames_it_always_sent(number: int, expected: tuple[str, str]) -> None:
    with Hand(cable=False) as hand:
        port = hand.ports[number]
        port.plug(GeneratorWire(flows=FLOWS, frames=FRAMES, rate="max", count=COUNT))
        ring = hand.rx_ring(port)
        port.start_feed()
        hand.run()
        assert seen([one.data for one in hand.receive(ring)]) == expected


def sent_by_worker(engine: str, traffic: Traffic) -> list[bytes]:
    """The frames of a worker that generates, as its batches have them."""
    rig = Rig(engine)
    batch = rig.engine.new_batch(8)
    page = rig.arena[rig.layout.counters : rig.layout.counters + PAGE_BYTES].cast("Q")
    page[Word.GO] = 1
    assert isinstance(rig.engine, TrafficEngine)
    source = rig.engine.bind_source(0, batch, frames_of(generate_order(traffic)))
    frames: list[bytes] = []
    while source():
        for buffer, length in zip(batch.ids[: batch.count], batch.lengths[: batch.count], strict=True):
            frames.append(bytes(rig.arena[rig.offsets[buffer] : rig.offsets[buffer] + length]))
    assert page[Word.DONE] == 1
    return frames


@pytest.mark.parametrize("engine", ["native", "vector"])
@pytest.mark.parametrize(("ends", "expected"), [((), SOURCE), (OWN_ENDS, SOURCE_OF_OWN_ENDS)])
def test_a_worker_sends_the_frames_it_always_sent(
    engine: str, ends: tuple[EndPoint, ...], expected: tuple[str, str]
) -> None:
    assert seen(sent_by_worker(engine, Traffic(FRAMES, FLOWS, "max", 1.0, COUNT, *ends))) == expected


@pytest.mark.parametrize(
    ("rate", "share", "frame_ps"),
    [
        ("line", 1.0, (67_200, 472_000)),
        ("line", 0.1, (672_000, 4_720_000)),
        (3e6, 1.0, (333_333, 333_333)),
        ("max", 1.0, (0, 0)),
    ],
)
def test_a_worker_keeps_the_schedule_it_always_kept(rate: SendRate, share: float, frame_ps: tuple[int, int]) -> None:
    order = generate_order(Traffic(FRAMES, FLOWS, rate, share))
    assert (order.sizes, order.schedule, order.frame_ps) == ((60, 566), (0, 1, 0), frame_ps)
