"""Orders to an engine to generate frames or to record them; see `TrafficEngine`."""

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
    """The frames to send: frame k belongs to flow k modulo `flows`, and is number k // `flows` of it.

    `templates`: uint8[flows, sizes, 64], the head of each flow's frame of each size.
    `sizes`: in bytes without CRC. `frame_ps`: by size, the time in ps until the next
    frame; all 0 = as fast as the ring takes them. `schedule`: uint8[n], indices into
    `sizes`, in which flow f begins at place f. `count`: frames in all.
    """

    templates: bytes
    flows: int
    sizes: tuple[int, ...]
    frame_ps: tuple[int, ...]
    schedule: bytes
    count: int = ENDLESS

    @property
    def mean_ps(self) -> int:
        """The mean time of a frame, in ps."""
        return sum(self.frame_ps[size] for size in self.schedule) // len(self.schedule)


@dataclass(frozen=True)
class Recording:
    """The frames to record.

    `recording`: whether there is a file. `snaplen`: bytes of a frame that are kept.
    `count`: frames in all. `filter_address`, `program_address`: of libpcap's bpf_filter
    and of its program; 0: no filter.
    """

    recording: bool
    pcapng: bool
    snaplen: int
    count: int = ENDLESS
    filter_address: int = 0
    program_address: int = 0


class Recorder(Protocol):
    """Blocks of records between a poll loop, which fills them, and a thread, which writes them.

    `burst` empties its batch into the block that is being filled; it returns the frames
    taken.
    """

    burst: Callable[[], int]

    def flush(self) -> bool:
        """Hand the block that is being filled to the thread; returns False if all blocks wait for it."""

    def next_block(self) -> tuple[memoryview, int] | None:
        """The oldest filled block, uint8[n], and the frames in it, for the thread; None if there is none."""

    def release_block(self) -> None:
        """Give the oldest filled block back: the thread has written it."""

    def empty(self) -> bool:
        """Whether everything was flushed and released."""


@runtime_checkable
class TrafficEngine(Protocol):
    """An engine that can be one end of the traffic itself."""

    def bind_source(self, port: int, batch: Batch, frames: Frames) -> Callable[[], int]:
        """A callable that fills `batch` with the frames that are due; returns how many.

        It takes no more than the port's tx ring has room for, so no frame is lost to a
        full ring. It returns 0 before Word.GO, after a command, and when the count is
        reached. Raises UsageError for a port without a generator.
        """

    def bind_recorder(self, batch: Batch, recording: Recording) -> Recorder:
        """A recorder whose `burst` empties `batch` and frees its buffers."""


def traffic_engine(engine: Engine) -> TrafficEngine:
    """The engine as one that can be an end of the traffic. Raises UsageError for another."""
    if not isinstance(engine, TrafficEngine):
        raise UsageError(f"the {engine.name} engine neither generates nor captures; choose native or vector")
    return engine


def prepare_bodies(memory: EngineMemory, sizes: Sequence[int]) -> None:
    """Write the bytes behind a frame's head into every buffer, as the bundled model's sink expects them.

    `sizes`: of the frames, in bytes without CRC.
    """
    longest = max(sizes)
    if longest <= HEAD_BYTES:
        return
    body = filler(HEAD_BYTES, min(longest, _FRAME_BYTES_MAX))
    for offset in memory.layout.buffer_offsets():
        memory.arena[offset + HEAD_BYTES : offset + HEAD_BYTES + len(body)] = body
