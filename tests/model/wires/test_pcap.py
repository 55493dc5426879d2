"""Capture files in and out: byte for byte, and every complaint one sentence."""

import os
import stat
import struct
import time
from pathlib import Path
from typing import Literal

import pytest
from scapy.utils import RawPcapReader

from ixyfwd.errors import UsageError
from ixyfwd.model.wires.capture_file import read_capture
from ixyfwd.model.wires.generator import GeneratorWire
from ixyfwd.model.wires.pcap import PcapWire
from tests.testing.model_frames import frame
from tests.testing.model_hand import PLAIN, Hand, Ring

SIZES = (60, 61, 100, 113, 255, 256, 999, 1513, 1514)
FRAMES = [frame(n, SIZES[n % len(SIZES)]) for n in range(300)]


def write_pcap(path: Path, frames: list[bytes], *, order: str = "<", nano: bool = False, step_us: float = 10) -> str:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)]
    for number, data in enumerate(frames):
        ns = 1_700_000_000 * 10**9 + round(number * step_us * 1000)
        fraction = ns % 10**9 if nano else ns % 10**9 // 1000
        parts.append(struct.pack(order + "IIII", ns // 10**9, fraction, len(data), len(data)) + data)
    path.write_bytes(b"".join(parts))
    return str(path)


def write_pcapng(path: Path, frames: list[bytes], order: str = "<") -> str:
    def block(kind: int, body: bytes) -> bytes:
        size = 12 + len(body)
        return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)

    parts = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    parts.append(block(1, struct.pack(order + "HHI", 1, 0, 0)))
    for number, data in enumerate(frames):
        micro = 1_700_000_000_000_000 + 10 * number
        head = struct.pack(order + "IIIII", 0, micro >> 32, micro & 0xFFFFFFFF, len(data), len(data))
        parts.append(block(6, head + data + bytes(-len(data) % 4)))
        parts.append(block(0xBAD, b"skip"))  # a block that no reader knows
    path.write_bytes(b"".join(parts))
    return str(path)


def captured(path: Path) -> list[tuple[float, bytes]]:
    """Time in seconds and bytes, as scapy finds them."""
    with RawPcapReader(str(path)) as reader:
        assert reader.linktype == 1 and reader.nano
        return [(at.sec + at.usec / 1e9, data) for data, at in reader]


def forward(hand: Hand, rx: Ring, tx: Ring, rounds: int = 400) -> list[bytes]:
    """Swap what port a receives to port b until nothing comes any more; returns it."""
    got, idle = [], 0
    while idle < 20 and rounds:
        rounds -= 1
        hand.run()
        new = [one.data for one in hand.receive(rx)]
        got += new
        idle = 0 if new else idle + 1
        for data in new:
            hand.queue_frame(tx, data)
        hand.tail(tx, tx.next)
    hand.run(2)
    return got


@pytest.mark.parametrize("make", ["micro", "nano", "big endian", "pcapng", "pcapng big endian"])
def test_what_goes_in_comes_out(tmp_path: Path, make: str) -> None:
    source, sink = tmp_path / "in", tmp_path / "out.pcap"
    if make.startswith("pcapng"):
        path = write_pcapng(source, FRAMES, ">" if "big" in make else "<")
    else:
        path = write_pcap(source, FRAMES, order=">" if make == "big endian" else "<", nano=make == "nano")
    begun = int(time.time() * 1e6) / 1e6  # as a capture has it
    with Hand(cable=False) as hand:
        a, b = hand.ports
        a.plug(PcapWire(replay=path))
        b.plug(PcapWire(capture=str(sink)))
        rx, tx = hand.rx_ring(a, entries=64), hand.tx_ring(b, entries=128)
        assert not a.feed_done()
        a.start_feed()
        assert forward(hand, rx, tx) == FRAMES
        assert a.feed_done() and a.wire_stats()["replay"]["sent"] == 300
        assert a.wire_stats()["totals"] == {"in": 300, "out": 0, "shortfall": 0}
        assert b.wire_stats()["totals"] == {"in": 0, "out": 300, "shortfall": 0}
        assert b.wire_stats()["capture"] == {
            "file": str(sink),
            "captured": 300,
            "captured_bytes": sum(map(len, FRAMES)),
            "lost": 0,
            "error": None,
        }
        assert not hand.fault_kinds(a) and not hand.fault_kinds(b)
        hand.accounts_close(a)
    found = captured(sink)
    assert [data for _, data in found] == FRAMES
    times = [begun, *(at for at, _ in found), time.time()]
    assert times == sorted(times)
    assert stat.S_IMODE(sink.stat().st_mode) == 0o600


def test_short_frames_are_padded_and_long_ones_counted(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "in", [b"\x02" * 14, frame(1), frame(2, 1515), frame(3, 15000), b""])
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(PcapWire(replay=path))
        rx = hand.rx_ring(a)
        a.start_feed()
        hand.run(4)
        assert [one.data for one in hand.receive(rx)] == [b"\x02" * 14 + bytes(46), frame(1), bytes(60)]
        replay = a.wire_stats()["replay"]
        assert (replay["sent"], replay["too_long"], a.stats.roc) == (5, 2, 2)


@pytest.mark.parametrize("full", ["drop", "wait"])
def test_a_paced_replay_into_a_full_port(tmp_path: Path, full: Literal["drop", "wait"]) -> None:
    path = write_pcap(tmp_path / "in", [frame(n) for n in range(300)])
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(PcapWire(replay=path, rate="line", full=full))
        rx = hand.rx_ring(a, entries=16)
        a.start_feed()
        got = []
        while not a.feed_done():
            hand.datapath.run(-1, 100_000, False)  # longer than 15 frames take
            got += [one.data for one in hand.receive(rx)]
        dropped = sum(a.stats.qprdc)
        assert len(got) + dropped == 300 and (dropped == 0) == (full == "wait")
        assert full == "drop" or got == [frame(n) for n in range(300)]
        hand.accounts_close(a)


def test_loop_starts_again(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "in", [frame(n) for n in range(5)])
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(PcapWire(replay=path, loop=True))
        rx = hand.rx_ring(a, entries=32)
        a.start_feed()
        got = []
        for _ in range(10):
            hand.run()
            got += [one.data for one in hand.receive(rx)]
        assert len(got) > 50 and got == [frame(n % 5) for n in range(len(got))]
        assert not a.feed_done() and a.wire_stats()["replay"]["rounds"] >= 10


def test_nothing_is_lost_at_rate_max_however_small_the_ring(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "in", FRAMES)
    with Hand(cable=False) as hand:
        a, b = hand.ports
        a.plug(PcapWire(replay=path))
        rx, tx = hand.rx_ring(a, entries=8, srrctl=1 << 25 | 1), hand.tx_ring(b)
        a.start_feed()
        assert forward(hand, rx, tx) == FRAMES
        assert sum(a.stats.rxmpc) == sum(a.stats.qprdc) == 0


def replay_time_ns(path: str, wire: PcapWire) -> tuple[int, int]:
    """(ns from first to last frame, frames) of a replay into a port that drops everything."""
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(wire)
        hand.run()
        before = time.monotonic_ns()
        a.start_feed()
        while not a.feed_done():
            hand.run()
        return time.monotonic_ns() - before, a.wire_stats()["replay"]["sent"]


@pytest.mark.parametrize(
    "rate,at_least_ns",
    [("recorded", 299 * 50_000), (1e5, 299 * 10_000), ("line", sum(size + 24 for size in map(len, FRAMES[:-1])) * 0.8)],
)
def test_rates_are_never_exceeded_and_frames_never_given_up(
    tmp_path: Path, rate: float | Literal["line", "max", "recorded"], at_least_ns: float
) -> None:
    path = write_pcap(tmp_path / "in", FRAMES, step_us=50)
    elapsed, sent = replay_time_ns(path, PcapWire(replay=path, rate=rate))
    assert sent == 300 and elapsed >= at_least_ns - 16_000


@pytest.mark.parametrize("frames", [40_000])
def test_a_capture_larger_than_the_buffer(tmp_path: Path, frames: int) -> None:
    """The run ends early when the buffer fills, so that nothing is lost between two writes."""
    sink = tmp_path / "out.pcap"
    with Hand(cable=False) as hand:
        a, b = hand.ports
        a.plug(PcapWire(capture=str(sink)))
        tx = hand.tx_ring(a, entries=4096)
        data = frame(7, 1514)
        hand.write(tx.buffers[0], data)
        for index in range(4096):
            hand.set_desc(tx, index, (1 << 32) + tx.buffers[0], 1514 << 46 | PLAIN | 1514)  # no RS: kept
        for turn in range(1, frames // 4000 + 1):
            hand.tail(tx, turn * 4000 % 4096)
            while a.tx_head(0) != turn * 4000 % 4096:
                hand.datapath.run(-1, 5_000_000, False)
        stats = a.wire_stats()["capture"]
        assert stats["captured"] == frames and stats["lost"] == 0 and stats["error"] is None
        assert b.stats.tpr == 0
    assert sink.stat().st_size == 24 + frames * (16 + 1514)


def test_a_full_disk_is_an_error_state_and_not_a_crash() -> None:
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(PcapWire(replay=None))  # neither file: nothing plugged in
        b = hand.ports[1]
        with pytest.raises(UsageError, match="port b: /dev/full: cannot write the capture file: No space left"):
            b.plug(PcapWire(capture="/dev/full"))


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a device")
def test_a_device_keeps_its_mode(tmp_path: Path) -> None:
    """Before, /dev/null was 0600 for everybody once root had captured into it."""
    null = tmp_path / "null"
    os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    null.chmod(0o666)
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(PcapWire(capture=str(null)))
        hand.send(hand.tx_ring(a), [frame(0), frame(1)])
        stats = a.wire_stats()
        assert stats["capture"]["captured"] == 2 and stats["error"] is None and stats["notices"] == []
    assert stat.S_IMODE(null.stat().st_mode) == 0o666


def test_a_fifo_whose_reader_is_slow_holds_nothing_up(tmp_path: Path) -> None:
    """What it has not taken stays in the buffer, and what finds no room there is lost and counted."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(PcapWire(capture=str(fifo)))
        tx = hand.tx_ring(a, entries=512)
        sent = 0
        while a.wire_stats()["capture"]["lost"] == 0:
            hand.send(tx, [frame(sent + n, 1514) for n in range(100)])
            sent += 100
            assert sent < 10_000
        capture = a.wire_stats()["capture"]
        assert capture["captured"] + capture["lost"] == a.stats.gptc == sent and capture["error"] is None
        taken = bytearray()
        while len(taken) < 24 + capture["captured"] * (16 + 1514):
            taken += os.read(reader, 1 << 20)
            a.flush_wire()
        hand.send(tx, [frame(7)])
        os.close(reader)
        hand.send(tx, [frame(8)])
        assert "Broken pipe" in a.wire_stats()["error"]
        capture = a.wire_stats()["capture"]
        assert capture["captured"] + capture["lost"] == a.stats.gptc == sent + 2
    (tmp_path / "out.pcap").write_bytes(taken)
    found = [data for _, data in captured(tmp_path / "out.pcap")]
    assert found == [frame(n, 1514) for n in range(len(found))]


def test_a_write_error_later_is_reported_once_and_counted(tmp_path: Path) -> None:
    import resource
    import signal

    sink = tmp_path / "out.pcap"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Hand(cable=False) as hand:
            a = hand.ports[0]
            a.plug(PcapWire(capture=str(sink)))
            tx = hand.tx_ring(a)
            hand.send(tx, [frame(n) for n in range(10)], rounds=1)
            size = sink.stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, old[1]))
            hand.send(tx, [frame(n) for n in range(20)], rounds=1)
            hand.send(tx, [frame(n) for n in range(5)], rounds=1)
            stats = a.wire_stats()["capture"]
            assert (stats["captured"], stats["lost"]) == (10, 25)
            assert stats["error"] == f"{sink}: cannot write the capture file: File too large"
            assert a.stats.gptc == 35
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [data for _, data in captured(sink)] == [frame(n) for n in range(10)]


# refusals


def cut(path: Path, by: int) -> str:
    data = path.read_bytes()
    path.write_bytes(data[:-by])
    return str(path)


def test_refusals(tmp_path: Path) -> None:
    good = write_pcap(tmp_path / "good", [frame(1), frame(2)])
    data = (tmp_path / "good").read_bytes()
    (tmp_path / "text").write_text("no capture at all")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "no frames").write_bytes(data[:24])
    (tmp_path / "wifi").write_bytes(data[:20] + struct.pack("<I", 105) + data[24:])
    (tmp_path / "snap").write_bytes(data[:36] + struct.pack("<I", 61) + data[40:])
    (tmp_path / "huge").write_bytes(data[:32] + struct.pack("<I", 2**31) + data[36:])
    write_pcapng(tmp_path / "ng", [frame(1), frame(2)])
    (tmp_path / "ng short").write_bytes((tmp_path / "ng").read_bytes()[:-60])
    write_pcapng(tmp_path / "ng cut", [frame(1)])
    whole = (tmp_path / "ng cut").read_bytes()
    at = whole.index(struct.pack("<II", 60, 60))
    (tmp_path / "ng cut").write_bytes(whole[: at + 4] + struct.pack("<I", 90) + whole[at + 8 :])
    for name, message in {
        "nowhere": "cannot read the capture file: No such file",
        "text": "not a capture file",
        "empty": "not a capture file",
        "no frames": "the capture file has no frames",
        "wifi": "record 1 at byte 24 has link type 105; expected Ethernet",
        "snap": "record 1 at byte 24 has only 60 of its frame's 61 bytes",
        "huge": "record 1 at byte 24 is cut off",
        "ng short": "the block at byte [0-9]+ is cut off",
        "ng cut": "record 1 at byte 48 has only 60 of its frame's 90 bytes",
    }.items():
        with pytest.raises(UsageError, match=message) as found:
            read_capture(str(tmp_path / name))
        assert str(tmp_path / name) in str(found.value) and "\n" not in str(found.value)
    assert read_capture(good).lengths == (60, 60)
    for by in (1, 59, 60, 61, 75):
        write_pcap(tmp_path / "cut", [frame(1), frame(2)])
        with pytest.raises(UsageError, match="record 2 at byte 100 is cut off"):
            read_capture(cut(tmp_path / "cut", by))


def test_a_directory_and_the_replayed_file_are_no_capture_files(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "in", [frame(1)])
    for capture, message in ((str(tmp_path), "Is a directory"), (path, "is the file that is replayed")):
        with Hand(cable=False) as hand, pytest.raises(UsageError, match=message):
            hand.ports[0].plug(PcapWire(replay=path, capture=capture))
    assert read_capture(path).lengths == (60,)


def test_a_capture_file_is_complete_after_stop_and_after_close(tmp_path: Path) -> None:
    sink = tmp_path / "out.pcap"
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(PcapWire(capture=str(sink)))
        a.start_feed()
        hand.send(hand.tx_ring(a), [frame(0)])
        a.stop_feed()
        assert len(captured(sink)) == 1
        with pytest.raises(UsageError, match="a pcap wire is plugged in already"):
            a.plug(GeneratorWire())
    assert len(captured(sink)) == 1
    assert not any(
        "out.pcap" in os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if fd.isdigit() and os.path.exists(f"/proc/self/fd/{fd}")
    )
