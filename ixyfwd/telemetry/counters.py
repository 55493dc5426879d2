"""The counters page: 1024 64-bit words per worker, written by that worker, read by anybody.

Words 0-7 describe the worker and its pauses, word 8 (a cache line of its own) is the only one that the supervisor
writes, words 16-31 count the poll loop, then a block of 32 words follows for each port, and from word 512 on a block of
32 words for each program. `engine/worker.h` has the same numbers in C; a test compares the two.
"""

from enum import IntEnum
from typing import Final

PAGE_BYTES = 8192
PAGE_WORDS = PAGE_BYTES // 8
PORT_BLOCK_WORD = 32
PORT_BLOCK_WORDS = 32
PROGRAM_BLOCK_WORD = 512
PROGRAM_BLOCK_WORDS = 32
DROP_CAUSES = 12  # of a program at most
PROGRAM_COUNTERS = 12  # of its own at most
MAX_PORTS = (PROGRAM_BLOCK_WORD - PORT_BLOCK_WORD) // PORT_BLOCK_WORDS
MAX_PROGRAMS = (PAGE_WORDS - PROGRAM_BLOCK_WORD) // PROGRAM_BLOCK_WORDS


class State(IntEnum):
    """What a worker says of itself in `Word.STATE`."""

    STARTING = 0
    READY = 1
    DRAINED = 2
    FAILED = 3


class Command(IntEnum):
    """What the supervisor asks of a worker in `Word.COMMAND`."""

    RUN = 0
    DRAIN = 1
    QUIT = 2


NOT_LOOKED: Final = (1 << 63) - 1  # in LOOKED_NS: before the first look, or after a wait whose end was left open
NO_PAUSES: Final = (1 << 63) - 1  # as the shortest pause that counts: none does


class Word(IntEnum):
    """Words of the page that are not per port."""

    STATE = 0
    PID = 1
    HEARTBEAT = 2  # moves at every housekeeping round, also when idle
    FIRST_TX_NS = 3  # CLOCK_MONOTONIC when the first burst was handed to a tx ring; 0 before
    PAUSES = 4  # times the worker was away from its rings for longer than the smallest of them lasts
    PAUSED_NS = 5  # all of these together
    LONGEST_PAUSE_NS = 6
    LOOKED_NS = 7  # fused loop: its clock at its last look at the rings, and the rest that it asked for since
    COMMAND = 8  # the supervisor's word
    GO = 9  # the supervisor's too: 1 once links are up and a generator may send
    POLLS = 16  # rounds over all links
    EMPTY_POLLS = 17  # rounds that found nothing
    BURSTS = 18  # rx bursts with at least one packet
    BUSY_NS = 19  # time spent in rounds that found something
    SLEEPS = 20  # times the idle policy slept
    YIELDS = 21  # times the idle policy gave the CPU away
    WAKEUPS = 22  # sleeps that an interrupt ended
    ASKED = 23  # generate: frames handed to the tx ring, taken or not
    SHORTFALL = 24  # generate: frames that were due and given up, for the ring had no room for too long
    WRITTEN = 25  # capture: frames in the file (or seen, without a file)
    FILTERED = 26  # capture: frames that the filter did not match
    FILE_BUSY = 27  # capture: frames lost because all blocks waited for the file
    FILE_FAILED = 28  # capture: frames lost because the file could not be written
    SURPLUS = 29  # capture: frames after the last one that was asked for
    DONE = 30  # generate, capture: 1 once the count is reached
    ERRNO = 31  # capture: why the file cannot be written


class PortWord(IntEnum):
    """Words of a port's block; rx words count frames taken from that port, tx words frames given to it."""

    RX_PACKETS = 0
    RX_BYTES = 1
    RX_ERRORS = 2  # frames dropped for an error flag or for spanning several descriptors
    RX_NO_BUFFER = 3  # times a refill found the free stack empty (nothing is lost by that alone)
    TX_PACKETS = 8  # accepted into the tx ring
    TX_BYTES = 9
    TX_FULL = 10  # not accepted: the ring was full; freed and dropped


def port_word(port: int, word: PortWord) -> int:
    """Index of a per-port word in the page."""
    return PORT_BLOCK_WORD + port * PORT_BLOCK_WORDS + word


class ProgramWord(IntEnum):
    """Words of a program's block. IN = PASSED + OUT + INVALID + the drops; written only if the program decides."""

    IN = 0  # frames that came to it
    PASSED = 1  # to the next program, or out of the link's other port
    OUT = 2  # out of a port that a program named
    INVALID = 7  # freed for a verdict that names no port or no cause
    DROPS = 8  # and the DROP_CAUSES - 1 words behind it: dropped, by cause
    COUNTERS = 20  # and the PROGRAM_COUNTERS - 1 words behind it: the program's own


def program_word(program: int, word: int) -> int:
    """Index of a word of the page in the block of a program, by its place in the list of programs."""
    return PROGRAM_BLOCK_WORD + program * PROGRAM_BLOCK_WORDS + word
