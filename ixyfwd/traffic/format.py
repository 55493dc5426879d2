"""The format of test traffic: how a frame is laid out and what fills it. `format.h` has the same numbers for C.

A frame begins with the head of its flow, which ends in the frame's number within the
flow and the time when it was made. What follows depends on the position alone, so that
a sink knows what every byte should be. Frames have no CRC here.
"""

from typing import Final

TEMPLATE_BYTES: Final = 64  # the head of a flow's frames of one size, padded to a cache line
HEAD_BYTES: Final = 60  # of a frame: as long as the shortest one; what follows is filler
AT_MARK: Final = 42  # number of the generator, then MARK
AT_FLOW: Final = 44  # u32
AT_TOUCH: Final = 48  # the byte that the `touch` program increments, then three zeros
AT_SEQUENCE: Final = 52  # u32, counts within the flow
AT_STAMP: Final = 56  # u32, low bits of CLOCK_MONOTONIC in ns
MARK: Final = 0xA5
CRC_BYTES: Final = 4
WIRE_OVERHEAD_BYTES: Final = 24  # CRC, preamble and gap: what a frame takes on the wire besides


def filler(begin: int, end: int) -> bytes:
    """The bytes at positions `begin` to `end` of every frame that is so long, behind its head."""
    return bytes((at * 7 + (at >> 8) * 31 + 0x35) & 0xFF for at in range(begin, end))


def port_mac(index: int) -> bytes:
    """The default MAC address of a model's port number `index`, 6 bytes: locally administered, "ixy".

    What a worker sends to port 0's address looks as if the generator wire there had sent it.
    """
    return bytes((0x02, 0x69, 0x78, 0x79, 0x00, index))


def generator_mac(number: int) -> bytes:
    """The source address of generator `number`, locally administered."""
    return bytes((2, 0, 0, 0, 1, number))
