"""What a wire is: the part that a configuration and a model's spec know, and the part that is plugged into a port.

A kind of wire is one module in this package with a `Wire` and its `Plug`, and one file in `model/datapath/_c/wires`
with a `struct wire_operations` and, between `/* for Python */` and `/* end */`, the functions that the `Plug` calls.
Nothing else knows it by name. Neither this module nor those of the kinds load the compiled data path, which a
configuration does not need.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.settings.reader import Table, is_number, one_of
from ixyfwd.traffic.schedule import LINE_BYTE_PS, PS_PER_SECOND

Rate = float | Literal["line", "max", "recorded"]
"""Frames per second; "line" = 10 GbE wire speed; "max" = as fast as the port takes frames, never overrunning it
(like a link with flow control); "recorded" = a capture file's own time stamps (pcap only)."""

Full = Literal["drop", "wait"]
"""What a wire does when the port is full: "drop" overruns it, as a link partner without flow control; "wait" holds its
frames back, as one that honours pause frames, and nothing is lost. Rate "max" always waits."""

Pointer = Any  # what cffi hands out; opaque here

MAX_RATE_PPS = 1e9
FRAME_BYTES_MAX = 15872  # without CRC; FRAME_MAX of base.h


class WireTotals(NamedTuple):
    """Frames that a wire brought into its port, that it took from it, and that it owed to its rate and never sent."""

    into_port: int
    from_port: int
    shortfall: int = 0


@dataclass(frozen=True)
class Wire:
    """A wire as asked for: plain data that passes through JSON. Each kind derives a frozen dataclass from it."""

    kind: ClassVar[str]
    """What a configuration calls it."""

    main_key: ClassVar[str | None] = None
    """The key whose value, a text, may stand alone on a command line: `tap:ixy0`."""

    how_to_end: ClassVar[str] = ""
    """What makes one that goes on for ever end: "give its generator a count"."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """What it needs of the machine, in the doctor's words: "tap"."""

    @classmethod
    def read(cls, table: Table, folder: Path) -> Self:
        """From its table in a configuration; file names count from `folder`. Problems are noted, not raised."""
        return cls()

    # What a configuration asks

    def problems(self, port: str, wires: Mapping[str, "Wire | None"]) -> Iterator[tuple[str, str]]:
        """What does not fit the wires of all ports, by port, this one's among them: pairs of key and message."""
        yield from ()

    def machine_problems(self) -> Iterator[tuple[str, str]]:
        """What the machine does not have: pairs of key and message."""
        yield from ()

    def own(self) -> Iterator[tuple[str, str, str]]:
        """Values that no other port's wire may have: key, what it is ("an interface"), value."""
        yield from ()

    @property
    def longest_frame(self) -> tuple[str, int] | None:
        """The key that says how long frames are, and the longest in bytes with CRC; None: not known."""
        return None

    @property
    def leads_to(self) -> str | None:
        """Name of the port at the other end; None: the wire needs no second port."""
        return None

    @property
    def ends(self) -> bool | None:
        """Whether it stops feeding by itself; None: it has nothing to feed that could end."""
        return None

    # What a model asks

    def for_mtu(self, mtu: int) -> "Wire":
        """This wire for ports whose MTU is `mtu` bytes, as the kernel counts: without Ethernet header and CRC."""
        return self

    def attach(self, jack: "Jack") -> "Plug":
        """Plug it in. Raises IxyfwdError (UsageError, RefusedError) with one sentence."""
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        """Plain data for `registry.wire_from_json`."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class Jack:
    """A port's end of a wire: its C side, its number in the data path, and the address that frames for it bear.

    `lib` and `ffi` are the compiled data path; `far_end(name)` is the C side of the port that a cable leads to.
    """

    lib: Any
    ffi: Any
    port: Pointer
    number: int
    mac: bytes | None
    far_end: Callable[[str], Pointer]

    def make_pace(self, rate: Rate, full: Full = "drop") -> Pointer:
        """Both as a `dp_pace`. Raises UsageError for a rate that is not positive."""
        pace = self.ffi.new("dp_pace *")
        if rate == "line":
            pace.byte_ps = LINE_BYTE_PS
        elif rate == "max":
            pace.max = 1
        elif rate == "recorded":
            pace.recorded = 1
        elif isinstance(rate, str) or not rate > 0:
            raise UsageError(
                f"a wire's rate is {rate!r}; expected 'line', 'max', 'recorded' or frames per second above 0"
            )
        else:
            pace.frame_ps = max(1, min(round(PS_PER_SECOND / rate), 2**63))
        pace.waits = rate == "max" or full == "wait"
        return pace


class Plug:
    """A plugged-in wire. The frames are moved by C; this is what Python does besides."""

    def __init__(self, jack: Jack) -> None:
        self._jack = jack

    def totals(self) -> WireTotals:
        """Frames that passed so far."""
        far_end = self._jack.lib.dp_port_far_end(self._jack.port)
        return WireTotals(int(far_end.received), int(far_end.sent))

    def stats(self) -> dict[str, Any]:
        """The wire's own account, JSON-ready. One that checks what comes back has `sink` with what it saw."""
        return {}

    def flow_queues(self) -> dict[int, tuple[int, ...]]:
        """For each flow of numbered frames that was seen: the port's tx queues that it came out of."""
        return {}

    def error(self) -> str | None:
        """One sentence if the wire could not do what it was asked for: the run has then failed."""
        return None

    def notices(self) -> Iterable[str]:
        """Sentences about what is not as it should be. Each stays as it is, so that it is told once."""
        return ()

    def gone(self) -> bool:
        """Whether what the wire led to is gone for good: there is no link any more."""
        return False

    def begin(self) -> None:
        """Frames come from now on. Until then nothing that was there before is changed."""

    def flush(self) -> None:
        """Between two runs: what cannot be done in C."""

    def restart_latency(self) -> None:
        """Forget the latencies so far, if this wire takes any."""

    def close(self) -> None:
        """Let go of files and interfaces; harmless when called twice."""


def read_rate(table: Table, default: Rate, words: tuple[str, ...]) -> Rate:
    """The key `rate`: one of `words`, or frames per second."""
    expected = f"{one_of(words)}, or frames per second from 0.1 to {MAX_RATE_PPS:g}"
    rate: Rate = table.get(
        "rate",
        default,
        expected,
        lambda v: v in words if isinstance(v, str) else is_number(v) and 0.1 <= v <= MAX_RATE_PPS,
    )
    return rate if isinstance(rate, str) else float(rate)


def read_full(table: Table, rate: Rate) -> Full:
    """The key `full`, beside this rate."""
    full: Full = table.choice("full", "drop", ("drop", "wait"))
    if full == "drop" and rate == "max" and table.has("full"):
        table.wrong("full", '"wait" with rate = "max", which never overruns the port')
    return full


def check_memory(result: int, what: str) -> None:
    """Check the result of a plug function of the data path. Raises IxyfwdError if it found no memory for `what`."""
    if result:
        raise IxyfwdError(f"there is not enough memory for {what}")
