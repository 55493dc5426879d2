"""Reading capture files: every block and resolution of pcapng, foreign writers, garbage, FIFOs."""

import os
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter, PcapWriter, RawPcapNgReader

from ixyfwd.errors import UsageError
from ixyfwd.model.wires import capture_bytes
from ixyfwd.model.wires.capture_file import LATEST_NS, read_capture
from ixyfwd.model.wires.pcap import PcapWire

ETHERNET, RAW_IP = 1, 101
FRAMES = [bytes([n]) * (60 + n) for n in range(5)]


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))


def section(order: str = "<", major: int = 1) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1))


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(order: str = "<", link_type: int = ETHERNET, snap: int = 0, options: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(order + "HHI", link_type, 0, snap) + options)


def enhanced(frame: bytes, units: int = 0, number: int = 0, order: str = "<", original: int | None = None) -> bytes:
    whole = len(frame) if original is None else original
    return block(
        order, 6, struct.pack(order + "IIIII", number, units >> 32, units & 0xFFFFFFFF, len(frame), whole) + frame
    )


def obsolete(frame: bytes, units: int = 0, number: int = 0, order: str = "<") -> bytes:
    head = struct.pack(order + "HHIIII", number, 0xFFFF, units >> 32, units & 0xFFFFFFFF, len(frame), len(frame))
    return block(order, 2, head + frame)


def simple(frame: bytes, order: str = "<") -> bytes:
    return block(order, 3, struct.pack(order + "I", len(frame)) + frame)


def read(path: Path, data: bytes) -> list[tuple[int, bytes]]:
    path.write_bytes(data)
    found = read_capture(str(path))
    return [
        (ns, found.data[at : at + length])
        for ns, at, length in zip(found.times_ns, found.offsets, found.lengths, strict=True)
    ]


@pytest.mark.parametrize("order", ["<", ">"])
def test_each_interface_has_its_own_clock(tmp_path: Path, order: str) -> None:
    """Before: the first one's was used for all, and a frame of nanoseconds was off by a thousand."""
    second = 1_700_000_000
    data = section(order) + interface(order)  # microseconds
    data += interface(order, options=option(order, 2, b"eth1") + option(order, 9, b"\x09") + option(order, 0, b""))
    data += interface(order, options=option(order, 9, bytes([0x80 | 10])))  # 2^-10 s
    data += interface(order, options=option(order, 9, b"\x00") + option(order, 14, struct.pack(order + "q", second)))
    data += enhanced(FRAMES[0], second * 10**6, 0, order)
    data += enhanced(FRAMES[1], second * 10**9 + 123_456_789, 1, order)
    data += enhanced(FRAMES[2], second * 1024 + 512, 2, order)
    data += enhanced(FRAMES[3], 2, 3, order)
    data += obsolete(FRAMES[4], second * 10**9 + 2_000_000_001, 1, order)
    times = [0, 123_456_789, 500_000_000, 2_000_000_000, 2_000_000_001]
    assert read(tmp_path / "in", data) == list(zip(times, FRAMES, strict=True))


def test_simple_packets_are_frames_too(tmp_path: Path) -> None:
    """They have no time: that of the frame before, or of the first one."""
    data = section() + interface(snap=64) + simple(FRAMES[0]) + enhanced(FRAMES[1], 5) + simple(FRAMES[2])
    data += enhanced(FRAMES[3], 12) + simple(FRAMES[4])
    assert read(tmp_path / "in", data) == list(zip([0, 0, 0, 7000, 7000], FRAMES, strict=True))


def test_a_simple_packet_that_its_interface_cut_is_refused(tmp_path: Path) -> None:
    data = section() + interface(snap=60) + block("<", 3, struct.pack("<I", 90) + FRAMES[0])
    with pytest.raises(UsageError, match="record 1 at byte 48 has only 60 of its frame's 90 bytes"):
        read(tmp_path / "in", data)


def test_sections_number_their_interfaces_anew_in_their_own_byte_order(tmp_path: Path) -> None:
    data = section("<") + interface("<", options=option("<", 9, b"\x09")) + enhanced(FRAMES[0], 1000)
    data += section(">") + interface(">") + enhanced(FRAMES[1], 3, 0, ">") + block(">", 0xBAD, b"unknown")
    assert read(tmp_path / "in", data) == [(0, FRAMES[0]), (2000, FRAMES[1])]


def test_what_is_not_ethernet_is_refused_by_its_interface(tmp_path: Path) -> None:
    """An interface of which there is no frame may be anything."""
    data = section() + interface() + interface(link_type=RAW_IP, options=option("<", 2, b"tun0")) + enhanced(FRAMES[0])
    assert len(read(tmp_path / "in", data)) == 1
    message = r"in: record 2 at byte 168 is of interface 1 \(tun0\) and has link type 101; expected Ethernet \(1\)"
    with pytest.raises(UsageError, match=message):
        read(tmp_path / "in", data + enhanced(FRAMES[1], number=1))


def test_check_sequences_in_the_file_are_left_out(tmp_path: Path) -> None:
    frame = FRAMES[0]
    options = option("<", 13, b"\x04")
    assert read(tmp_path / "in", section() + interface(options=options) + enhanced(frame + b"crc!")) == [(0, frame)]
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, ETHERNET | 1 << 26 | 2 << 28)
    record = struct.pack("<IIII", 1, 0, len(frame) + 4, len(frame) + 4) + frame + b"crc!"
    assert read(tmp_path / "in", header + record) == [(0, frame)]


def test_nanoseconds_are_whole_numbers(tmp_path: Path) -> None:
    """Before: through floats, rounded to a quarter of a microsecond."""
    header = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, ETHERNET)
    steps = [0, 1, 2, 999_999_999, 10**9 + 1]
    start = 1_700_000_000
    records = b"".join(
        struct.pack("<IIII", start + ns // 10**9, ns % 10**9, len(frame), len(frame)) + frame
        for ns, frame in zip(steps, FRAMES, strict=True)
    )
    assert read(tmp_path / "in", header + records) == list(zip(steps, FRAMES, strict=True))


def test_modified_pcap_has_longer_record_headers(tmp_path: Path) -> None:
    header = struct.pack(">IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, ETHERNET)
    records = b"".join(
        struct.pack(">IIIIIHBB", 1, n, len(frame), len(frame), 1, 0, 0, 0) + frame for n, frame in enumerate(FRAMES)
    )
    assert read(tmp_path / "in", header + records) == [(1000 * n, frame) for n, frame in enumerate(FRAMES)]


def test_times_that_are_ages_apart_stay_in_range(tmp_path: Path) -> None:
    data = section() + interface(options=option("<", 9, b"\x00"))
    data += enhanced(FRAMES[0], 5) + enhanced(FRAMES[1], 2**64 - 1) + enhanced(FRAMES[2], 4)
    assert [ns for ns, _ in read(tmp_path / "in", data)] == [0, LATEST_NS, 0]


@pytest.mark.parametrize(
    "data,message",
    [
        (section()[:11], "the block at byte 0 is cut off"),
        (section()[:8] + b"1234" + section()[12:], "the section at byte 0 has no byte-order magic"),
        (section(major=2), "the section at byte 0 is of version 2; expected version 1"),
        (section() + enhanced(FRAMES[0]), "the block at byte 28 is damaged: it is of interface 0, and 0 interfaces"),
        (section() + struct.pack("<II", 7, 13) + bytes(8), "the block at byte 28 is damaged: it has a length of 13"),
        (section() + struct.pack("<II", 7, 0) + bytes(8), "the block at byte 28 is damaged: it has a length of 0"),
        (section() + interface()[:-4] + b"\x10\0\0\0", "it has a length of 20, at its end of 16"),
        (section() + interface(options=struct.pack("<HH", 9, 99)), "the options at byte 44 are damaged"),
        (section() + interface(), "the capture file has no frames"),
        (
            section() + interface() + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 90, 90) + FRAMES[0]),
            "the block at byte 48 is damaged: it is too short for 90 bytes",
        ),
        (b"\x1f\x8b\x08\x00" + bytes(40), "a compressed file; expected pcap or pcapng"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 3, 4, 0, 0, 65535, 1), "pcap of version 3; expected version 2"),
        (struct.pack("<IHH", 0xA1B2C3D4, 2, 4), "not a capture file"),
    ],
)
def test_damage_is_one_sentence_with_file_and_place(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as found:
        read(tmp_path / "in", data)
    assert str(found.value).startswith(f"{tmp_path / 'in'}: ") and "\n" not in str(found.value)


# foreign writers and readers


def test_scapy_writes_pcapng(tmp_path: Path) -> None:
    path = tmp_path / "in"
    with PcapNgWriter(str(path)) as writer:
        for n, frame in enumerate(FRAMES):
            packet = Ether(frame)
            packet.time = 1_700_000_000 + n
            writer.write(packet)
    assert read(path, path.read_bytes()) == [(n * 10**9, frame) for n, frame in enumerate(FRAMES)]


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_scapy_writes_pcap_and_tcpdump_copies_it(tmp_path: Path, nano: bool, order: str) -> None:
    path = tmp_path / "in"
    with PcapWriter(str(path), linktype=ETHERNET, nano=nano, endianness=order) as writer:
        writer.write_header(None)
        for n, frame in enumerate(FRAMES):
            writer._write_packet(frame, ETHERNET, sec=5, usec=n)
    expected = [(n * (1 if nano else 1000), frame) for n, frame in enumerate(FRAMES)]
    assert read(path, path.read_bytes()) == expected
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    copy = subprocess.run(
        ["tcpdump", "-r", str(path), "-w", "-", f"--time-stamp-precision={'nano' if nano else 'micro'}"],
        capture_output=True,
        check=True,
    ).stdout
    assert read(path, copy) == expected


def test_the_blocks_of_these_tests_are_what_scapy_reads(tmp_path: Path) -> None:
    data = section() + interface(snap=65535) + interface(options=option("<", 9, b"\x09"))
    data += enhanced(FRAMES[0], 7) + enhanced(FRAMES[1], 8000, 1) + enhanced(FRAMES[2], 9) + simple(FRAMES[3])
    (tmp_path / "in").write_bytes(data)
    with RawPcapNgReader(str(tmp_path / "in")) as reader:
        assert [frame for frame, _ in reader] == FRAMES[:4]


# any file

orders = st.sampled_from("<>")
Captured = tuple[bytes, list[tuple[int, bytes]]]


@st.composite
def captures(draw: st.DrawFn) -> Captured:
    """A pcapng file, and its frames with their times in ns since the epoch."""
    data, frames = b"", []
    for _ in range(draw(st.integers(1, 3))):
        order = draw(orders)
        data += section(order)
        clocks = draw(
            st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(-100, 100)), min_size=1, max_size=3)
        )
        for binary, exponent, offset in clocks:
            options = option(order, 9, bytes([exponent | binary << 7]))
            options += option(order, 14, struct.pack(order + "q", offset)) if offset else b""
            data += interface(order, options=options)
        for number, seconds, body in draw(
            st.lists(
                st.tuples(st.integers(0, len(clocks) - 1), st.integers(1000, 2000), st.binary(max_size=9)), max_size=4
            )
        ):
            binary, exponent, offset = clocks[number]
            make = draw(st.sampled_from([enhanced, obsolete]))
            data += make(body, seconds * (2 if binary else 10) ** exponent, number, order)
            frames.append(((seconds + offset) * 10**9, body))
            data += draw(st.sampled_from([b"", block(order, 5, b"statistics")]))
    return data, frames


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(captures())
def test_any_pcapng_file_gives_its_frames_and_times(tmp_path: Path, made: Captured) -> None:
    data, frames = made
    if not frames:
        with pytest.raises(UsageError, match="has no frames"):
            read(tmp_path / "in", data)
        return
    first = frames[0][0]
    assert read(tmp_path / "in", data) == [(max(0, ns - first), frame) for ns, frame in frames]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(captures(), st.data())
def test_garbage_is_refused_in_one_sentence_or_read_within_the_file(
    tmp_path: Path, made: Captured, choices: st.DataObject
) -> None:
    data = bytearray(made[0])
    for _ in range(choices.draw(st.integers(0, 4))):
        at = choices.draw(st.integers(0, len(data) - 1))
        data[at : at + choices.draw(st.integers(0, 8))] = choices.draw(st.binary(max_size=8))
        if not data:
            break
    path = tmp_path / "in"
    path.write_bytes(data)
    try:
        found = read_capture(str(path))
    except UsageError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        assert all(at + length <= len(data) for at, length in zip(found.offsets, found.lengths, strict=True))
        assert all(0 <= ns <= LATEST_NS for ns in found.times_ns)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([b"", section(), struct.pack("<I", 0xA1B2C3D4), struct.pack("<I", 0xA1B2CD34)]), st.binary())
def test_random_bytes_are_refused_in_one_sentence_or_read(tmp_path: Path, head: bytes, tail: bytes) -> None:
    path = tmp_path / "in"
    path.write_bytes(head + tail)
    try:
        read_capture(str(path))
    except UsageError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)


# FIFOs


def test_a_fifo_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = section() + interface() + b"".join(enhanced(bytes(1500), n) for n in range(200))  # more than a pipe holds
    writer = threading.Thread(target=lambda: path.write_bytes(data))
    writer.start()
    assert len(read_capture(str(path)).lengths) == 200
    writer.join()


@pytest.mark.parametrize("writes", [False, True])
def test_a_fifo_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: bool) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    monkeypatch.setattr(capture_bytes, "FIFO_S", 0.1)
    keep = os.open(path, os.O_RDWR) if writes else -1
    if writes:
        os.write(keep, section())
    message = "has not come to its end" if writes else "nothing has come through the FIFO"
    with pytest.raises(UsageError, match=f"{message} after 0.1 s; expected a writer"):
        read_capture(str(path))
    if writes:
        os.close(keep)


def test_a_fifo_may_be_replayed_and_a_device_may_not(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert list(PcapWire(replay=str(fifo)).machine_problems()) == []
    for path in ("/dev/zero", str(tmp_path)):
        assert [key for key, _ in PcapWire(replay=path).machine_problems()] == ["replay"]
        with pytest.raises(UsageError, match="neither a file nor a FIFO"):
            read_capture(path)
