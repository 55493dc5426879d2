"""What an engine needs to know to generate frames or to record them; see `TrafficEngine`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine, EngineMemory
from ixyfwd.errors import UsageError
from ixyfwd.traffic.format import HEAD_BYTES, filler

ENDLESS: Final = 2**64 - 1
BLOCK_BYTES: Final = 1 << 20
BLOCK_COUNT: Final = 16
_FRAME_BYTES_MAX: Final = 2048


@dataclass(frozen=True)
class Frames:
    """What to send: frame k is of flow k modulo `flows` and its (k // flows)-th.

    `templates`: 64 bytes for each flow and size, rows of sizes. `sizes`: bytes without CRC. `frame_ps`: by size, time
    until the next frame; all 0 = as fast as the ring takes them. `schedule`: index into sizes; flow f is f ahead.
    """

    templates: bytes
    flows: int
    sizes: tuple[int, ...]
    frame_ps: tuple[int, ...]
    schedule: bytes
    count: int = ENDLESS

    @property
    def mean_ps(self) -> int:
        """Mean time of a frame."""
        return sum(self.frame_ps[size] for size in self.schedule) // len(self.schedule)


@dataclass(frozen=True)
class Recording:
    """What to record. `filter_address` and `program_address`: libpcap's bpf_filter and its program, 0 for none."""

    recording: bool
    pcapng: bool
    snaplen: int
    count: int = ENDLESS
    filter_address: int = 0
    program_address: int = 0


class Recorder(Protocol):
    """Blocks of records between a poll loop, which fills them, and a thread, which writes them."""

    burst: Callable[[], int]

    def flush(self) -> bool:
        """Hand over what is in the block that is being filled; false if all blocks wait for the thread."""

    def next_block(self) -> tuple[memoryview, int] | None:
        """The thread's: the oldest filled block and how many frames are in it."""

    def release_block(self) -> None:
        """The thread's: that block is done with."""

    def empty(self) -> bool:
        """Whether everything was flushed and released."""


@runtime_checkable
class TrafficEngine(Protocol):
    """An engine that can be one end of the traffic itself."""

    def bind_source(self, port: int, batch: Batch, frames: Frames) -> Callable[[], int]:
        """A callable that fills `batch` with the frames that are due, no more than the port's tx ring has room for; so
        nothing is lost to a full ring. 0 before Word.GO, after a command, and when the count is reached."""

    def bind_recorder(self, batch: Batch, recording: Recording) -> Recorder:
        """A recorder whose `burst` empties `batch` and frees its buffers."""


def traffic_engine(engine: Engine) -> TrafficEngine:
    """The engine as one that can be an end of the traffic. Raises UsageError for another."""
    if not isinstance(engine, TrafficEngine):
        raise UsageError(f"the {engine.name} engine neither generates nor captures; choose native or vector")
    return engine


def prepare_bodies(memory: EngineMemory, sizes: Sequence[int]) -> None:
    """Put what follows a frame's head into every buffer: only heads are composed for each frame."""
    longest = max(sizes)
    if longest <= HEAD_BYTES:
        return
    body = filler(HEAD_BYTES, min(longest, _FRAME_BYTES_MAX))
    for offset in memory.layout.buffer_offsets():
        memory.arena[offset + HEAD_BYTES : offset + HEAD_BYTES + len(body)] = body
