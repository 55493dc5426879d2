"""What a wire is to its port, and how fast it sends."""

from typing import Any

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.model._datapath import ffi, lib
from ixyfwd.model.spec import Rate

Pointer = Any  # what cffi hands out; opaque here

PS_PER_BYTE_AT_LINE_RATE = 800  # 10 Gbit/s
PS_PER_SECOND = 10**12
FRAME_BYTES_MAX = 15872  # without CRC; FRAME_MAX of datapath.h


class Plug:
    """A plugged-in wire. The frames are moved by C; this is what Python does besides."""

    kind: str

    def __init__(self, port: Pointer) -> None:
        self._port = port

    def flush(self) -> None:
        """Between two runs: whatever cannot be done in C."""

    def stats(self) -> dict[str, Any]:
        """JSON-ready, without `kind`."""
        return {}

    def restart_latency(self) -> None:
        """Forget the latencies so far, if this wire takes any."""

    def close(self) -> None:
        """Let go of files and interfaces; harmless when called twice."""


def make_pace(rate: Rate) -> Pointer:
    """`rate` as a `dp_pace`. Raises UsageError for a rate that is not positive."""
    pace: Any = ffi.new("dp_pace *")
    if rate == "line":
        pace.byte_ps = PS_PER_BYTE_AT_LINE_RATE
    elif rate == "max":
        pace.max = 1
    elif rate == "recorded":
        pace.recorded = 1
    elif isinstance(rate, str) or not rate > 0:
        raise UsageError(f"a wire's rate is {rate!r}; expected 'line', 'max', 'recorded' or frames per second above 0")
    else:
        pace.frame_ps = max(1, min(round(PS_PER_SECOND / rate), 2**63))
    return pace


def check_memory(result: int, what: str) -> None:
    """Raises IxyfwdError if a plug function of the data path found no memory."""
    if result:
        raise IxyfwdError(f"there is not enough memory for {what}")


class FarEndPlug(Plug):
    """A cable or nothing: only counted."""

    def __init__(self, port: Pointer, kind: str) -> None:
        super().__init__(port)
        self.kind = kind

    def stats(self) -> dict[str, Any]:
        """`sent`, `received` (over a cable), each with bytes incl. CRC."""
        far_end = lib.dp_port_far_end(self._port)
        keys = ("sent", "sent_bytes", "received", "received_bytes") if self.kind == "cable" else ("sent", "sent_bytes")
        return {key: int(getattr(far_end, key)) for key in keys}
