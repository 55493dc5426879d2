"""The flows of test traffic: addresses, ports and the first 64 bytes of their frames.

Flow f has the end points A(f) and B(f). Even ports send A to B, odd ports B to A, so that the two ports of a link
carry the two directions of one conversation.

With the symmetric key, which repeats one 16-bit word, the RSS hash depends on the XOR of
all 16-bit words of addresses and ports alone, so random flows would meet in few RETA
entries. The addresses are chosen so that the low 7 bits of the hash count up with f,
whether ports are hashed or not: 64 flows then load 16 queues evenly. The ports of a flow
differ in one bit, which permutes the entries and nothing else.
"""

import struct

from ixyfwd.traffic.format import AT_MARK, CRC_BYTES, MARK, TEMPLATE_BYTES

FLOWS_MAX = 1 << 20
_SYMMETRIC_WORD = 0x6D5A
_ADDRESS_A = 0x0A000000  # 10.0.0.0/12
_ADDRESS_B = 0x0A800000  # 10.128.0.0/12
_FIRST_PORT = 4096


Ends = tuple[int, int, int, int]
"""Two addresses and two ports, as numbers."""


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> (16 - by)) & 0xFFFF


def _product(a: int, b: int) -> int:
    """Of polynomials over GF(2) modulo x^16 - 1: a hash with a 16-bit periodic key is such a product."""
    product = 0
    for bit in range(16):
        if b >> bit & 1:
            product ^= _rotate(a, bit)
    return product


def _inverse(a: int) -> int:
    """a^15: a^16 is 1 for every polynomial with an odd number of terms."""
    power = a
    for _ in range(14):
        power = _product(power, a)
    return power


_INVERSE_KEY = _inverse(_SYMMETRIC_WORD)


def _word_with_hash(hash16: int) -> int:
    """The 16-bit XOR of addresses whose hash under the symmetric key has this lower half."""
    product = _product(_INVERSE_KEY, hash16)
    return int(f"{product:016b}"[::-1], 2)


def end_points(flow: int) -> Ends:
    """(address A, address B, port A, port B) of a flow, as numbers."""
    low, high = flow & 0xFFFF, flow >> 16
    a = _ADDRESS_A | high << 16 | low
    between = (_ADDRESS_A ^ _ADDRESS_B) >> 16 ^ _word_with_hash(low & 0xFFFF)
    b = _ADDRESS_B | high << 16 | (low ^ between)
    port = _FIRST_PORT + 2 * (flow % 16384)
    return a, b, port, port + 1


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def template(  # noqa: PLR0917
    flow: int, frame_bytes: int, number: int, destination: bytes, source: bytes, ends: Ends | None = None
) -> bytes:
    """The first 64 bytes of a flow's frames, as far as they do not change from frame to frame.

    `frame_bytes`: with CRC; `number`: the generator's; `ends`: addresses and ports other than the flow's own, in the
    order of the frame.
    """
    if ends is None:
        a, b, port_a, port_b = end_points(flow)
        ends = (b, a, port_b, port_a) if number & 1 else (a, b, port_a, port_b)
    from_address, to_address, from_port, to_port = ends
    ip_bytes = frame_bytes - CRC_BYTES - 14
    fields = struct.pack(">BBHHHBBHII", 0x45, 0, ip_bytes, 0, 0x4000, 64, 17, 0, from_address, to_address)
    ip = fields[:10] + struct.pack(">H", _checksum(fields)) + fields[12:]
    udp = struct.pack(">HHHH", from_port, to_port, ip_bytes - 20, 0)
    head = destination + source + b"\x08\x00" + ip + udp
    # The mark is what the payload begins with; touched byte, number and time of a frame are 0 here.
    assert len(head) == AT_MARK
    return (head + struct.pack("<BBI", number, MARK, flow)).ljust(TEMPLATE_BYTES, b"\0")
