"""The generator's flows: addresses, ports and the first 64 bytes of their frames.

Flow f has the end points A(f) and B(f). Even ports send A to B, odd ports B to A, so that the two ports of a link
carry the two directions of one conversation.

With the symmetric key, which repeats one 16-bit word, the RSS hash depends on the XOR of all 16-bit words of addresses
and ports alone, so random flows would meet in few RETA entries. The addresses are chosen so that the low 7 bits of the
hash count up with f, whether ports are hashed or not: 64 flows then load 16 queues evenly. The ports of a flow differ
in one bit, which permutes the entries and nothing else.
"""

import struct
from collections.abc import Sequence
from functools import reduce
from math import gcd

from ixyfwd.errors import UsageError

TEMPLATE_BYTES = 64
FLOWS_MAX = 1 << 20
IMIX = ((64, 28), (570, 16), (1518, 4))  # frame bytes incl. CRC, weight
SCHEDULE_MAX = 4096
SIZES_MAX = 254
MARK = 0xA5  # generator.h
CRC_BYTES = 4
_SYMMETRIC_WORD = 0x6D5A
_ADDRESS_A = 0x0A000000  # 10.0.0.0/12
_ADDRESS_B = 0x0A800000  # 10.128.0.0/12
_FIRST_PORT = 4096


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


def end_points(flow: int) -> tuple[int, int, int, int]:
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


def template(flow: int, frame_bytes: int, number: int, destination: bytes, source: bytes) -> bytes:
    """The first 64 bytes of generator `number`'s frames of `frame_bytes` (incl. CRC): all that does not change."""
    a, b, port_a, port_b = end_points(flow)
    if number & 1:
        a, b, port_a, port_b = b, a, port_b, port_a
    ip_bytes = frame_bytes - CRC_BYTES - 14
    fields = struct.pack(">BBHHHBBHII", 0x45, 0, ip_bytes, 0, 0x4000, 64, 17, 0, a, b)
    ip = fields[:10] + struct.pack(">H", _checksum(fields)) + fields[12:]
    udp = struct.pack(">HHHH", port_a, port_b, ip_bytes - 20, 0)
    payload = struct.pack("<BBIIII", number, MARK, flow, 0, 0, 0)
    return (destination + source + b"\x08\x00" + ip + udp + payload).ljust(TEMPLATE_BYTES, b"\0")


def make_schedule(frames: Sequence[tuple[int, int]], longest: int) -> tuple[list[int], bytes]:
    """Sizes without CRC, and the order in which a flow uses them: spread evenly by weight (largest debt first).

    Raises UsageError for sizes or weights that cannot be sent.
    """
    weights: dict[int, int] = {}
    for size, weight in frames:
        if not 64 <= size <= longest + CRC_BYTES or weight < 1:
            limit = longest + CRC_BYTES
            raise UsageError(
                f"frames of {size} bytes with weight {weight}: expected 64 to {limit} bytes (CRC included) "
                "and a weight of at least 1"
            )
        weights[size - CRC_BYTES] = weights.get(size - CRC_BYTES, 0) + weight
    divisor = reduce(gcd, weights.values(), 0)
    total = sum(weights.values()) // divisor if divisor else 0
    if not 1 <= total <= SCHEDULE_MAX or len(weights) > SIZES_MAX:
        raise UsageError(
            f"{len(weights)} frame sizes with weights that sum up to {total}: expected 1 to {SIZES_MAX} sizes "
            f"and a sum of at most {SCHEDULE_MAX}"
        )
    sizes, shares = list(weights), [weight // divisor for weight in weights.values()]
    debts = [0] * len(sizes)
    order = bytearray()
    for _ in range(total):
        debts = [debt + share for debt, share in zip(debts, shares, strict=True)]
        chosen = max(range(len(sizes)), key=debts.__getitem__)
        debts[chosen] -= total
        order.append(chosen)
    return sizes, bytes(order)
