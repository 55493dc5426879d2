"""Frames that tests of the model send."""

import struct
from pathlib import Path

from scapy.all import IP, UDP, Ether, PcapReader


def frame(number: int, size: int = 60) -> bytes:
    """A unicast frame without meaning, different for each number."""
    body = bytes((number * 31 + i * 7) & 255 for i in range(size - 18))
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x88\xb5" + struct.pack("<I", number) + body


def flow(port: int) -> bytes:
    return bytes(Ether(dst="02:00:00:00:00:01") / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=port, dport=9)).ljust(
        60
    )


def frames_in(path: Path) -> list[bytes]:
    """The frames of a capture file, as scapy reads them."""
    with PcapReader(str(path)) as reader:
        return [bytes(packet) for packet in reader]
