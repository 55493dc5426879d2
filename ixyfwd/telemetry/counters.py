"""The counters page: 1024 64-bit words per worker, written by that worker, read by any process.

Words 0-7 describe the worker and its pauses, word 8 (a cache line of its own) is the
only one that the supervisor writes, words 16-31 count the poll loop, then a block of 32
words follows for each port, and from word 512 on a block of 32 words for each program.

A counter is one row: a member of `Word`, `PortWord` or `ProgramWord`, with its place,
unit and meaning. All else that names it is made from the row: the enums in C
(`telemetry/words.h`, which the build writes), the JSON of a run and its schema, the
reference page. This module imports nothing of the package: the build loads it before
there is one.
"""

from collections.abc import Iterable, Iterator
from enum import Enum, IntEnum
from typing import Final, Literal, Self

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
    """A worker's state, as the worker writes it to `Word.STATE`."""

    STARTING = 0
    READY = 1
    DRAINED = 2
    FAILED = 3


class Command(IntEnum):
    """A command to a worker, as the supervisor writes it to `Word.COMMAND`."""

    RUN = 0
    DRAIN = 1
    QUIT = 2


NOT_LOOKED: Final = (1 << 63) - 1  # in LOOKED_NS: before the first look, or after a wait whose end was left open
NO_PAUSES: Final = (1 << 63) - 1  # as the shortest pause that is counted: no pause is


class Scope(Enum):
    """The kind of object that a row describes."""

    WORKER = "worker"
    PAUSES = "worker with a CPU of its own"
    TRAFFIC = "worker that generates or captures"
    PORT = "port of a worker"
    PROGRAM = "program of a worker"


class NumberKind(Enum):
    """The kind of a row's number."""

    COUNTER = "counter"
    """It only grows."""

    GAUGE = "gauge"
    """It says how things are now."""

    NAMED = "named by the program"
    """The first of some words whose names a program declares."""

    PRIVATE = "private"
    """A word by which processes talk to each other; no report shows it."""


Unit = Literal["frames", "bytes", "ns", "rounds", "bursts", "times", "number"]


class MetricRow(IntEnum):
    """A metric in the page. Its value is the index of its word in its block; `text` is one sentence."""

    scope: Scope
    kind: NumberKind
    unit: Unit
    text: str
    key: str  # its name in JSON

    def __new__(cls, word: int, scope: Scope, kind: NumberKind, unit: Unit, text: str) -> Self:
        row = int.__new__(cls, word)
        row._value_ = word
        row.scope, row.kind, row.unit, row.text = scope, kind, unit, text
        return row

    def __init__(self, *_: object) -> None:
        self.key = self.name.lower()

    @property
    def reported(self) -> bool:
        """Whether a report shows it under its own name."""
        return self.kind in {NumberKind.COUNTER, NumberKind.GAUGE}


class Word(MetricRow):
    """Words of the page that belong to the worker as a whole."""

    STATE = 0, Scope.WORKER, NumberKind.PRIVATE, "number", "What the worker says of itself (State)."
    PID = 1, Scope.WORKER, NumberKind.PRIVATE, "number", "Process id."
    HEARTBEAT = 2, Scope.WORKER, NumberKind.PRIVATE, "times", "Moves at every housekeeping round, also when idle."
    FIRST_TX_NS = (
        *(3, Scope.WORKER, NumberKind.PRIVATE, "ns"),
        "CLOCK_MONOTONIC when the first burst was handed to a tx ring; 0 before.",
    )
    PAUSES = (
        *(4, Scope.PAUSES, NumberKind.COUNTER, "times"),
        "Times in which it left its rings alone for longer than the smallest of them lasts.",
    )
    PAUSED_NS = 5, Scope.PAUSES, NumberKind.COUNTER, "ns", "All pauses together."
    LONGEST_PAUSE_NS = 6, Scope.PAUSES, NumberKind.GAUGE, "ns", "The longest pause."
    LOOKED_NS = (
        *(7, Scope.WORKER, NumberKind.PRIVATE, "ns"),
        "Fused loop: its clock when it last polled the rings, plus the sleep that was asked for since.",
    )
    COMMAND = 8, Scope.WORKER, NumberKind.PRIVATE, "number", "The supervisor's command (Command)."
    GO = (
        9,
        Scope.WORKER,
        NumberKind.PRIVATE,
        "number",
        "Written by the supervisor: 1 once links are up and a generator may send.",
    )
    POLLS = 16, Scope.WORKER, NumberKind.COUNTER, "rounds", "Rounds over all links."
    EMPTY_POLLS = 17, Scope.WORKER, NumberKind.COUNTER, "rounds", "Rounds that found no frame."
    BURSTS = 18, Scope.WORKER, NumberKind.COUNTER, "bursts", "Receive bursts with at least one frame."
    BUSY_NS = 19, Scope.WORKER, NumberKind.COUNTER, "ns", "Time spent in rounds that found frames."
    SLEEPS = 20, Scope.WORKER, NumberKind.COUNTER, "times", "Times the idle policy slept."
    YIELDS = 21, Scope.WORKER, NumberKind.COUNTER, "times", "Times the idle policy gave the CPU away."
    WAKEUPS = 22, Scope.WORKER, NumberKind.COUNTER, "times", "Sleeps that an interrupt ended."
    ASKED = (
        *(23, Scope.TRAFFIC, NumberKind.COUNTER, "frames"),
        "generate: frames handed to the tx ring, taken or not.",
    )
    SHORTFALL = (
        *(24, Scope.TRAFFIC, NumberKind.COUNTER, "frames"),
        "generate: frames that were due and given up, because the ring had no room for too long.",
    )
    WRITTEN = 25, Scope.TRAFFIC, NumberKind.COUNTER, "frames", "capture: frames in the file (or seen, without a file)."
    FILTERED = 26, Scope.TRAFFIC, NumberKind.COUNTER, "frames", "capture: frames that the filter did not match."
    FILE_BUSY = (
        *(27, Scope.TRAFFIC, NumberKind.COUNTER, "frames"),
        "capture: frames lost because all blocks waited for the file.",
    )
    FILE_FAILED = (
        *(28, Scope.TRAFFIC, NumberKind.COUNTER, "frames"),
        "capture: frames lost because the file could not be written.",
    )
    SURPLUS = 29, Scope.TRAFFIC, NumberKind.COUNTER, "frames", "capture: frames after the last one that was asked for."
    DONE = 30, Scope.TRAFFIC, NumberKind.GAUGE, "number", "1 once the asked number of frames is reached."
    ERRNO = 31, Scope.TRAFFIC, NumberKind.GAUGE, "number", "capture: errno of writing the file; 0: no error."


class PortWord(MetricRow):
    """Words of a port's block; rx words count frames taken from that port, tx words frames given to it."""

    RX_PACKETS = 0, Scope.PORT, NumberKind.COUNTER, "frames", "Frames taken from the rx ring."
    RX_BYTES = 1, Scope.PORT, NumberKind.COUNTER, "bytes", "Bytes of the frames taken, without CRC."
    RX_ERRORS = (
        *(2, Scope.PORT, NumberKind.COUNTER, "frames"),
        "Frames dropped for an error flag or for spanning several descriptors.",
    )
    RX_NO_BUFFER = (
        *(3, Scope.PORT, NumberKind.COUNTER, "times"),
        "Times a refill found the free stack empty (nothing is lost by that alone).",
    )
    TX_PACKETS = 8, Scope.PORT, NumberKind.COUNTER, "frames", "Frames accepted into the tx ring."
    TX_BYTES = 9, Scope.PORT, NumberKind.COUNTER, "bytes", "Bytes of the frames accepted, without CRC."
    TX_FULL = 10, Scope.PORT, NumberKind.COUNTER, "frames", "Frames dropped because the tx ring was full."


def port_word(port: int, word: PortWord) -> int:
    """The index, in the page, of a word of a port's block."""
    return PORT_BLOCK_WORD + port * PORT_BLOCK_WORDS + word


class ProgramWord(MetricRow):
    """Words of a program's block. IN = PASSED + OUT + INVALID + the drops; written only if the program decides."""

    IN = 0, Scope.PROGRAM, NumberKind.COUNTER, "frames", "Frames that reached the program."
    PASSED = (
        *(1, Scope.PROGRAM, NumberKind.COUNTER, "frames"),
        "Frames to the next program, or out of the link's other port.",
    )
    OUT = 2, Scope.PROGRAM, NumberKind.COUNTER, "frames", "Frames out of a port that a program named."
    INVALID = (
        *(7, Scope.PROGRAM, NumberKind.COUNTER, "frames"),
        "Frames freed because their verdict names a port or a cause that does not exist.",
    )
    DROPS = 8, Scope.PROGRAM, NumberKind.NAMED, "frames", "The first of DROP_CAUSES words: frames dropped, by cause."
    COUNTERS = 20, Scope.PROGRAM, NumberKind.NAMED, "number", "The first of PROGRAM_COUNTERS words: the program's own."


def program_word(program: int, word: int) -> int:
    """The index, in the page, of a word of a program's block; `program` is its place in the list of programs."""
    return PROGRAM_BLOCK_WORD + program * PROGRAM_BLOCK_WORDS + word


def words_header() -> str:
    """The text of `telemetry/words.h`: the same numbers for C."""
    more = {"PORT_BLOCK_WORDS": PORT_BLOCK_WORDS, "PROGRAM_DROP_CAUSES": DROP_CAUSES}
    enums = (
        *(_enum(prefix, rows) for prefix, rows in (("WORD", Word), ("PORT", PortWord), ("PROGRAM", ProgramWord))),
        ["enum {", *(f"\t{name} = {value}," for name, value in more.items()), "};", ""],
    )
    head = ["/* The counters page. Generated from telemetry/counters.py, which says what the words are. */", ""]
    return "\n".join([*head, *(line for lines in enums for line in lines)])


def _enum(prefix: str, rows: Iterable[MetricRow]) -> Iterator[str]:
    yield "enum {"
    yield from (f"\t{prefix}_{row.name} = {row.value}," for row in rows)
    yield from ("};", "")
